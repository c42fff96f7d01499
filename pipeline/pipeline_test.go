package pipeline_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// small is a run of seconds on testset.Small.
const small = `
data:
  annotated: {images: images, labels: labels.csv, maps: maps, human_maps: 8}
  unannotated: [{format: parquet, path: "unannotated/data/*.parquet"}]
  classes: [vertical, horizontal]
predictor: {widths: [4, 8], stem: {kernel: 3, stride: 2}, size: 16, steps: 6, batch: 4, folds: 2}
classifier: {network: custom, stem: {width: 4, kernel: 3, stride: 2, pool: 0}, widths: [6], blocks: [1], strides: [2], size: 16}
train: {arms: [none, human, predicted, combined, shuffled, mean], seeds: 2, epochs: 2, batch: 8}
export: [{to: hf-parquet}]
report: {examples: 4}
`

// project is a data set and a configuration in a folder of their own.
type project struct {
	t   *testing.T
	dir string
}

func newProject(t *testing.T) project {
	t.Helper()
	p := project{t, t.TempDir()}
	if err := testset.Write(filepath.Join(p.dir, "set"), testset.Small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.path("small.yaml"), []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p project) path(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

// open prepares a run whose results go to a folder of the project.
func (p project) open(out string, events *[]pipeline.Event, sets ...string) *pipeline.Pipeline {
	p.t.Helper()
	sets = append([]string{"data.root=" + p.path("set"), "out=" + p.path(out)}, sets...)
	cfg, err := pipeline.LoadConfig(p.path("small.yaml"), sets)
	if err != nil {
		p.t.Fatal(err)
	}
	x, err := pipeline.New(cfg, pipeline.Options{Version: "test", Observe: func(e pipeline.Event) {
		if events != nil {
			*events = append(*events, e)
		}
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	return x
}

func (p project) run(out string, events *[]pipeline.Event, sets ...string) *pipeline.Result {
	p.t.Helper()
	r, err := p.open(out, events, sets...).Run(context.Background(), pipeline.StageReport)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// results are the files that hold no times or paths.
func (p project) results(out string) map[string]string {
	p.t.Helper()
	found := map[string]string{}
	for _, name := range []string{"results.csv", "confusion.csv", "arms.csv", "data", "models"} {
		err := filepath.WalkDir(p.path(out, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			rel, relErr := filepath.Rel(p.path(out), path)
			found[rel] = string(text)
			return errors.Join(err, relErr)
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return found
}

func TestARunLeavesAFolderThatAPersonCanBrowse(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	for _, name := range []string{
		"report.html", "results.csv", "confusion.csv", "arms.csv", "summary.json", "config.yaml", "quarantine.jsonl", "data/train-00000-of-00001.parquet",
		"models/predictor.safetensors", "models/combined-1.safetensors", "export/hf-parquet/data/test-00000-of-00001.parquet",
	} {
		if info, err := os.Stat(p.path("out", filepath.FromSlash(name))); err != nil || info.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEverySampleOfTheResultHasAMap(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil).Run(context.Background(), pipeline.StageAnnotate); err != nil {
		t.Fatal(err)
	}
	set, err := storage.Open(p.path("out"))
	if err != nil {
		t.Fatal(err)
	}
	human, reference := 0, 0
	for _, r := range set.Rows() {
		switch {
		case !r.HasMap:
			t.Errorf("sample %q has no map", r.ID)
		case r.SaliencySource == storage.SourceHuman:
			human++
			if !r.HasPredicted {
				t.Errorf("sample %q has a human map and no prediction out of fold", r.ID)
			}
		case r.SaliencySource != storage.SourcePredictor || r.SaliencyModel == "" || r.SaliencyQuality != r.SaliencyQuality:
			t.Errorf("sample %q: source %q, model %q, quality %v", r.ID, r.SaliencySource, r.SaliencyModel, r.SaliencyQuality)
		}
		if r.HasReference {
			reference++
		}
	}
	// Of 36 annotated training images 8 may be used; the maps of the other 28 and
	// of 6 test images are reference.
	if human != 8 || reference != 34 {
		t.Errorf("found %d human and %d reference maps, want 8 and 34", human, reference)
	}
	if n := len(set.Rows()); n != 36+12+16+20 {
		t.Errorf("found %d samples, want those of both sets, 84", n)
	}
}

func TestResultsHaveOneRowForEachArmSeedAndSplit(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	f, err := os.Open(p.path("out", "results.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := "arm,seed,split,n,auc,auc_low,auc_high,auc_p_to_none,accuracy,balanced_accuracy,f1,loss,brier,ece,d_prime,eer," +
		"tpr_at_fpr_0.001,tpr_at_fpr_0.002,tpr_at_fpr_0.01,tpr_at_fpr_0.05,tpr_at_fpr_0.1,threshold,apcer,bpcer,acer," +
		"cam_cc,cam_sim,cam_kl,cam_mse,cam_nss,cam_auc,cam_iou,cam_entropy,cam_consistency"
	if got := strings.Join(rows[0], ","); got != want {
		t.Errorf("the header is %q, want %q", got, want)
	}
	if got, want := len(rows)-1, 6*2*2; got != want {
		t.Errorf("found %d rows, want %d", got, want)
	}
}

func TestASecondRunDoesNothingAgain(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	var events []pipeline.Event
	p.run("out", &events)
	for _, e := range events {
		if e.Stage != pipeline.StageReport && e.Kind != pipeline.Skipped && e.Kind != pipeline.Warning {
			t.Errorf("found event %+v, want stages to be skipped", e)
		}
	}
}

func TestResultsDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	p := newProject(t)
	p.run("one", nil, "workers=1")
	p.run("three", nil, "workers=3", "jobs=2")
	if d := cmp.Diff(p.results("one"), p.results("three")); d != "" {
		t.Error("results differ between 1 and 3 workers")
	}
}

func TestAChangeRemakesWhatItReachesAndNothingElse(t *testing.T) {
	p := newProject(t)
	p.run("out", nil)
	const annotations, training = "ingest fit annotate", "ingest fit annotate train evaluate"
	for _, x := range []struct {
		set  string
		kept string // stages that stay
	}{
		{"train.alpha=0.3", annotations + " export"},
		{"train.alpha_schedule=adaptive", annotations + " export"},
		{"train.entropy=0.1", annotations + " export"},
		{"train.blur=2", annotations + " export"},
		{"classifier.cam.class=difference", annotations + " export"},
		{"classifier.cam.features=reference", annotations + " export"},
		{"train.trust=auto", training + " export"},
		{"predictor.steps=7", "ingest"},
		{"data.annotated.human_maps=6", "ingest"},
		{"annotate.batch=5", training + " export"},
		{"data.max_bad=0.5", training + " export"},
		{"data.unannotated=[{format: parquet, path: unannotated/data}]", training + " export"},
		{"data.unannotated=[{format: parquet, path: unannotated/data, columns: {group: id}}]", "ingest fit"},
		{"report.examples=2", training + " export"},
		{"data.classes=[v, h]", ""},
		{"workers=1", training + " export"},
	} {
		t.Run(x.set, func(t *testing.T) {
			steps, err := p.open("out", nil, x.set).Plan(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				kept := strings.Contains(" "+x.kept+" ", " "+string(s.Stage)+" ")
				if (s.State == pipeline.Done) != kept {
					t.Errorf("%s %s is %s (%s)", s.Stage, s.Name, s.State, s.Why)
				}
			}
		})
	}
}

func TestTheBatchOfMapsThatAreDrawnChangesNone(t *testing.T) {
	p := newProject(t)
	for _, annotator := range []string{"predictor", "teacher-cam"} {
		drawn := map[string]string{}
		for _, batch := range []string{"1", "5", "32"} {
			out := annotator + batch
			if _, err := p.open(out, nil, drawnBy(annotator, "annotate.batch="+batch)...).Run(context.Background(), pipeline.StageAnnotate); err != nil {
				t.Fatal(err)
			}
			for _, split := range []string{"train", "val", "test"} {
				text, err := os.ReadFile(p.path(out, "data", split+"-00000-of-00001.parquet"))
				if err != nil {
					t.Fatal(err)
				}
				drawn[batch] += string(text)
			}
			if drawn[batch] != drawn["1"] {
				t.Errorf("%s: batches of %s give other bytes than batches of 1", annotator, batch)
			}
		}
	}
}

func TestAnAdaptiveAlphaDoesNotDependOnAlpha(t *testing.T) {
	p := newProject(t)
	keys := func(alpha string) string {
		steps, err := p.open("out", nil, "train.alpha_schedule=adaptive", "train.alpha="+alpha, "train.alpha_end="+alpha).Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, s := range steps {
			all += s.Key + " "
		}
		return all
	}
	if d := cmp.Diff(keys("0.1"), keys("0.9")); d != "" {
		t.Errorf("keys differ: %s", d)
	}
}

func TestWeightsOfTheEncoderReachTheFitByTheirContent(t *testing.T) {
	p := newProject(t)
	text := strings.Replace(small, "widths: [4, 8], stem: {kernel: 3, stride: 2}, size: 16", "network: unet-resnet18, size: 32", 1)
	if err := os.WriteFile(p.path("small.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for seed := range uint64(3) {
		var sets []string
		if seed > 0 {
			p.writeResNet18(seed)
			sets = []string{"predictor.pretrained=" + p.path("resnet18.safetensors")}
		}
		steps, err := p.open("out", nil, sets...).Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		keys[steps[1].Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("found %d keys of the predictor without weights and with two files' weights, want 3", len(keys))
	}
	_, err := p.open("out", nil, "predictor.pretrained="+p.path("small.yaml")).Plan(context.Background())
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.HasPrefix(err.Error(), "predictor.pretrained: pretrained weights: ") {
		t.Errorf("found error %v, want one of the data", err)
	}
}

func TestTheRunsPredictorReachesClassifiersThatStartFromItsEncoder(t *testing.T) {
	p := newProject(t)
	text := strings.Replace(small, "widths: [4, 8], stem: {kernel: 3, stride: 2}, size: 16", "network: unet-resnet18, size: 32", 1)
	text = strings.Replace(text, "network: custom, stem: {width: 4, kernel: 3, stride: 2, pool: 0}, widths: [6], blocks: [1], strides: [2], size: 16", "network: resnet18, pretrained: predictor, size: 33", 1)
	if err := os.WriteFile(p.path("small.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, set := range []string{"predictor.steps=6", "predictor.steps=7", "classifier.pretrained="} {
		steps, err := p.open("out", nil, set).Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		keys[steps[3].Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("found %d keys of the classifier from two predictors and from none, want 3", len(keys))
	}
}

func TestAPredictorOfAnotherNetworkStartsNoClassifier(t *testing.T) {
	p := newProject(t)
	for network, want := range map[string]string{
		"unet":          `predictor.network "unet" has no encoder for classifier.network "custom"`,
		"unet-resnet50": `predictor.network "unet-resnet50" has no encoder for classifier.network "custom"`,
	} {
		sets := []string{"data.root=" + p.path("set"), "out=" + p.path("out"), "classifier.pretrained=predictor"}
		text := small
		if network != "unet" {
			text = strings.Replace(small, "widths: [4, 8], stem: {kernel: 3, stride: 2}, size: 16", "network: "+network+", size: 32", 1)
		}
		if err := os.WriteFile(p.path("small.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := pipeline.LoadConfig(p.path("small.yaml"), sets)
		var bad *pipeline.ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "classifier.pretrained: "+want) {
			t.Errorf("%s: found %v, want %s", network, err, want)
		}
	}
}

// writeResNet18 writes a classifier's weights that begin with a seed.
func (p project) writeResNet18(seed uint64) {
	p.t.Helper()
	params := nn.NewParams(seed)
	g := nn.NewGraph(nn.Eval, params)
	backbone.ResNet18().Build(g, g.Input("image", op.Shape{N: 1, C: 3, H: 32, W: 32}), 2)
	f, err := os.Create(p.path("resnet18.safetensors"))
	if err == nil {
		err = errors.Join(g.Err(), weights.Write(f, nil, params.Tensors()), f.Close())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestThePlanSaysWhatChanged(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil).Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	steps, err := p.open("out", nil, "predictor.steps=7").Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got := steps[1].Why; got != "predictor.steps changed" {
		t.Errorf("the predictor is made because %q", got)
	}
	if got := steps[2].Why; got != "never made" {
		t.Errorf("the data set is made because %q", got)
	}
}

func TestAnInterruptedRunEndsAsAnUnbrokenOne(t *testing.T) {
	p := newProject(t)
	p.run("whole", nil)
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		// Each try is interrupted a little later in what it has to do.
		x := p.interruptible("broken", func(e pipeline.Event) {
			if n++; e.Kind == pipeline.Progress && n > 3+try {
				cancel()
			}
		})
		_, err := x.Run(ctx, pipeline.StageReport)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("try %d: %v", try, err)
		}
		if try > 400 {
			t.Fatal("the run comes to no end")
		}
	}
	if d := cmp.Diff(p.results("whole"), p.results("broken")); d != "" {
		t.Error("results differ from those of an unbroken run")
	}
}

func (p project) interruptible(out string, observe func(pipeline.Event), sets ...string) *pipeline.Pipeline {
	p.t.Helper()
	cfg, err := pipeline.LoadConfig(p.path("small.yaml"), append([]string{"data.root=" + p.path("set"), "out=" + p.path(out)}, sets...))
	if err != nil {
		p.t.Fatal(err)
	}
	x, err := pipeline.New(cfg, pipeline.Options{Version: "test", Observe: observe})
	if err != nil {
		p.t.Fatal(err)
	}
	return x
}

func TestBadRowsGoToQuarantineUpToTheirShare(t *testing.T) {
	p := newProject(t)
	damage(t, p.path("set", "images", "val-00003.png"))
	r := p.run("out", nil, "data.max_bad=0.1")
	text, err := os.ReadFile(p.path("out", "quarantine.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "val-00003.png") {
		t.Errorf("quarantine lacks the damaged image: %s", text)
	}
	if len(r.Data.Excluded) != 1 || r.Data.Excluded[0].N != 1 {
		t.Errorf("the summary excludes %v, want one row", r.Data.Excluded)
	}
	_, err = p.open("strict", nil, "data.max_bad=0").Run(context.Background(), pipeline.StageReport)
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.Contains(err.Error(), "val-00003.png") {
		t.Errorf("found %v, want an error of the data that names the image", err)
	}
}

// removeSets takes the data away.
func (p project) removeSets() {
	if err := os.RemoveAll(p.path("set")); err != nil {
		p.t.Error(err)
	}
}

func TestAReportIsMadeOfARunWhoseDataAreGone(t *testing.T) {
	p := newProject(t)
	x := p.interruptible("out", func(e pipeline.Event) {
		if e.Stage == pipeline.StageEvaluate {
			p.removeSets()
		}
	})
	if _, err := x.Run(context.Background(), pipeline.StageReport); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnlabelledSamplesGetMapsAndAreLeftOutOfTraining(t *testing.T) {
	p := newProject(t)
	path := p.path("set", "labels.csv")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "train-00011.png,") {
			lines[i] = "train-00011.png,,train,"
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	r := p.run("out", nil, "train.arms=[none]", "train.seeds=1")
	if r.Data.Unlabelled != 1 {
		t.Errorf("found %d unlabelled samples, want 1", r.Data.Unlabelled)
	}
	set, err := storage.Open(p.path("out"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range set.Rows() {
		if row.ID == "train-00011.png" && (row.Label != storage.NoLabel || !row.HasMap) {
			t.Errorf("the unlabelled sample is %+v", row)
		}
	}
}

func TestASetIsAnnotatedWithoutAProject(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil).Run(context.Background(), pipeline.StageAnnotate); err != nil {
		t.Fatal(err)
	}
	options := pipeline.SetOptions{
		Models: []string{p.path("out", "models", "predictor.safetensors")}, In: p.path("set", "unannotated", "data", "*.parquet"),
		Out: p.path("annotated"), Split: "train", Workers: 2, Batch: 4,
	}
	s, err := pipeline.AnnotateSet(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	if s.Predicted != 20 || s.Samples != 20 {
		t.Errorf("found %d of %d samples with a map, want 20 of 20", s.Predicted, s.Samples)
	}
	for name, change := range map[string]func(*pipeline.SetOptions){
		"another set":        func(o *pipeline.SetOptions) { o.In = p.path("out", "data", "val-*.parquet") },
		"a run's own folder": func(o *pipeline.SetOptions) { o.Out = p.path("out") },
	} {
		changed := options
		change(&changed)
		if _, err := pipeline.AnnotateSet(context.Background(), changed); err == nil || !strings.Contains(err.Error(), "folder") {
			t.Errorf("%s: found %v, want the folder to be refused", name, err)
		}
	}
	options.Models = []string{p.path("set", "labels.csv")}
	if _, err := pipeline.AnnotateSet(context.Background(), options); err == nil || !strings.Contains(err.Error(), "labels.csv") {
		t.Errorf("found %v, want an error that names the file", err)
	}
}

func ExampleStages() {
	for _, s := range pipeline.Stages() {
		fmt.Println(s)
	}
	// Output:
	// ingest
	// fit
	// annotate
	// train
	// evaluate
	// export
	// report
}
