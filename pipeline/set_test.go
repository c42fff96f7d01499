package pipeline_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// annotator is a project with a predictor, and what draws by it the maps of a set of 20.
func annotator(t *testing.T) (project, pipeline.SetOptions) {
	t.Helper()
	p := newProject(t)
	if _, err := p.open("run", nil, drawnBy("mean")...).Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	p.copy("set/unannotated/data/train-00000-of-00001.parquet", "in.parquet")
	return p, pipeline.SetOptions{
		Models: []string{p.path("run", "models", "predictor.safetensors")}, In: p.path("in.parquet"), Out: p.path("annotated"), Split: "train", Workers: 1,
	}
}

func (p project) copy(from, to string) {
	p.t.Helper()
	text, err := os.ReadFile(p.path(from))
	if err == nil {
		err = os.WriteFile(p.path(to), text, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestAFinishedSetIsNotAnnotatedAgain(t *testing.T) {
	p, o := annotator(t)
	first, err := pipeline.AnnotateSet(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	const shard = "annotated/data/train-00000-of-00001.parquet"
	before, err := os.Stat(p.path(shard))
	if err != nil {
		t.Fatal(err)
	}
	o.Observe = func(e pipeline.Event) {
		if e.Kind != pipeline.Skipped {
			t.Errorf("found event %+v, want the set to be skipped", e)
		}
		if _, err := os.Stat(p.path(shard)); err != nil {
			t.Errorf("the set is not there meanwhile: %v", err)
		}
	}
	again, err := pipeline.AnnotateSet(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first.Counts, again.Counts); d != "" {
		t.Error(d)
	}
	if after, err := os.Stat(p.path(shard)); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the file has changed, %v", err)
	}
}

func TestASetThatHasChangedIsAnotherSet(t *testing.T) {
	p, o := annotator(t)
	if _, err := pipeline.AnnotateSet(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if err := testset.Write(p.path("three"), testset.Three); err != nil {
		t.Fatal(err)
	}
	p.copy("three/unannotated/data/train-00000-of-00001.parquet", "in.parquet") // of 20 rows too
	before := p.tree("annotated")
	_, err := pipeline.AnnotateSet(context.Background(), o)
	if misuse := (*pipeline.ConfigError)(nil); !errors.As(err, &misuse) || !strings.Contains(err.Error(), "choose another folder") {
		t.Errorf("found %v, want the folder to be refused", err)
	}
	if d := cmp.Diff(before, p.tree("annotated")); d != "" {
		t.Error("the set has changed")
	}
}

func TestTwoProcessesDoNotAnnotateIntoOneFolder(t *testing.T) {
	_, o := annotator(t)
	second := o
	o.Observe = func(e pipeline.Event) {
		if e.Kind != pipeline.Started {
			return
		}
		_, err := pipeline.AnnotateSet(context.Background(), second)
		if locked := (*storage.FolderLockedError)(nil); !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Errorf("found %v, want the folder to be refused, with the process that writes there", err)
		}
	}
	if _, err := pipeline.AnnotateSet(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

func TestOptionsThatNoSetCanHaveAreMisuseAndLeaveNothing(t *testing.T) {
	_, o := annotator(t)
	for name, change := range map[string]func(*pipeline.SetOptions){
		"my train":        func(o *pipeline.SetOptions) { o.Split = "my train" },
		"unusable rows 2": func(o *pipeline.SetOptions) { o.MaxBad = 2 },
		"0 workers":       func(o *pipeline.SetOptions) { o.Workers = 0 },
		"batch of -1":     func(o *pipeline.SetOptions) { o.Batch = -1 },
	} {
		changed := o
		change(&changed)
		_, err := pipeline.AnnotateSet(context.Background(), changed)
		if misuse := (*pipeline.ConfigError)(nil); !errors.As(err, &misuse) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: found %v, want misuse that says so", name, err)
		}
		if _, err := os.Stat(o.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is there", name)
		}
	}
}

func TestACallThatFinishedNothingLeavesNothing(t *testing.T) {
	_, o := annotator(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Observe = func(e pipeline.Event) {
		if e.Kind == pipeline.Progress {
			cancel()
		}
	}
	if _, err := pipeline.AnnotateSet(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v, want the call to be interrupted", err)
	}
	if _, err := os.Stat(o.Out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v, want no folder", err)
	}
}

func TestAFolderWithoutAnythingFinishedIsTakenOver(t *testing.T) {
	p, o := annotator(t)
	p.write("annotated/annotated.json") // of a process that was killed
	p.write("annotated/data/val-00000.writing")
	if err := os.WriteFile(p.path("annotated/quarantine.jsonl"), []byte(`{"source":"x","row":1,"reason":"y"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := pipeline.AnnotateSet(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Samples != 20 || len(s.Excluded) != 0 {
		t.Errorf("found %d samples, excluded %v, want all 20", s.Samples, s.Excluded)
	}
}

func TestTheListOfUnusableRowsStaysWhereTheyWereTooMany(t *testing.T) {
	p, o := annotator(t)
	w, err := storage.Create(p.path("bad"), storage.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	for id, image := range map[string]string{"good": string(p.image()), "bad": "no image"} {
		err = errors.Join(err, w.Append(storage.Sample{
			ID: id, Image: storage.Encoded{Bytes: []byte(image)}, Label: storage.NoLabel, Split: "train", SaliencyQuality: storage.NoQuality(),
		}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	o.In = p.path("bad", "data", "*.parquet")
	_, err = pipeline.AnnotateSet(context.Background(), o)
	if unusable := (*pipeline.DataError)(nil); !errors.As(err, &unusable) {
		t.Fatalf("found %v, want an error of the data", err)
	}
	if text := p.tree("annotated")["quarantine.jsonl"]; !strings.Contains(text, `"bad"`) {
		t.Errorf("found the list %q, want the row in it", text)
	}
	o.Split, o.MaxBad = "val", 0.5
	if s, err := pipeline.AnnotateSet(context.Background(), o); err != nil || s.Samples != 1 || len(s.Excluded) != 1 {
		t.Errorf("found %+v, %v, want the one sample that can be used", s, err)
	}
}

// image is one of the set.
func (p project) image() []byte {
	p.t.Helper()
	text, err := os.ReadFile(p.path("set", "images", "val-00003.png"))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}
