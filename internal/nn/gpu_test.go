package nn

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/op"
)

// onGPU is the first GPU in a precision, which is a mock unless the environment names a
// driver.
func onGPU(t *testing.T, precision string) Target {
	t.Helper()
	cudatest.GPU(t)
	target, err := Options{Device: "cuda", Precision: precision}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// runOn compiles and runs a case over memory that was full of NaN.
func (c conformanceCase) runOn(t *testing.T, target Target) (*Program, *Params) {
	t.Helper()
	g, inputs := c.graph(t)
	p, err := compileFor(g, Options{}, target)
	if err != nil {
		t.Fatal(err)
	}
	m := p.machine.(*gpu)
	if err := m.recordRun(); err != nil { // the choice of kernels writes into the arena
		t.Fatal(err)
	}
	if err := m.device.Fill(m.arena, 0xff); err != nil {
		t.Fatal(err)
	}
	for name, x := range inputs {
		copy(p.Input(name), x)
	}
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return p, g.params
}

func TestGPUProgramsAgreeWithTheTapeMachine(t *testing.T) {
	target := onGPU(t, f32Precision)
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			p, params := c.runOn(t, target)
			y, loss, grads := c.tape(t)
			compare(t, "output", p.Output("y"), y)
			if c.mode == Eval {
				return
			}
			compare(t, "loss", []float32{p.Loss()}, []float32{loss})
			compareGradients(t, p, params, grads)
		})
	}
}

func TestBF16GPUProgramsStayCloseToFloat32(t *testing.T) {
	stayClose(t, onGPU(t, bf16Precision), 0.01, 0.1)
}

// TF32 rounds eight times more finely than bfloat16.
func TestTF32GPUProgramsStayCloserToFloat32(t *testing.T) {
	stayClose(t, onGPU(t, tf32Precision), 0.002, 0.0125)
}

// stayClose compares by distance over norm, as [TestBF16ProgramsStayCloseToFloat32] does.
func stayClose(t *testing.T, target Target, output, gradient float64) {
	t.Helper()
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			exact, params := c.runAs(t, 2, false)
			rounded, _ := c.runOn(t, target)
			if d := distance(rounded.Output("y"), exact.Output("y"), 0); !(d <= output) {
				t.Errorf("the output is %.2g of its norm away", d)
			}
			for _, x := range params.All() {
				want := gradientOf(t, exact, x.Name)
				if want == nil {
					continue
				}
				small := smallGradient(exact) * math.Sqrt(float64(len(want)))
				if d := distance(gradientOf(t, rounded, x.Name), want, small); !(d <= gradient) {
					t.Errorf("the gradient of %s is %.2g of its norm away", x.Name, d)
				}
			}
		})
	}
}

// constantSource gives every step the same images and maps.
func constantSource(_ context.Context, step int, b Batch) error {
	for _, x := range b {
		for i := range x {
			x[i] = float32(math.Abs(math.Sin(float64(i + 7*step))))
		}
	}
	return nil
}

// guidedNetwork has what moves: convolutions, a batch norm, a linear layer.
func guidedNetwork(params *Params) *Graph {
	g := NewGraph(Train, params)
	x := g.Input("image", op.Shape{N: 4, C: 3, H: 8, W: 8})
	x = g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1})))
	y := g.Conv("probe", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true})
	g.Loss(Term{g.MapLoss(op.MSE, false, y, g.Input("target", y.Shape())), g.Input("weight", op.Shape{N: 4, C: 1, H: 1, W: 1})})
	return g
}

func gpuTraining(device string, o Optimizer) Training {
	return Training{Optimizer: o, Schedule: Schedule{Kind: "cosine"}, Steps: 6, Options: Options{Device: device, Precision: f32Precision, Workers: 1}}
}

func TestTrainingOnAGPUMovesParametersAsOnTheCPU(t *testing.T) {
	onGPU(t, f32Precision)
	for _, o := range []Optimizer{
		{Name: "sgd", LR: 0.1},
		{Name: "sgd", LR: 0.1, Momentum: 0.9, WeightDecay: 0.01, Nesterov: true},
		{Name: "adam", LR: 0.01, WeightDecay: 0.01},
		{Name: "adamw", LR: 0.01, WeightDecay: 0.01},
	} {
		t.Run(o.Name, func(t *testing.T) {
			want, got := NewParams(3), NewParams(3)
			for device, params := range map[string]*Params{"cpu": want, "cuda": got} {
				trainer, err := NewTrainer(guidedNetwork(params), gpuTraining(device, o))
				if err != nil {
					t.Fatal(err)
				}
				for _, err := range trainer.Steps(context.Background(), constantSource) {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, x := range want.All() {
				compare(t, x.Name, got.All()[i].Data, x.Data)
			}
		})
	}
}

func TestAGPUMovesWhatTheHostHasChanged(t *testing.T) {
	target := onGPU(t, f32Precision)
	params := NewParams(1)
	g := NewGraph(Eval, params)
	g.Output("y", g.Conv("conv", g.Input("x", op.Shape{N: 1, C: 1, H: 2, W: 2}), Conv{Out: 1, Kernel: 1}))
	p, err := compileFor(g, Options{}, target)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.Input("x"), []float32{1, 2, 3, 4})
	for _, w := range []float32{2, -1} {
		params.Get("conv.weight").Data[0] = w
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		if want := []float32{w, 2 * w, 3 * w, 4 * w}; !slices.Equal(p.Output("y"), want) {
			t.Errorf("output %v, want %v", p.Output("y"), want)
		}
	}
}

func TestADivergingStepOnAGPUChangesNothing(t *testing.T) {
	onGPU(t, f32Precision)
	params := NewParams(3)
	trainer, err := NewTrainer(guidedNetwork(params), gpuTraining("cuda", Optimizer{Name: "sgd", LR: 0.1, Momentum: 0.9}))
	if err != nil {
		t.Fatal(err)
	}
	var before *Params
	source := func(ctx context.Context, step int, b Batch) error {
		if err := constantSource(ctx, step, b); err != nil {
			return err
		}
		if step == 2 {
			b["image"][0] = float32(math.NaN())
		}
		return nil
	}
	for s, err := range trainer.Steps(context.Background(), source) {
		if err == nil {
			before = params.Clone()
			continue
		}
		if s.Index != 2 {
			t.Fatalf("step %d: %v", s.Index, err)
		}
	}
	sameParams(t, params, before)
}

// whileCollecting runs f while Go's collector frees what nothing refers to any more.
func whileCollecting(f func()) {
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer group.Wait()
	defer close(stop)
	f()
}

func TestGradientsComeFromAGPUWholeWhileMemoryIsCollected(t *testing.T) {
	target := onGPU(t, f32Precision)
	g := NewGraph(Train, NewParams(1))
	y := g.Conv("wide", g.Input("x", op.Shape{N: 1, C: 512, H: 1, W: 2}), Conv{Out: 512, Kernel: 3, Pad: 1}) // to take a while
	y = g.Conv("head", y, Conv{Out: 1, Kernel: 1})
	g.Loss(Term{g.MapLoss(op.MSE, false, y, g.Input("target", y.Shape())), g.Input("weight", op.Shape{N: 1, C: 1, H: 1, W: 1})})
	p, err := compileFor(g, Options{}, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "target", "weight"} {
		for i := range p.Input(name) {
			p.Input(name)[i] = float32(i%7) + 1
		}
	}
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	want := gradientOf(t, p, "wide.weight")
	whileCollecting(func() {
		for i := range 10 {
			if !slices.Equal(gradientOf(t, p, "wide.weight"), want) {
				t.Fatalf("look %d is at another gradient", i+1)
			}
		}
	})
}
