package pipeline_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/pipeline"
)

// twice makes a project's sets without maps two of the same, whose 20 ids are there
// already in the second.
const twice = "data.unannotated=[{format: parquet, path: unannotated/data/*.parquet}, {format: parquet, path: unannotated/data/*.parquet}]"

// listed are the lines of the list of unusable rows of a project's results.
func (p project) listed(out string) []string {
	p.t.Helper()
	text, err := os.ReadFile(p.path(out, "quarantine.jsonl"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// unusable wants a run up to annotate to end with an error of the data.
func (p project) unusable(out, want string, sets ...string) {
	p.t.Helper()
	_, err := p.open(out, nil, sets...).Run(context.Background(), pipeline.StageAnnotate)
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.Contains(err.Error(), want) {
		p.t.Errorf("found %v, want an error of the data with %s", err, want)
	}
}

func TestTooManyUnusableAnnotatedRowsAreAllCountedAndListed(t *testing.T) {
	p := newProject(t)
	for _, name := range []string{"train-00001.png", "val-00003.png", "test-00002.png"} {
		damage(t, p.path("set", "images", name))
	}
	p.unusable("out", `3 of 64 rows (4.69 %) cannot be used, want at most 1 % (all are in "`+p.path("out", "quarantine.jsonl")+`")`)
	if n := len(p.listed("out")); n != 3 {
		t.Errorf("found %d rows listed, want 3", n)
	}
}

func TestAnnotatingStopsAtTheRowThatWasTooMany(t *testing.T) {
	p := newProject(t)
	p.unusable("out", `at least 1 of 104 rows (0.962 %) cannot be used, want at most 0 % (stopped there; those found are in "`+p.path("out", "quarantine.jsonl")+`")`, twice, "data.max_bad=0")
	if n := len(p.listed("out")); n != 1 {
		t.Errorf("found %d rows listed, want 1", n)
	}
}

func TestMoreUnusableRowsLetAStageGoOn(t *testing.T) {
	p := newProject(t)
	p.unusable("out", "want at most 0 %", twice, "data.max_bad=0")
	more := p.open("out", nil, twice, "data.max_bad=1")
	steps, err := more.Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if steps[0].State != pipeline.Done || steps[1].State != pipeline.Done || steps[2].State != pipeline.Failed {
		t.Errorf("found %v, want ingest and fit to be done and annotate to go on", steps[:3])
	}
	r, err := more.Run(context.Background(), pipeline.StageAnnotate)
	if err != nil {
		t.Fatal(err)
	}
	if r.Data.Samples != 84 {
		t.Errorf("found %d samples, want all 84 that differ", r.Data.Samples)
	}
	if n := len(p.listed("out")); n != 20 {
		t.Errorf("found %d rows listed, want 20", n)
	}
}

func TestFewerUnusableRowsEndARunThatWasDone(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil, twice, "data.max_bad=1").Run(context.Background(), pipeline.StageAnnotate); err != nil {
		t.Fatal(err)
	}
	p.unusable("out", "20 of 104 rows (19.2 %) cannot be used, want at most 0 %", twice, "data.max_bad=0")
}

func TestADraftThatKnowsItsRowsByAnotherPathCountsNoneTwice(t *testing.T) {
	p := newProject(t)
	p.unusable("out", "want at most 0 %", twice, "data.max_bad=0")
	folder := strings.ReplaceAll(twice, "/*.parquet", "")
	if _, err := p.open("out", nil, folder, "data.max_bad=1").Run(context.Background(), pipeline.StageAnnotate); err != nil {
		t.Fatal(err)
	}
	if n := len(p.listed("out")); n != 20 {
		t.Errorf("found %d rows listed, want 20", n)
	}
}
