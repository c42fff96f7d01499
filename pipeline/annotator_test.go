package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// otherAnnotators are those that stand in for the predictor, with few masks.
var otherAnnotators = []string{"mean", "centre", "pca", "teacher-cam", "teacher-rise"}

// drawnBy are the overrides that let an annotator draw, with more after them.
func drawnBy(annotator string, sets ...string) []string {
	return append([]string{"annotate.annotator=" + annotator, "annotate.rise={masks: 5, cells: 4}"}, sets...)
}

func TestEveryAnnotatorDrawsAMapForEverySample(t *testing.T) {
	p := newProject(t)
	for _, name := range otherAnnotators {
		r, err := p.open(name, nil, drawnBy(name)...).Run(context.Background(), pipeline.StageAnnotate)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Predictor.Annotator != name || r.Predictor.Reference.Predictor.CC.N != 34 || r.Predictor.OutOfFold.Predictor.CC.N != 8 {
			t.Errorf("%s: found scores of %s on %d and %d maps, want 34 kept from training and 8 out of fold", name,
				r.Predictor.Annotator, r.Predictor.Reference.Predictor.CC.N, r.Predictor.OutOfFold.Predictor.CC.N)
		}
		for _, row := range rowsOf(t, p.path(name)) {
			switch {
			case !row.HasMap:
				t.Errorf("%s: sample %q has no map", name, row.ID)
			case row.SaliencySource == storage.SourceHuman:
				if !row.HasPredicted {
					t.Errorf("%s: sample %q has a human map and no prediction out of fold", name, row.ID)
				}
			case row.SaliencySource != name || row.SaliencyModel == "" || row.SaliencyQuality != row.SaliencyQuality:
				t.Errorf("%s: sample %q: source %q, model %q, quality %v", name, row.ID, row.SaliencySource, row.SaliencyModel, row.SaliencyQuality)
			}
		}
	}
}

func rowsOf(t *testing.T, dir string) []storage.Row {
	t.Helper()
	set, err := storage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set.Rows()
}

func TestATeachersRunEndsInAReportThatNamesIt(t *testing.T) {
	p := newProject(t)
	p.run("out", nil, drawnBy("teacher-cam", "annotate.ensemble=2", "train.arms=[none, predicted]", "train.seeds=1")...)
	page, err := os.ReadFile(p.path("out", "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), `<th scope="row">teacher-cam</th>`) {
		t.Error("the report does not name the annotator beside its scores")
	}
	for _, name := range []string{"teacher-0.safetensors", "teacher-1.safetensors", "predicted-0.safetensors"} {
		if _, err := os.Stat(p.path("out", "models", name)); err != nil {
			t.Error(err)
		}
	}
}

// mapsOf are what of the samples is a map to look at, by id; "" is none.
func mapsOf(t *testing.T, dir string, of func(storage.Sample) string) map[string]string {
	t.Helper()
	set, err := storage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	maps := map[string]string{}
	for s, err := range set.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if m := of(s); m != "" {
			maps[s.ID] = m
		}
	}
	return maps
}

// heldOut are the maps that an annotator draws out of fold, by id.
func (p project) heldOut(out, annotator string) map[string]string {
	p.t.Helper()
	if _, err := p.open(out, nil, drawnBy(annotator, "train.epochs=8")...).Run(context.Background(), pipeline.StageAnnotate); err != nil {
		p.t.Fatal(err)
	}
	return mapsOf(p.t, p.path(out), func(s storage.Sample) string { return string(s.Predicted.Bytes) })
}

// exchange replaces a file in one of the set's folders by that of a test image.
func (p project) exchange(folder, name string) {
	p.t.Helper()
	other, err := os.ReadFile(p.path("set", folder, "test-00000.png"))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path("set", folder, name), other, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// TestATeacherDrawsAnnotatedImagesWithoutTheirMaps gives one image another human map.
// Its own out-of-fold map stays, to the byte; some of the others', which its map helped
// to teach, do not.
func TestATeacherDrawsAnnotatedImagesWithoutTheirMaps(t *testing.T) {
	for _, name := range []string{"teacher-cam", "pca"} {
		p := newProject(t)
		before := p.heldOut("before", name)
		var changed string
		for _, r := range rowsOf(t, p.path("before")) {
			if r.HasPredicted && r.Split == "train" {
				changed = r.ID
			}
		}
		p.exchange("maps", changed)
		after := p.heldOut("after", name)
		if before[changed] == "" || before[changed] != after[changed] {
			t.Errorf("%s: the out-of-fold map of the image with another human map has changed", name)
		}
		if cmp.Equal(before, after) {
			t.Errorf("%s: no out-of-fold map has changed: the human map was never learnt from", name)
		}
	}
}

// TestATeacherLearnsFromLabelledImagesWithoutAMapToo exchanges one of them.
func TestATeacherLearnsFromLabelledImagesWithoutAMapToo(t *testing.T) {
	p := newProject(t)
	before := p.heldOut("before", "teacher-cam")
	var changed string
	for _, r := range rowsOf(t, p.path("before")) {
		if _, err := os.Stat(p.path("set", "images", r.ID)); err == nil && r.Split == "train" && before[r.ID] == "" {
			changed = r.ID
		}
	}
	p.exchange("images", changed)
	if cmp.Equal(before, p.heldOut("after", "teacher-cam")) {
		t.Errorf("no out-of-fold map has changed with %s: it was never learnt from", changed)
	}
}

func TestATeachersMapsDoNotDependOnWorkersOrInterruptions(t *testing.T) {
	if testing.Short() {
		t.Skip("runs again and again")
	}
	p := newProject(t)
	sets := drawnBy("teacher-rise", "annotate.ensemble=2", "train.arms=[predicted]", "train.seeds=1")
	p.run("one", nil, append(sets, "workers=1")...)
	p.run("three", nil, append(sets, "workers=3", "jobs=2")...)
	if d := cmp.Diff(p.results("one"), p.results("three")); d != "" {
		t.Error("results differ between 1 and 3 workers")
	}
	tries := 0
	for ; ; tries++ {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		x := p.interruptible("broken", func(e pipeline.Event) {
			if n++; e.Kind == pipeline.Progress && n > 3+6*tries {
				cancel()
			}
		}, sets...)
		_, err := x.Run(ctx, pipeline.StageReport)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("try %d: %v", tries, err)
		}
		if tries > 200 {
			t.Fatal("the run comes to no end")
		}
	}
	if tries < 3 {
		t.Errorf("the run was interrupted %d times, want a few", tries)
	}
	if d := cmp.Diff(p.results("one"), p.results("broken")); d != "" {
		t.Error("results differ from those of an unbroken run")
	}
}

func TestAFinishedTeacherIsNotTrainedAgainAfterAnInterruption(t *testing.T) {
	p := newProject(t)
	sets := drawnBy("teacher-cam", "annotate.ensemble=2", "train.epochs=8", "workers=1")
	// The first to learn is the first teacher of the first fold: it has done when the
	// second begins.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	x := p.interruptible("out", func(e pipeline.Event) {
		if strings.HasPrefix(e.Text, "teacher 2 of fold 1:") {
			cancel()
		}
	}, sets...)
	if _, err := x.Run(ctx, pipeline.StageFit); !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v, want the run to be interrupted", err)
	}
	seen := map[string]bool{}
	x = p.interruptible("out", func(e pipeline.Event) {
		text, _, _ := strings.Cut(e.Text, ":")
		seen[text] = true
	}, sets...)
	if _, err := x.Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	if seen["teacher 1 of fold 1"] || !seen["teacher 2 of fold 1"] || !seen["teacher 1 of fold 2"] {
		t.Errorf("went on with %v, want all but the first teacher of the first fold", seen)
	}
}

func TestTheSettingsOfAnAnnotatorReachItAlone(t *testing.T) {
	p := newProject(t)
	keys := func(sets ...string) (fit, data string) {
		t.Helper()
		steps, err := p.open("out", nil, sets...).Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return steps[1].Key, steps[2].Key
	}
	for _, x := range []struct {
		annotator, set string
		reaches        bool
	}{
		{"predictor", "annotate.rise.masks=9", false},
		{"predictor", "annotate.ensemble=2", true},
		{"predictor", "classifier.size=20", false},
		{"pca", "predictor.steps=9", false},
		{"pca", "predictor.size=32", true},
		{"pca", "train.alpha=0.5", false},
		{"teacher-cam", "predictor.steps=9", false},
		{"teacher-cam", "annotate.rise.masks=9", false},
		{"teacher-cam", "train.alpha=0.5", true},
		{"teacher-cam", "annotate.ensemble=2", true},
		{"teacher-cam", "annotate.mirror=false", true},
		{"teacher-cam", "predictor.folds=3", true},
		{"teacher-rise", "annotate.rise.masks=9", true},
	} {
		fit, data := keys("annotate.annotator=" + x.annotator)
		otherFit, otherData := keys("annotate.annotator="+x.annotator, x.set)
		if (fit != otherFit) != x.reaches || (data != otherData) != x.reaches {
			t.Errorf("%s: %s changes the annotator's key: %v, and the data set's: %v, want %v", x.annotator, x.set, fit != otherFit, data != otherData, x.reaches)
		}
	}
	seen := map[string]string{}
	for _, name := range append(otherAnnotators, "predictor") {
		fit, data := keys("annotate.annotator=" + name)
		for _, key := range []string{fit, data} {
			if seen[key] != "" {
				t.Errorf("%s and %s share a key", name, seen[key])
			}
			seen[key] = name
		}
	}
}

func TestAPredictorThatIsABaselineAnnotatesASetUnderItsOwnName(t *testing.T) {
	p := newProject(t)
	if _, err := p.open("out", nil, drawnBy("pca")...).Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	_, err := pipeline.AnnotateSet(context.Background(), pipeline.SetOptions{
		Models: []string{p.path("out", "models", "predictor.safetensors")}, In: p.path("set", "unannotated", "data", "*.parquet"),
		Out: p.path("annotated"), Split: "train", Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rowsOf(t, p.path("annotated")) {
		if r.SaliencySource != "pca" {
			t.Fatalf("found source %q of %q, want pca", r.SaliencySource, r.ID)
		}
	}
}

// predictedMap is the map of a sample that has no human one.
func predictedMap(s storage.Sample) string {
	if s.SaliencySource == storage.SourceHuman {
		return ""
	}
	return s.SaliencySource + " " + string(s.Saliency.Bytes)
}

func TestTeachersDrawTheSameFromTheirFilesAsInTheirRun(t *testing.T) {
	p := newProject(t)
	byRISE := pipeline.DefaultTeacherOptions()
	byRISE.Annotator, byRISE.Mirror, byRISE.RISE.Masks, byRISE.RISE.Cells = "teacher-rise", false, 5, 4
	for name, x := range map[string]struct {
		members int
		sets    []string
		options *pipeline.TeacherOptions
	}{
		"one, by default":          {1, drawnBy("teacher-cam"), nil},
		"two, by RISE, unmirrored": {2, drawnBy("teacher-rise", "annotate.ensemble=2", "annotate.mirror=false"), &byRISE},
	} {
		run, again := p.path(name), p.path(name+" again")
		if _, err := p.open(name, nil, x.sets...).Run(context.Background(), pipeline.StageAnnotate); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		options := pipeline.SetOptions{
			Teacher: x.options, In: p.path("set", "unannotated", "data", "*.parquet"), Out: again, Split: "train", Workers: 1,
		}
		for member := range x.members {
			options.Models = append(options.Models, filepath.Join(run, "models", fmt.Sprintf("teacher-%d.safetensors", member)))
		}
		if _, err := pipeline.AnnotateSet(context.Background(), options); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found, want := mapsOf(t, again, predictedMap), mapsOf(t, run, predictedMap)
		if len(found) != 20 {
			t.Errorf("%s: found %d maps, want 20", name, len(found))
		}
		for id, m := range found {
			if m != want[id] {
				t.Errorf("%s: the map of %q or its source is another than the run's", name, id)
			}
		}
	}
}

func TestModelsThatCannotDrawAsAskedAreRefused(t *testing.T) {
	p := newProject(t)
	for _, name := range []string{"pca", "teacher-cam"} {
		if _, err := p.open(name, nil, drawnBy(name)...).Run(context.Background(), pipeline.StageFit); err != nil {
			t.Fatal(err)
		}
	}
	predictor := p.path("pca", "models", "predictor.safetensors")
	teacher := p.path("teacher-cam", "models", "teacher-0.safetensors")
	asked := pipeline.DefaultTeacherOptions()
	pca, coarse := asked, asked
	pca.Annotator = "pca"
	coarse.Annotator, coarse.RISE.Cells = "teacher-rise", 17
	for _, x := range []struct {
		models  []string
		options *pipeline.TeacherOptions
		want    string
	}{
		{[]string{predictor}, &asked, "draws as it was fitted"},
		{[]string{teacher, predictor}, nil, "want it alone"},
		{[]string{predictor, predictor}, nil, "want it alone"},
		{[]string{teacher}, &pca, `annotator "pca"`},
		{[]string{teacher}, &coarse, "17 cells"},
		{nil, nil, "found no model"},
	} {
		_, err := pipeline.AnnotateSet(context.Background(), pipeline.SetOptions{
			Models: x.models, Teacher: x.options, In: p.path("set", "unannotated", "data", "*.parquet"), Out: p.path("none"), Split: "train", Workers: 1,
		})
		var misuse *pipeline.ConfigError
		if !errors.As(err, &misuse) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("models %q, options %+v: found %v, want misuse with %q", x.models, x.options, err, x.want)
		}
	}
	if _, err := os.Stat(p.path("none")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused call has left something")
	}
}

func TestATeacherWithoutAnnotatedTrainingImagesIsAnErrorOfTheData(t *testing.T) {
	p := newProject(t)
	text, err := os.ReadFile(p.path("set", "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for i, line := range strings.Split(string(text), "\n") {
		if i > 0 && strings.HasPrefix(line, "train-") { // the label goes, the map stays
			file, _, _ := strings.Cut(line, ",")
			line = fmt.Sprintf("%s,,train,", file)
		}
		kept = append(kept, line)
	}
	if err := os.WriteFile(p.path("set", "labels.csv"), []byte(strings.Join(kept, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = p.open("out", nil, drawnBy("teacher-cam")...).Run(context.Background(), pipeline.StageFit)
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.Contains(err.Error(), "teacher") {
		t.Errorf("found %v, want an error of the data about the teacher", err)
	}
}

func TestATeacherThatSeesOneClassAloneIsNamed(t *testing.T) {
	p := newProject(t)
	text, err := os.ReadFile(p.path("set", "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	list := "file,label,split,group\n"
	for i, line := range lines[1:] { // the second class in one group, the first in four
		cells := strings.Split(line, ",")
		group := "b"
		if cells[1] == "0" {
			group = fmt.Sprintf("a%d", i%4)
		}
		list += fmt.Sprintf("%s,%s,train,%s\n", cells[0], cells[1], group)
	}
	if err := os.WriteFile(p.path("set", "labels.csv"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = p.open("out", nil, drawnBy("teacher-cam", "data.annotated.human_maps=0")...).Run(context.Background(), pipeline.StageFit)
	if err == nil || !strings.Contains(err.Error(), `which sees no image of the groups whose maps it is to draw, ["b"`) || !strings.Contains(err.Error(), "alone, want some of at least two classes") {
		t.Errorf("found the error %v, want the teacher and the groups that it does not see", err)
	}
}
