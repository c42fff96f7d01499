package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// write writes a file of somebody else's.
func (p project) write(name string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte("mine"), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// refuses wants a run to be refused as misuse, with a message that names what is in the
// way, and the folder to stay as it is.
func (p project) refuses(out, named string, sets ...string) {
	p.t.Helper()
	before := p.tree(out)
	_, err := p.open(out, nil, sets...).Run(context.Background(), pipeline.StageReport)
	var misuse *pipeline.ConfigError
	if !errors.As(err, &misuse) || !strings.Contains(err.Error(), fmt.Sprintf("%q", p.path(named))) || !strings.Contains(err.Error(), "--out") {
		p.t.Errorf("found %v, want misuse that names %q and the way out", err, p.path(named))
	}
	if d := cmp.Diff(before, p.tree(out)); d != "" {
		p.t.Errorf("the folder has changed: %s", d)
	}
}

// tree maps the files below a folder, but for the store's, to what they hold.
func (p project) tree(dir string) map[string]string {
	p.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(p.path(dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == ".store" {
			return filepath.SkipDir
		}
		if e.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		rel, relErr := filepath.Rel(p.path(dir), path)
		found[filepath.ToSlash(rel)] = string(text)
		return errors.Join(err, relErr)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	return found
}

func TestResultsAreNotLaidOutOverTheImagesThatARunReads(t *testing.T) {
	p := newProject(t)
	if err := testset.Write(p.path("proj", "data"), testset.Small); err != nil {
		t.Fatal(err)
	}
	p.refuses("proj", "proj/data", "data.root="+p.path("proj", "data"))
}

func TestResultsAreNotLaidOutOverASetWithoutMaps(t *testing.T) {
	p := newProject(t)
	if err := testset.Write(p.path("proj", "data"), testset.Small); err != nil {
		t.Fatal(err)
	}
	p.refuses("proj", "proj/data", "data.unannotated.0.path="+p.path("proj/data/unannotated/data/*.parquet"))
}

func TestResultsAreNotLaidOutInAFolderThatIsReadAsAWhole(t *testing.T) {
	p := newProject(t)
	p.refuses("set/unannotated/out", "set/unannotated/out/data", "data.unannotated.0.path=unannotated")
}

func TestWhatWasNotLaidOutByARunIsNotReplaced(t *testing.T) {
	for _, name := range []string{
		"data/leaf.png", "data/train-00000-of-00001.parquet", "data", "models", "models/predictor.safetensors", "models/none-1.safetensors",
		"export/hf-parquet/data/train-00000-of-00001.parquet", "config.yaml", "results.csv", "report.html",
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t)
			p.write("out/" + name)
			p.refuses("out", "out/"+name)
		})
	}
}

func TestAFileOfSomebodyElseInOurFolderIsNotRemoved(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	for _, name := range []string{"out/data/notes.txt", "out/export/hf-parquet/notes.txt"} {
		p.write(name)
		p.refuses("out", name)
		p.refuses("out", name, "predictor.steps=7")
		if err := os.Remove(p.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	p.run("out", nil)
}

func TestAFileOfSomebodyElseBesideOursStays(t *testing.T) {
	p := newProject(t)
	for _, name := range []string{"out/notes.txt", "out/models/mine.safetensors", "out/export/mine/data.csv"} {
		p.write(name)
	}
	p.run("out", nil, "train.arms=[none]")
	p.run("out", nil, "train.arms=[human]", "export=[]")
	for _, name := range []string{"notes.txt", "models/mine.safetensors", "export/mine/data.csv"} {
		if p.tree("out")[name] != "mine" {
			t.Errorf("%s is gone", name)
		}
	}
}

func TestWhatAnUnfinishedRunDidNotComeToIsNotOurs(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil).Run(context.Background(), pipeline.StageIngest); err != nil {
		t.Fatal(err)
	}
	p.write("out/results.csv")
	p.refuses("out", "out/results.csv")
}

// laidOut are the names of the files of results, without those of the record.
func (p project) laidOut(out string) []string {
	p.t.Helper()
	var names []string
	for name := range p.tree(out) {
		if !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAChangedConfigurationLeavesTheResultsThatItAloneWouldHave(t *testing.T) {
	if testing.Short() {
		t.Skip("runs all stages three times")
	}
	p := newProject(t)
	changed := []string{"train.arms=[none, human]", "train.seeds=1", "export=[]", "train.alpha=0.3"}
	p.run("out", nil, "train.arms=[none, combined]", "export=[{to: hf-parquet}, {to: imagefolder}]")
	p.run("out", nil, changed...)
	p.run("alone", nil, changed...)
	if d := cmp.Diff(p.laidOut("alone"), p.laidOut("out")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(p.results("alone"), p.results("out")); d != "" {
		t.Error("results differ from those of a new folder")
	}
}

func TestNoResultsOfAnEarlierConfigurationLieBesideAnUnfinishedOne(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	if _, err := p.open("out", nil, "train.alpha=0.3").Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	want := []string{"config.yaml", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet", "data/val-00000-of-00001.parquet"}
	found := p.laidOut("out")
	for _, name := range append(want, "models/predictor.safetensors", "quarantine.jsonl") {
		if !slices.Contains(found, name) {
			t.Errorf("%s is gone, which is of both configurations", name)
		}
	}
	for _, name := range found {
		if strings.HasPrefix(name, "models/") && name != "models/predictor.safetensors" || slices.Contains([]string{
			"results.csv", "confusion.csv", "arms.csv", "summary.json", "report.html",
		}, name) {
			t.Errorf("%s is left of the earlier configuration", name)
		}
	}
}

func TestResultsStayWhereTheNextConfigurationCannotBegin(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	before := p.tree("out")
	damage(t, p.path("set", "images", "val-00003.png"))
	if _, err := p.open("out", nil, "data.max_bad=0").Run(context.Background(), pipeline.StageReport); err == nil {
		t.Fatal("the damaged image is not noticed")
	}
	after := p.tree("out")
	for _, name := range []string{"quarantine.jsonl", ".laid-out.json"} { // say why
		delete(before, name)
		delete(after, name)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the results have changed")
	}
}

func TestTheListOfARunThatFailedIsNoFileOfSomebodyElse(t *testing.T) {
	p := newProject(t)
	whole, err := os.ReadFile(p.path("set", "images", "val-00003.png"))
	if err != nil {
		t.Fatal(err)
	}
	damage(t, p.path("set", "images", "val-00003.png"))
	p.unusable("out", "1 of 64 rows")
	if err := os.WriteFile(p.path("set", "images", "val-00003.png"), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	p.run("out", nil)
	if text, err := os.ReadFile(p.path("out", "quarantine.jsonl")); err != nil || len(text) > 0 {
		t.Errorf("found the list %q (%v), want an empty one", text, err)
	}
}

func TestTheReportStaysWhereNothingThatItDependsOnChanges(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	if _, err := p.open("out", nil, "workers=1", "jobs=1").Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(p.laidOut("out"), "report.html") {
		t.Error("the report is gone")
	}
}

func TestLeftoversOfInterruptedWritesAreClearedAway(t *testing.T) {
	p := newProject(t)
	half := storage.TemporaryName(p.path("out", "data"))
	if err := os.MkdirAll(filepath.Join(half, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open("out", nil).Run(context.Background(), pipeline.StageIngest); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v, want the leftover to be gone", err)
	}
}

func TestTwoRunsDoNotWriteIntoOneFolder(t *testing.T) {
	p := newProject(t)
	goOn := p.atWork("out")
	defer goOn()
	x := p.open("out", nil, "store="+p.path("store"), "train.alpha=0.3")
	_, err := x.Run(context.Background(), pipeline.StageReport)
	var locked *storage.FolderLockedError
	if !errors.As(err, &locked) || locked.Dir != p.path("out") || locked.PID != os.Getpid() {
		t.Errorf("found %v, want the folder to be refused, with the process that writes there", err)
	}
	if _, err := x.Plan(context.Background()); err != nil {
		t.Errorf("a plan is refused meanwhile: %v", err)
	}
}

func TestACurveAndARunDoNotWriteIntoOneFolder(t *testing.T) {
	p := newProject(t)
	goOn := p.atWork("out/curve")
	defer goOn()
	cfg, err := pipeline.LoadConfig(p.path("small.yaml"), []string{"data.root=" + p.path("set"), "out=" + p.path("out")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pipeline.AnnotationCurve(context.Background(), cfg, pipeline.CurveOptions{Maps: []int{pipeline.AllMaps}, Margin: 0.02})
	if locked := (*storage.FolderLockedError)(nil); !errors.As(err, &locked) {
		t.Errorf("found %v, want the folder to be refused", err)
	}
}
