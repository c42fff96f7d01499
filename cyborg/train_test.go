package cyborg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/storage"
)

func TestAlphaOneEqualsTrainingWithoutMaps(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 18)), cfg, cacheAll)
	none := trained(t, cfg, d, None, 0)
	cfg.Alpha = 1
	if err := sameWeights(none, trained(t, cfg, d, Combined, 0)); err != nil {
		t.Error(err)
	}
}

func TestAnArmWithoutAnyMapEqualsTrainingWithoutMaps(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 18)
	for i := range samples {
		if samples[i].SaliencySource == storage.SourceHuman {
			samples[i].Saliency, samples[i].SaliencySource = storage.Encoded{}, ""
		}
	}
	d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
	if err := sameWeights(trained(t, cfg, d, None, 0), trained(t, cfg, d, Human, 0)); err != nil {
		t.Error(err)
	}
}

func TestBlankMapsGuideNothing(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 18)
	for i := range samples {
		if samples[i].SaliencySource == storage.SourceHuman {
			samples[i].Saliency = blank(t)
		}
	}
	d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
	if s := trained(t, cfg, d, Human, 0).Summary(); s.Mapped != 6 || s.Best.Guided != 0 { // of kinds 0 and 1
		t.Errorf("%d mapped samples, %d guided views, want 6 and 0", s.Mapped, s.Best.Guided)
	}
}

func TestArmsAreComparedInPairs(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, smallRows, mixed(t, 18)), cfg, cacheAll)
	type shown struct {
		weights []float32
		batches [][]float32
	}
	show := func(arm Arm, run int) shown {
		tr, err := newTraining(context.Background(), cfg, d, arm, run, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer tr.feed.close()
		var s shown
		for _, p := range tr.trainer.Params().All() {
			s.weights = append(s.weights, p.Data...)
		}
		for step := range tr.feed.steps() {
			b := batch(tr)
			if err := tr.feed.fill(context.Background(), step, nn.ImageBatch{Batch: b, Images: tr.cfg.Batch}); err != nil {
				t.Fatal(err)
			}
			s.batches = append(s.batches, slices.Concat(b[imageInput], b[labelInput]))
		}
		return s
	}
	equal := func(a, b shown) (weights, batches bool) {
		return slices.Equal(a.weights, b.weights), slices.EqualFunc(a.batches, b.batches, slices.Equal)
	}
	none := show(None, 1)
	for _, arm := range Arms() {
		weights, batches := equal(none, show(arm, 1))
		small := arm == HumanSmall || arm == NoneSmall
		if !weights || batches == small {
			t.Errorf("arm %s: same first weights: %t, same batches: %t", arm, weights, batches)
		}
	}
	if _, batches := equal(show(HumanSmall, 1), show(NoneSmall, 1)); !batches {
		t.Error("human_small and none_small show different batches")
	}
	if weights, batches := equal(none, show(None, 2)); weights || batches {
		t.Error("two runs share first weights or batches")
	}
}

// batch is room for one of a training's batches.
func batch(tr *training) nn.Batch {
	b := nn.Batch{}
	for _, name := range []string{imageInput, labelInput, mapInput, ceWeightInput, mapWeightInput, entropyWeightInput} {
		if in := tr.trainer.Program().Input(name); in != nil {
			b[name] = make([]float32, len(in))
		}
	}
	return b
}

func TestEveryEpochShowsEverySampleOnce(t *testing.T) {
	cfg := tiny()
	cfg.Batch = 5
	d := opened(t, dataset(t, smallRows, mixed(t, 18)), cfg, 0)
	f := &feed{cfg: cfg, data: d, plan: newPlan(Combined, d.set, cfg.Seed), seed: 3}
	defer f.close()
	seen := make([]map[int]int, cfg.Epochs)
	for position := range cfg.Epochs * f.plan.n {
		p, err := f.at(context.Background(), position)
		if err != nil {
			t.Fatal(err)
		}
		if seen[p.epoch] == nil {
			seen[p.epoch] = map[int]int{}
		}
		seen[p.epoch][p.row]++
	}
	for epoch, rows := range seen {
		if len(rows) != 17 { // 18 training samples, one without a label
			t.Errorf("epoch %d shows %d samples, want 17", epoch, len(rows))
		}
	}
	if got := f.steps(); got != 11 { // 3 epochs of 17 samples, 5 a step
		t.Errorf("%d steps, want 11", got)
	}
}

func TestAnInterruptedTrainingEndsByteEqual(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, smallRows, mixed(t, 18)), cfg, cacheAll)
	whole := file(t, trained(t, cfg, d, Combined, 0))
	dir := t.TempDir()
	var m *Model
	for interruptions := 0; m == nil; interruptions++ {
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		cfg.Workers = 1 + interruptions%2
		var err error
		m, err = Train(ctx, cfg, d, Combined, 0, dir, func(Progress) {
			if steps++; steps == 1+interruptions%3 {
				cancel()
			}
		})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if interruptions > 20 {
			t.Fatal("the training does not move on")
		}
	}
	if !bytes.Equal(whole, file(t, m)) {
		t.Error("the model differs from that of an unbroken training")
	}
	again, err := Train(context.Background(), cfg, d, Combined, 0, dir, func(Progress) { t.Error("a finished training takes a step") })
	if err != nil || !bytes.Equal(whole, file(t, again)) {
		t.Errorf("a finished training does not return its model (error %v)", err)
	}
}

func TestAKilledTrainingContinuesFromItsLastCheckpoint(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 18)), cfg, cacheAll)
	dir, left := t.TempDir(), filepath.Join(t.TempDir(), "left")
	m, err := Train(context.Background(), cfg, d, Human, 0, dir, func(p Progress) {
		if p.Step == 8 {
			if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	resumed, err := Train(context.Background(), cfg, d, Human, 0, left, func(p Progress) {
		if first == 0 {
			first = p.Step
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if first != 7 { // a checkpoint each 3 steps
		t.Errorf("continues at step %d, want 7", first)
	}
	if !bytes.Equal(file(t, m), file(t, resumed)) {
		t.Error("the model differs from that of an unbroken training")
	}
}

func TestACheckpointOfAnotherTrainingIsRefused(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 18)), cfg, cacheAll)
	dir := t.TempDir()
	if _, err := Train(context.Background(), cfg, d, Human, 0, dir, nil); err != nil {
		t.Fatal(err)
	}
	_, err := Train(context.Background(), cfg, d, Human, 1, dir, nil)
	if err == nil || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("error %v", err)
	}
}

func TestNeitherWorkersNorMemoryChangeTheModel(t *testing.T) {
	set := dataset(t, smallRows, mixed(t, 18))
	for _, arm := range []Arm{Combined, Shuffled, Mean} {
		cfg := tiny()
		if arm == Shuffled {
			cfg.CAMClass, cfg.CAMFeatures, cfg.AlphaSchedule, cfg.Entropy, cfg.Blur = "difference", "reference", "adaptive", 0.1, 2
		}
		want := file(t, trained(t, cfg, opened(t, set, cfg, cacheAll), arm, 0))
		for _, other := range []struct {
			name    string
			workers int
			budget  int64
		}{{"two workers", 2, cacheAll}, {"no cache", 1, 0}, {"two workers and a cache for some", 2, 20 << 10}} {
			c := cfg
			c.Workers = other.workers
			if !bytes.Equal(want, file(t, trained(t, c, opened(t, set, c, other.budget), arm, 0))) {
				t.Errorf("arm %s: %s: another model", arm, other.name)
			}
		}
	}
}

func TestTrainingsSideBySideShareTheirData(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, smallRows, mixed(t, 12)), cfg, 30<<10)
	arms := []Arm{None, Mean, Shuffled, Mean}
	models := make([]*Model, len(arms))
	done := make(chan error)
	for i, arm := range arms {
		dir := t.TempDir()
		go func() {
			var err error
			models[i], err = Train(context.Background(), cfg, d, arm, 0, dir, nil)
			done <- err
		}()
	}
	for range arms {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if !t.Failed() && !bytes.Equal(file(t, models[1]), file(t, models[3])) {
		t.Error("two trainings of one arm and run differ")
	}
}

func TestUnlabelledSamplesAreLeftOutAndCounted(t *testing.T) {
	cfg := tiny()
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 18)), cfg, cacheAll), Combined, 0)
	s := m.Summary()
	// 18 training samples, the last one (a kind with a map) without a label; three
	// without a map, two more whose map is blank.
	if s.Train != 17 || s.Unlabelled != 1 || s.Validation != 8 || s.Mapped != 14 {
		t.Errorf("%d trained on, %d unlabelled, %d validated, %d mapped, want 17, 1, 8, 14", s.Train, s.Unlabelled, s.Validation, s.Mapped)
	}
	guided := 0
	for _, p := range s.History {
		guided += p.Guided
	}
	if most := 12 * (cfg.Epochs + 1); guided == 0 || guided > most {
		t.Errorf("%d views guided, want at most %d", guided, most)
	}
}

func TestTheEpochThatDoesBestIsKeptTheLaterOfEquals(t *testing.T) {
	point := func(epoch int, loss, auc, accuracy float64) Point {
		return Point{Epoch: epoch, Step: epoch, Validation: &Scores{Loss: loss, AUC: auc, Accuracy: accuracy}}
	}
	history := []Point{point(1, .5, .8, .6), point(2, .4, .9, .5), point(3, .4, .9, .6), point(4, .6, .7, .5)}
	for choice, want := range map[string]int{"auc": 3, "accuracy": 3, "loss": 3, "last": 4} {
		tr := &training{cfg: Config{Select: choice}}
		for _, p := range history {
			if tr.better(p) {
				tr.state.Best = p
			}
		}
		if tr.state.Best.Epoch != want {
			t.Errorf("select %s keeps epoch %d, want %d", choice, tr.state.Best.Epoch, want)
		}
	}
}

func TestASplitThatCannotChooseIsAnErrorUnlessTheLastEpochIsWanted(t *testing.T) {
	cfg := tiny()
	best, last := cfg, cfg
	best.Select, last.Select = "auc", "last"
	for name, drop := range map[string]func(storage.Sample) bool{
		"no validation samples":           func(s storage.Sample) bool { return s.Split == "val" },
		"validation samples of one class": func(s storage.Sample) bool { return s.Split == "val" && s.Label == 0 },
	} {
		d := opened(t, dataset(t, oneGroup, slices.DeleteFunc(mixed(t, 12), drop)), cfg, cacheAll)
		_, err := Train(context.Background(), best, d, None, 0, t.TempDir(), nil)
		if err == nil || !strings.Contains(err.Error(), `split "val"`) || !strings.Contains(err.Error(), "at least two") {
			t.Errorf("%s: error %v", name, err)
		}
		m := trained(t, last, d, None, 0)
		if s := m.Summary(); s.Best.Epoch != cfg.Epochs || s.Best.Validation != nil {
			t.Errorf("%s: kept %+v, want the last epoch, not validated", name, s.Best)
		}
		file(t, m)
	}
}

func TestASampleThatCannotBeDecodedIsNamed(t *testing.T) {
	cfg := tiny()
	damaged := storage.Encoded{Bytes: []byte("\x89PNG\r\n\x1a\n and nothing more")}
	for name, damage := range map[string]func(*storage.Sample){
		"image": func(s *storage.Sample) { s.Image = damaged },
		"map":   func(s *storage.Sample) { s.Saliency = damaged },
	} {
		samples := mixed(t, 12)
		damage(&samples[3])
		d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
		for _, arm := range []Arm{Combined, Shuffled} {
			_, err := Train(context.Background(), cfg, d, arm, 0, t.TempDir(), nil)
			var bad *SampleError
			if !errors.As(err, &bad) || bad.ID != samples[3].ID || !strings.Contains(err.Error(), name) {
				t.Errorf("damaged %s, arm %s: error %v, want one that names %q", name, arm, err, samples[3].ID)
			}
		}
	}
}

func TestATrainingThatDivergesSaysWhereAndKeepsItsBestEpoch(t *testing.T) {
	for name, x := range map[string]struct {
		optimizer Optimizer
		selects   string
		kept      bool // whether an epoch ended before
	}{
		"at once": {Optimizer{Name: "sgd", LR: 1e38, Schedule: "constant"}, "auc", false},
		// Decoupled decay multiplies the weights by -499 a step, whatever the images.
		"in time":                  {Optimizer{Name: "adamw", LR: 1, WeightDecay: 500, Schedule: "constant"}, "auc", true},
		"in time, never validated": {Optimizer{Name: "adamw", LR: 1, WeightDecay: 500, Schedule: "constant"}, "last", true},
	} {
		cfg := tiny()
		cfg.Optimizer, cfg.Select, cfg.Epochs = x.optimizer, x.selects, 30
		samples := mixed(t, 12)
		if x.selects == "last" {
			samples = slices.DeleteFunc(samples, func(s storage.Sample) bool { return s.Split == "val" })
		}
		d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
		dir := t.TempDir()
		_, err := Train(context.Background(), cfg, d, Human, 2, dir, nil)
		var diverged *DivergedError
		if !errors.As(err, &diverged) {
			t.Fatalf("%s: error %v, want a divergence", name, err)
		}
		if want := fmt.Sprintf("arm human, run 2: diverged after %d steps: found ", diverged.Steps); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", name, err, want)
		}
		if kept := diverged.Kept; (kept != nil) != x.kept || kept != nil && kept.Summary().Best.Step > diverged.Steps {
			t.Errorf("%s: after %d steps found %+v kept", name, diverged.Steps, kept)
		} else if kept != nil {
			finite(t, filepath.Join(dir, "kept.safetensors"), kept)
		}
		_, again := Train(context.Background(), cfg, d, Human, 2, dir, nil)
		if again == nil || again.Error() != err.Error() {
			t.Errorf("%s: tried again, error %v, want the same as before, %v", name, again, err)
		}
	}
}

// finite fails if a model cannot be saved and loaded, as one with NaN cannot.
func finite(t *testing.T, path string, m *Model) {
	t.Helper()
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(path); err != nil {
		t.Error(err)
	}
}

func TestTrainingSamplesOfOneClassAreAnError(t *testing.T) {
	cfg := tiny()
	for name, x := range map[string]struct {
		drop func(storage.Sample) bool
		arm  Arm
		want string
	}{
		"no training samples":      {func(s storage.Sample) bool { return s.Split == "train" && s.Label != storage.NoLabel }, None, "no labelled samples"},
		"one class":                {func(s storage.Sample) bool { return s.Split == "train" && s.Label == 0 }, None, `of "horizontal" alone`},
		"one class with human map": {func(s storage.Sample) bool { return s.SaliencySource == storage.SourceHuman && s.Label == 1 }, HumanSmall, `of "vertical" alone`},
	} {
		d := opened(t, dataset(t, oneGroup, slices.DeleteFunc(mixed(t, 12), x.drop)), cfg, cacheAll)
		_, err := Train(context.Background(), cfg, d, x.arm, 0, t.TempDir(), nil)
		split := `split "train": found `
		if x.arm == HumanSmall {
			split = `split "train", samples with a human map: found `
		}
		for _, err := range []error{err, d.Check(cfg, x.arm)} {
			var data *storage.DataError
			if !errors.As(err, &data) || !strings.Contains(err.Error(), split) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: error %v, want one of the data with %q", name, err, x.want)
			}
		}
	}
}

func TestEveryGuidanceBringsTheMapsNearer(t *testing.T) {
	cfg := tiny()
	cfg.Alpha, cfg.Epochs, cfg.Augment = 0, 12, Augment{}
	samples := mixed(t, 13)
	for i := range samples {
		samples[i].Image = samples[0].Image // one image to learn by heart
		samples[i].Saliency, samples[i].SaliencySource = samples[0].Saliency, storage.SourceHuman
	}
	d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
	for _, guidance := range []string{"mse", "bce", "kl", "cc"} {
		cfg.Guidance = guidance
		h := trained(t, cfg, d, Combined, 0).Summary().History
		if first, last := h[0].TrainMap, h[len(h)-1].TrainMap; last > 0.95*first {
			t.Errorf("%s: the distance goes from %v to %v", guidance, first, last)
		}
	}
}

func TestPretrainedWeightsAreTakenAndTheirHeadReplaced(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	first := trained(t, cfg, d, None, 0)
	path := filepath.Join(t.TempDir(), "first.safetensors")
	if err := first.Save(path); err != nil {
		t.Fatal(err)
	}
	cfg.Pretrained = path
	for _, c := range []struct {
		classes  []string
		replaced bool
	}{{d.classes, false}, {[]string{"a", "b", "c"}, true}} {
		d.classes = c.classes
		tr, err := newTraining(context.Background(), cfg, d, None, 1, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if tr.pretrained.HeadReplaced != c.replaced {
			t.Errorf("%d classes: head replaced: %t", len(c.classes), tr.pretrained.HeadReplaced)
		}
		name := "layer1.0.conv2.weight"
		if !slices.Equal(first.params.Get(name).Data, tr.trainer.Params().Get(name).Data) {
			t.Errorf("%d classes: %s is not that of the file", len(c.classes), name)
		}
	}
	cfg.Widths = []int{8}
	if _, err := newTraining(context.Background(), cfg, d, None, 1, t.TempDir()); err == nil || !strings.Contains(err.Error(), "shape") {
		t.Errorf("another network's file: error %v", err)
	}
	cfg.Pretrained = filepath.Join(t.TempDir(), "nothing")
	if _, err := newTraining(context.Background(), cfg, d, None, 1, t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}
