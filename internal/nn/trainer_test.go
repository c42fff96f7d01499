package nn

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// smallNetwork classifies images of 6x6 pixels into two classes, with batch norm
// and dropout.
func smallNetwork(mode Mode, params *Params) *Graph {
	const n = 4
	g := NewGraph(mode, params)
	x := g.Input("image", op.Shape{N: n, C: 3, H: 6, W: 6})
	y := g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 5, Kernel: 3, Pad: 1})))
	y = g.Dropout(y, 0.25)
	logits := g.Linear("fc", g.GlobalAvgPool(y), 2)
	g.Output("logits", logits)
	scalar := op.Shape{N: n, C: 1, H: 1, W: 1}
	g.Loss(Term{g.SoftmaxCrossEntropy(logits, g.Input("labels", scalar)), g.Input("weight", scalar)})
	return g
}

// smallBatches draws the batch of a step from its number.
func smallBatches(_ context.Context, step int, b Batch) error {
	rng := rand.New(rand.NewPCG(11, uint64(step)))
	for i := range b["image"] {
		b["image"][i] = rng.Float32()
	}
	for i := range b["labels"] {
		b["labels"][i] = float32(rng.IntN(2))
		b["weight"][i] = 1
	}
	return nil
}

func smallTraining() Training {
	return Training{
		Optimizer: Optimizer{Name: "adamw", LR: 0.01, WeightDecay: 0.1},
		Schedule:  Schedule{Kind: "one-cycle", Warmup: 0.3},
		Steps:     9,
		Seed:      5,
		Options:   Options{Device: "cpu", Precision: "f32", Workers: 2},
	}
}

func newSmallTrainer(t *testing.T, training Training) *Trainer {
	t.Helper()
	trainer, err := NewTrainer(smallNetwork(Train, NewParams(3)), training)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// train takes a number of steps and returns their losses.
func train(t *testing.T, trainer *Trainer, source Source, steps int) []float32 {
	t.Helper()
	var losses []float32
	for s, err := range trainer.Steps(t.Context(), source) {
		if err != nil {
			t.Fatal(err)
		}
		if losses = append(losses, s.Loss); len(losses) == steps {
			break
		}
	}
	return losses
}

func sameParams(t *testing.T, got, want *Params) {
	t.Helper()
	for _, w := range want.All() {
		if x := got.Get(w.Name); !slices.EqualFunc(x.Data, w.Data, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s = %v, want %v", w.Name, x.Data, w.Data)
		}
	}
}

// checkpoint saves a trainer and restores it into a fresh one.
func checkpoint(t *testing.T, from, to *Trainer) {
	t.Helper()
	var b bytes.Buffer
	if err := from.Save(&b, map[string]string{"note": "mine", "step": "not the caller's"}); err != nil {
		t.Fatal(err)
	}
	meta, tensors := readCheckpoint(t, b.Bytes())
	if meta["note"] != "mine" {
		t.Errorf("metadata = %v, want the caller's in it", meta)
	}
	if err := to.Restore(meta, tensors); err != nil {
		t.Fatal(err)
	}
}

func readCheckpoint(t *testing.T, b []byte) (map[string]string, []weights.Tensor) {
	t.Helper()
	f, err := weights.Read(bytes.NewReader(b), int64(len(b)), weights.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, info := range f.Tensors() {
		data, err := f.Float32(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Float32(info.Name, info.Shape, data))
	}
	return f.Metadata(), tensors
}

func TestTrainingThatIsInterruptedEndsAsIfUnbroken(t *testing.T) {
	for _, name := range []string{"sgd", "adamw"} {
		t.Run(name, func(t *testing.T) {
			training := smallTraining()
			training.Optimizer.Name = name
			if name == "sgd" {
				training.Optimizer.Momentum = 0.9
			}
			unbroken := newSmallTrainer(t, training)
			want := train(t, unbroken, smallBatches, training.Steps)

			first := newSmallTrainer(t, training)
			got := train(t, first, smallBatches, 4)
			second := newSmallTrainer(t, training)
			checkpoint(t, first, second)
			if second.Done() != 4 {
				t.Fatalf("%d steps done, want 4", second.Done())
			}
			got = append(got, train(t, second, smallBatches, training.Steps)...)

			if !slices.Equal(got, want) {
				t.Errorf("losses %v, want %v", got, want)
			}
			sameParams(t, second.Params(), unbroken.Params())
		})
	}
}

func TestTrainingLowersTheLoss(t *testing.T) {
	training := smallTraining()
	training.Steps, training.Optimizer.LR = 60, 0.1
	same := func(ctx context.Context, _ int, b Batch) error { return smallBatches(ctx, 0, b) }
	losses := train(t, newSmallTrainer(t, training), same, training.Steps)
	if first, last := losses[0], losses[len(losses)-1]; last > first/2 {
		t.Errorf("loss %v after %v at first", last, first)
	}
}

func TestBrokenCheckpointsAreRefusedAndChangeNothing(t *testing.T) {
	source := newSmallTrainer(t, smallTraining())
	train(t, source, smallBatches, 3)
	var b bytes.Buffer
	if err := source.Save(&b, nil); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(meta map[string]string, tensors []weights.Tensor) []weights.Tensor{
		"no step":         func(meta map[string]string, ts []weights.Tensor) []weights.Tensor { delete(meta, "step"); return ts },
		"step beyond":     func(meta map[string]string, ts []weights.Tensor) []weights.Tensor { meta["step"] = "10"; return ts },
		"tensor missing":  func(_ map[string]string, ts []weights.Tensor) []weights.Tensor { return ts[1:] },
		"moments missing": func(_ map[string]string, ts []weights.Tensor) []weights.Tensor { return source.Params().Tensors() },
		"tensor too many": func(_ map[string]string, ts []weights.Tensor) []weights.Tensor {
			return append(ts, weights.Float32("extra", []int{1}, []float32{1}))
		},
		"other shape": func(_ map[string]string, ts []weights.Tensor) []weights.Tensor {
			ts[0].Shape = []int{1, len(ts[0].Data)}
			return ts
		},
	} {
		t.Run(name, func(t *testing.T) {
			meta, tensors := readCheckpoint(t, b.Bytes())
			trainer := newSmallTrainer(t, smallTraining())
			before := trainer.Params().Clone()
			if err := trainer.Restore(meta, spoil(meta, tensors)); err == nil {
				t.Error("restored, want an error")
			}
			sameParams(t, trainer.Params(), before)
			if trainer.Done() != 0 {
				t.Errorf("%d steps done, want 0", trainer.Done())
			}
		})
	}
}

func TestTrainingEndsWhenTheContextDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	trainer := newSmallTrainer(t, smallTraining())
	var last error
	for s, err := range trainer.Steps(ctx, smallBatches) {
		if s.Index == 2 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("error %v, want %v", last, context.Canceled)
	}
	if trainer.Done() != 3 {
		t.Errorf("%d steps done, want 3", trainer.Done())
	}
}

func TestTrainingReportsTheErrorOfItsSource(t *testing.T) {
	broken := errors.New("broken image")
	trainer := newSmallTrainer(t, smallTraining())
	var last error
	for _, err := range trainer.Steps(t.Context(), func(ctx context.Context, step int, b Batch) error {
		if step == 4 {
			return broken
		}
		return smallBatches(ctx, step, b)
	}) {
		last = err
	}
	if !errors.Is(last, broken) {
		t.Errorf("error %v, want %v", last, broken)
	}
	if trainer.Done() > 4 {
		t.Errorf("%d steps done, want at most 4", trainer.Done())
	}
}

func TestTrainingThatDivergesKeepsTheParametersBeforeTheStep(t *testing.T) {
	trainer := newSmallTrainer(t, smallTraining())
	var before *Params
	var diverged *DivergedError
	for _, err := range trainer.Steps(t.Context(), func(ctx context.Context, step int, b Batch) error {
		err := smallBatches(ctx, step, b)
		if step == 3 {
			b["image"][7] = float32(math.Inf(1))
		}
		return err
	}) {
		if err != nil && !errors.As(err, &diverged) {
			t.Fatal(err)
		}
		if err == nil {
			before = trainer.Params().Clone()
		}
	}
	if diverged == nil || diverged.Steps != 3 {
		t.Fatalf("error %v, want divergence at step 3", diverged)
	}
	sameParams(t, trainer.Params(), before)
}

func TestTheSourceIsNeverCalledAfterSteps(t *testing.T) {
	for _, ending := range []string{"break", "cancel", "end"} {
		t.Run(ending, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var running atomic.Int32
			trainer := newSmallTrainer(t, smallTraining())
			for s, err := range trainer.Steps(ctx, func(ctx context.Context, step int, b Batch) error {
				running.Add(1)
				defer running.Add(-1)
				if step > 2 && ending != "end" {
					<-ctx.Done() // a source that is slow to notice
				}
				return smallBatches(ctx, step, b)
			}) {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if s.Index == 2 && ending == "break" {
					break
				}
				if s.Index == 2 && ending == "cancel" {
					cancel()
				}
			}
			if n := running.Load(); n != 0 {
				t.Errorf("%d calls of the source are running", n)
			}
		})
	}
}

func TestParametersWithoutInfluenceOnTheLossStayAsTheyAre(t *testing.T) {
	params := NewParams(1)
	g := NewGraph(Train, params)
	x := g.Input("image", op.Shape{N: 2, C: 3, H: 4, W: 4})
	f := g.Conv("conv", x, Conv{Out: 4, Kernel: 3, Pad: 1})
	logits, w := g.Classifier("fc", g.GlobalAvgPool(f), 3)
	cam := g.CAM(f, w, g.ArgMax(logits))
	g.Loss(Term{g.MapLoss(op.MSE, false, cam, g.Input("map", cam.Shape())), g.Input("weight", op.Shape{N: 2, C: 1, H: 1, W: 1})})
	trainer, err := NewTrainer(g, Training{Optimizer: Optimizer{Name: "sgd", LR: 0.1, WeightDecay: 0.5}, Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	before := params.Clone()
	train(t, trainer, func(_ context.Context, _ int, b Batch) error {
		for _, x := range b {
			for i := range x {
				x[i] = float32(i%5) / 5
			}
		}
		return nil
	}, 1)
	if gradientOf(t, trainer.Program(), "fc.bias") != nil {
		t.Error("fc.bias has a gradient")
	}
	if !slices.Equal(params.Get("fc.bias").Data, before.Get("fc.bias").Data) {
		t.Error("fc.bias has changed")
	}
	if slices.Equal(params.Get("fc.weight").Data, before.Get("fc.weight").Data) {
		t.Error("fc.weight has not changed")
	}
}

func TestTrainersThatCannotTrainAreRefused(t *testing.T) {
	image := op.Shape{N: 2, C: 1, H: 3, W: 3}
	for name, build := range map[string]func(g *Graph){
		"no loss": func(g *Graph) { g.Output("y", g.Conv("conv", g.Input("x", image), Conv{Out: 1, Kernel: 1})) },
		"no parameter": func(g *Graph) {
			g.Loss(Term{g.MapLoss(op.MSE, false, g.Input("x", image), g.Input("y", image)), g.Input("w", op.Shape{N: 2, C: 1, H: 1, W: 1})})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGraph(Train, NewParams(1))
			build(g)
			if _, err := NewTrainer(g, smallTraining()); err == nil {
				t.Error("accepted")
			}
		})
	}
	for name, spoil := range map[string]func(x *Training){
		"no steps":      func(x *Training) { x.Steps = 0 },
		"optimiser":     func(x *Training) { x.Optimizer.Name = "" },
		"schedule":      func(x *Training) { x.Schedule.Kind = "?" },
		"device":        func(x *Training) { x.Options.Device = "gpu" },
		"half of float": func(x *Training) { x.Options.Precision = "f16" },
	} {
		t.Run(name, func(t *testing.T) {
			training := smallTraining()
			spoil(&training)
			if _, err := NewTrainer(smallNetwork(Train, NewParams(1)), training); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := NewTrainer(smallNetwork(Eval, NewParams(1)), smallTraining()); err == nil {
		t.Error("a graph for evaluation: accepted")
	}
}
