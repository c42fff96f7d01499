package predictor

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

func TestAFewMapsTeachMoreThanTheirMean(t *testing.T) {
	cfg := tiny()
	cfg.Widths, cfg.Size, cfg.Steps, cfg.Batch, cfg.ValidateEvery = []int{8, 8}, 20, 30, 6, 15
	cfg.Optimizer.LR = 1e-2
	m := fit(t, cfg, examples(t, "train", 30), examples(t, "val", 10))
	r, err := m.Score(t.Context(), examples(t, "test", 20), Options{})
	if err != nil {
		t.Fatal(err)
	}
	// In pixels of 40/24, a disc has 35 of 576; two look alike but for their rims. This
	// fit came to a CC of 0.59, the mean map to 0.09.
	if r.Predictor.CC.Mean < 0.4 || r.MeanMap.CC.Mean > 0.2 || !r.BeatsMean {
		t.Errorf("found a CC of %.2f beside the mean map's %.2f (beats it: %v), want 0.4 beside 0.2 at most",
			r.Predictor.CC.Mean, r.MeanMap.CC.Mean, r.BeatsMean)
	}
}

func TestEveryLossTrains(t *testing.T) {
	for _, loss := range []string{"mse", "bce", "kl", "cc", "bce+cc"} {
		t.Run(loss, func(t *testing.T) {
			cfg := tiny()
			cfg.Loss = loss
			history := fit(t, cfg, examples(t, "train", 20), nil).Summary().History
			if first, last := history[0].TrainLoss, history[len(history)-1].TrainLoss; !(last < first) {
				t.Errorf("found losses from %v to %v, want them to fall", first, last)
			}
		})
	}
}

// begun is the loss of a fit's first step, and that of a validation after no more.
func begun(t *testing.T, loss string) (training, validation float64) {
	t.Helper()
	cfg := tiny()
	cfg.Loss, cfg.Steps, cfg.ValidateEvery = loss, 1, 1
	cfg.Optimizer.LR = 1e-12
	point := fit(t, cfg, examples(t, "train", 20), nil).Summary().History[0]
	return point.TrainLoss, point.Loss
}

func TestASumOfDistancesIsTheirSumInTrainingAndInValidation(t *testing.T) {
	bce, bceHeldOut := begun(t, "bce")
	cc, ccHeldOut := begun(t, "cc")
	sum, sumHeldOut := begun(t, "bce+cc")
	if math.Abs(sum-bce-cc) > 1e-5 {
		t.Errorf("training: found %v, want %v + %v", sum, bce, cc)
	}
	if math.Abs(sumHeldOut-bceHeldOut-ccHeldOut) > 1e-5 {
		t.Errorf("validation: found %v, want %v + %v", sumHeldOut, bceHeldOut, ccHeldOut)
	}
}

func TestTheNumberOfWorkersDoesNotChangeAFit(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	want := saved(t, fit(t, cfg, train, nil))
	for _, workers := range []int{2, 3} {
		cfg.Workers = workers
		if got := saved(t, fit(t, cfg, train, nil)); !bytes.Equal(got, want) {
			t.Errorf("%d workers give another model than one", workers)
		}
	}
}

// resumed calls attempt until it does not end with its context.
func resumed[T any](t *testing.T, attempt func(n int) (T, error)) T {
	t.Helper()
	for n := 0; ; n++ {
		v, err := attempt(n)
		if err == nil {
			return v
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestAFitStoppedAfterAnyStepEndsAsAnUnbrokenOne(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	want := saved(t, fit(t, cfg, train, nil))
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	m := resumed(t, func(n int) (*Model, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		steps := rng.IntN(4) // none at all, now and then
		if steps == 0 {
			cancel()
		}
		cfg.Workers, cfg.CheckpointEvery = 1+n%2, 1+n
		return Fit(ctx, cfg, train, nil, dir, func(Progress) {
			if steps--; steps == 0 {
				cancel()
			}
		})
	})
	if !bytes.Equal(saved(t, m), want) {
		t.Error("the model differs from that of an unbroken fit")
	}
}

// fragile is a context that ends when it is derived from for a number of times,
// which a fit does when it begins its steps and at every validation.
type fragile struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func (f *fragile) Done() <-chan struct{} {
	if f.left.Add(-1) == 0 {
		f.cancel()
	}
	return f.Context.Done()
}

func TestAFitStoppedDuringAValidationEndsAsAnUnbrokenOne(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	want := saved(t, fit(t, cfg, train, nil))
	dir, validating := t.TempDir(), 0
	m := resumed(t, func(n int) (*Model, error) {
		f := &fragile{}
		f.Context, f.cancel = context.WithCancel(t.Context())
		defer f.cancel()
		f.left.Store(int64(2 + n))
		m, err := Fit(f, cfg, train, nil, dir, nil)
		if err != nil && strings.Contains(err.Error(), "validation after step") {
			validating++
		}
		return m, err
	})
	if validating == 0 {
		t.Error("no validation was interrupted")
	}
	if !bytes.Equal(saved(t, m), want) {
		t.Error("the model differs from that of an unbroken fit")
	}
}

func TestAKilledFitEndsAsAnUnbrokenOne(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	dir, after := t.TempDir(), t.TempDir()
	m, err := Fit(t.Context(), cfg, train, nil, dir, func(p Progress) {
		if p.Step == 8 { // what a process killed here would leave: the checkpoint of step 5
			if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	again, err := Fit(t.Context(), cfg, train, nil, after, func(p Progress) {
		if first == 0 {
			first = p.Step
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if first != 6 {
		t.Errorf("continued with step %d, want 6", first)
	}
	if !bytes.Equal(saved(t, again), saved(t, m)) {
		t.Error("the model differs from that of an unbroken fit")
	}
}

func TestAFinishedFitReturnsAtOnce(t *testing.T) {
	cfg, train, dir := tiny(), examples(t, "train", 20), t.TempDir()
	m, err := Fit(t.Context(), cfg, train, nil, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Fit(t.Context(), cfg, train, nil, dir, func(p Progress) { t.Errorf("took step %d", p.Step) })
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(t, again), saved(t, m)) {
		t.Error("the model differs from that of the first call")
	}
}

func TestTheFolderOfAnotherFitIsRefused(t *testing.T) {
	cfg, train, dir := tiny(), examples(t, "train", 20), t.TempDir()
	if _, err := Fit(t.Context(), cfg, train, nil, dir, nil); err != nil {
		t.Fatal(err)
	}
	otherSeed := cfg
	otherSeed.Seed++
	otherMap := slices.Clone(train)
	otherMap[3].Map = train[4].Map
	for name, other := range map[string]struct {
		cfg   Config
		train []Example
	}{"seed": {otherSeed, train}, "map": {cfg, otherMap}, "examples": {cfg, train[1:]}} {
		_, err := Fit(t.Context(), other.cfg, other.train, nil, dir, nil)
		const want = "found a run with another configuration or other data"
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("other %s: found error %v, want the folder and %q", name, err, want)
		}
	}
}

func TestADamagedCheckpointIsAnError(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 20)
	for _, name := range []string{"checkpoint.safetensors", "best-1.safetensors"} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Fit(ctx, cfg, train, nil, dir, func(p Progress) {
			if p.Step == 4 { // behind the first validation
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, name), 100); err != nil {
			t.Fatal(err)
		}
		if _, err = Fit(t.Context(), cfg, train, nil, dir, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("found error %v, want one that names %s", err, name)
		}
	}
}

func TestTheSelectedCheckpointIsKept(t *testing.T) {
	train := examples(t, "train", 30)
	for name, worse := range map[string]func(best, p Point) bool{
		"cc":   func(best, p Point) bool { return p.CC < best.CC || p.CC == best.CC && p.Step <= best.Step },
		"loss": func(best, p Point) bool { return p.Loss > best.Loss || p.Loss == best.Loss && p.Step <= best.Step },
		"last": func(best, p Point) bool { return p.Step <= best.Step },
	} {
		cfg := tiny()
		cfg.Select, cfg.Optimizer.LR = name, 0.05 // so high that validations rise and fall
		s := fit(t, cfg, train, nil).Summary()
		if len(s.History) != 3 || !slices.Contains(s.History, s.Best) {
			t.Errorf("%s: found %v among %v, want one of three", name, s.Best, s.History)
		}
		for _, p := range s.History {
			if !worse(s.Best, p) {
				t.Errorf("%s: kept %+v though there was %+v", name, s.Best, p)
			}
		}
	}
}

func TestEveryExampleTeachesWhereTheLastCheckpointIsKept(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	cfg.Select = "last"
	m := fit(t, cfg, train, nil)
	if s := m.Summary(); s.Train != 30 || s.Validation != 0 || s.Best.Step != cfg.Steps {
		t.Errorf("found %d for training, %d for validation, step %d kept, want 30, 0, %d", s.Train, s.Validation, s.Best.Step, cfg.Steps)
	}
	for _, p := range m.Summary().History {
		if p.Validation != nil || !(p.TrainLoss > 0) {
			t.Errorf("found a point %+v, want a training loss alone", p)
		}
	}
	if m.Calibrated() != 0 {
		t.Errorf("found a calibration on %d maps, want none", m.Calibrated())
	}
	val := examples(t, "val", 4)
	if s := fit(t, cfg, train, val).Summary(); s.Train != 30 || s.Validation != 4 || s.Best.Validation == nil {
		t.Errorf("found %d for training, %d for validation, want 30 and the 4 that are given, which judge", s.Train, s.Validation)
	}
}

func TestAFitThatDivergesSaysWhenAndKeepsItsLastCheckpoint(t *testing.T) {
	cfg, train := tiny(), examples(t, "train", 30)
	// Decoupled decay multiplies the weights by -99 a step, whatever the images.
	cfg.Steps, cfg.CheckpointEvery = 60, 1
	cfg.Optimizer = Optimizer{Name: "adamw", LR: 1, WeightDecay: 100, Schedule: "constant"}
	dir, last := t.TempDir(), 0
	_, err := Fit(t.Context(), cfg, train, nil, dir, func(p Progress) { last = p.Step })
	if err == nil || !regexp.MustCompile("^fit the predictor: diverged after [0-9]+ steps: found .*(NaN|Inf).*, want finite numbers").MatchString(err.Error()) {
		t.Fatalf("found error %v, want a divergence and its step", err)
	}
	_, tensors, readErr := weights.ReadFile(filepath.Join(dir, "checkpoint.safetensors"))
	if readErr != nil || last < 2 {
		t.Fatalf("after %d steps: %v", last, readErr)
	}
	for _, x := range tensors {
		if err := weights.CheckFinite(x.Name, x.Data); err != nil && !strings.HasPrefix(x.Name, "optimizer.") {
			t.Error(err)
		}
	}
	if _, again := Fit(t.Context(), cfg, train, nil, dir, nil); again == nil || again.Error() != err.Error() {
		t.Errorf("tried again, error %v, want the same as before, %v", again, err)
	}
}

func TestProgressFollowsEveryStep(t *testing.T) {
	cfg := tiny()
	var steps []int
	var last Progress
	_, err := Fit(t.Context(), cfg, examples(t, "train", 20), nil, t.TempDir(), func(p Progress) {
		if steps, last = append(steps, p.Step), p; p.Steps != cfg.Steps || !(p.Loss > 0) || !(p.Rate > 0) {
			t.Errorf("found %+v", p)
		}
		if validated := p.Step / cfg.ValidateEvery * cfg.ValidateEvery; p.Last.Step != validated || p.Best.Step > validated {
			t.Errorf("after step %d: found points %d and %d, want %d at most", p.Step, p.Last.Step, p.Best.Step, validated)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != cfg.Steps || !slices.IsSorted(steps) || last.Step != cfg.Steps {
		t.Errorf("found steps %v, want 1 to %d", steps, cfg.Steps)
	}
}

func TestBlankMapsAreLeftOutAndCounted(t *testing.T) {
	train := examples(t, "train", 30)
	train[7].Map, train[20].Map = blank(t), blank(t)
	s := fit(t, tiny(), train, nil).Summary()
	if s.Blank != 2 || s.Train+s.Validation != 28 {
		t.Errorf("found %d blank, %d + %d used, want 2 and 28", s.Blank, s.Train, s.Validation)
	}
	val := examples(t, "val", 4)
	val[0].Map = blank(t)
	if s := fit(t, tiny(), train, val).Summary(); s.Blank != 3 || s.Train != 28 || s.Validation != 3 {
		t.Errorf("found %d blank, %d for training, %d for validation, want 3, 28, 3", s.Blank, s.Train, s.Validation)
	}
}

func TestTooFewExamplesAreAnError(t *testing.T) {
	flat := examples(t, "train", 2)
	flat[0].Map, flat[1].Map = blank(t), blank(t)
	for _, c := range []struct {
		name, keep string
		train, val []Example
		want       string
	}{
		{"none", "cc", nil, nil, "found 0 training and 0 validation examples"},
		{"all blank", "cc", flat, nil, "(2 are)"},
		{"all blank, the last kept", "last", flat, nil, "found no training examples with a map that is not blank (2 are)"},
		{"blank validation", "cc", examples(t, "val", 2), flat, "found 2 training and 0 validation examples"},
		{"one example", "cc", examples(t, "train", 1), nil, "found 1 examples with a map, want at least 2"},
	} {
		cfg := tiny()
		cfg.Select = c.keep
		_, err := Fit(t.Context(), cfg, c.train, c.val, t.TempDir(), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found error %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestAnExampleThatCannotBeUsedIsNamed(t *testing.T) {
	junk := storage.Encoded{Bytes: []byte("junk")}
	for name, spoil := range map[string]func(e *Example){
		"junk for an image": func(e *Example) { e.Image = junk },
		"junk for a map":    func(e *Example) { e.Map = junk },
		"no image":          func(e *Example) { e.Image = storage.Encoded{} },
		"no map":            func(e *Example) { e.Map = storage.Encoded{} },
		"an id seen before": func(e *Example) { e.ID = "train-00000" },
	} {
		train := examples(t, "train", 20)
		spoil(&train[5])
		_, err := Fit(t.Context(), tiny(), train, nil, t.TempDir(), nil)
		var bad *ExampleError
		if !errors.As(err, &bad) || bad.ID != train[5].ID {
			t.Errorf("%s: found error %v, want an ExampleError of %q", name, err, train[5].ID)
		}
	}
}

func TestAllProblemsOfAConfigurationAreReported(t *testing.T) {
	cfg := DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg = Config{
		Network: "net", Loss: "l1", Select: "auc", Optimizer: Optimizer{Name: "lion", Schedule: "zigzag"},
		Augment: Augment{Zoom: -1}, Device: "abacus", ValidateEvery: -1, CheckpointEvery: -1,
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("found no error")
	}
	for _, want := range []string{
		`network "net"`, `"l1"`, "steps 0", "batch 0", `select "auc"`, "folds 0", "validation share 0", "validate every -1",
		"checkpoint every -1", "workers 0", `"lion"`, `"zigzag"`, "zoom", `"abacus"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want %s in it", err, want)
		}
	}
	for want, spoil := range map[string]func(*Config){
		"allow missing":         func(c *Config) { c.AllowMissing = []string{"["} },
		"want a multiple of 16": func(c *Config) { c.Size = 40 },
		"stem kernel 4":         func(c *Config) { c.StemKernel = 4 },
		"want at most 10":       func(c *Config) { c.Widths = slices.Repeat([]int{1}, 70) },
	} {
		cfg := DefaultConfig()
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found error %v, want %q in it", err, want)
		}
	}
}
