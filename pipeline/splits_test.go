package pipeline_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/pipeline"
)

// call gives splits of the annotated set other names.
func (p project) call(pairs ...string) {
	p.t.Helper()
	text, err := os.ReadFile(p.path("set", "labels.csv"))
	if err != nil {
		p.t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(pairs...).Replace(string(text)))
	if err := os.WriteFile(p.path("set", "labels.csv"), text, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func TestSamplesOfAnUnknownSplitAreWarnedOfOnce(t *testing.T) {
	p := newProject(t)
	p.call(",test,", ",testing,")
	var events []pipeline.Event
	if _, err := p.open("out", &events).Run(context.Background(), pipeline.StageAnnotate); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	for _, e := range events {
		if e.Kind == pipeline.Warning && strings.Contains(e.Text, "take no part") {
			warnings = append(warnings, string(e.Stage)+": "+e.Text)
		}
	}
	const want = `ingest: 16 samples take no part, as their split is "testing" (16): want train, val or test`
	if len(warnings) != 1 || warnings[0] != want {
		t.Errorf("found the warnings %q, want %q alone", warnings, want)
	}
}

func TestASplitThatIsEmptyForItsNameIsAnErrorWithTheName(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"test", "testing", `split "test": found no labelled samples, want some of at least two classes to compare arms by their AUC; 16 samples take no part, as their split is "testing" (16)`},
		{"train", "training", `split "train": found no labelled samples, want some of at least two classes to train on; 36 samples take no part, as their split is "training" (36)`},
	} {
		p := newProject(t)
		p.call(","+x.from+",", ","+x.to+",")
		_, err := p.open("out", nil, "data.unannotated=[]").Run(context.Background(), pipeline.StageReport)
		var data *pipeline.DataError
		if !errors.As(err, &data) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("found %v, want an error of the data with %s", err, x.want)
		}
	}
}
