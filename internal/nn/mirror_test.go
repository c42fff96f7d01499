package nn

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

// sharing is a network whose parameters are computed with on several machines, beside
// one of its own on the CPU that goes through the same.
type sharing struct {
	t         *testing.T
	rng       *rand.Rand
	got, want *Params
	trainers  map[string]*Trainer // by their devices
	beside    *Trainer
	layers    int    // that there have been
	device    string // of the last action
}

// layered has a layer of a number, whose parameters other graphs may not have.
func layered(params *Params, mode Mode, layer int) *Graph {
	g := NewGraph(mode, params)
	x := g.Input("image", op.Shape{N: 2, C: 2, H: 4, W: 4})
	x = g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 3, Kernel: 3, Pad: 1})))
	y := g.Sigmoid(g.Conv(fmt.Sprintf("layer%d", layer), x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true}))
	g.Output("y", y)
	g.Loss(Term{g.MapLoss(op.MSE, false, y, g.Input("target", y.Shape())), g.Input("weight", op.Shape{N: 2, C: 1, H: 1, W: 1})})
	return g
}

func (s *sharing) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sharing) trainer(params *Params, device string) *Trainer {
	s.t.Helper()
	tr, err := NewTrainer(layered(params, Train, 0), Training{
		Optimizer: Optimizer{Name: "sgd", LR: 1}, Schedule: Schedule{Kind: "constant"}, Steps: 1000,
		Options: Options{Device: device, Precision: f32Precision, Workers: 1},
	})
	s.must(err)
	return tr
}

// step takes one step of a trainer on the batch of a number.
func (s *sharing) step(tr *Trainer, number int) {
	s.t.Helper()
	source := func(ctx context.Context, _ int, b Batch) error { return constantSource(ctx, number, b) }
	for _, err := range tr.Steps(context.Background(), source) {
		s.must(err)
		break
	}
}

// output runs a new program of some parameters.
func (s *sharing) output(params *Params, device string, layer int) []float32 {
	s.t.Helper()
	p, err := Compile(layered(params, Eval, layer), Options{Device: device, Precision: f32Precision, Workers: 1})
	s.must(err)
	s.must(constantSource(context.Background(), 1, Batch{"": p.Input("image")}))
	s.must(p.Run())
	return p.Output("y")
}

// values draws new ones for every parameter.
func (s *sharing) values() *Params {
	p := s.want.Clone()
	for _, x := range p.All() {
		for i := range x.Data {
			x.Data[i] = s.rng.Float32() + 0.5
		}
	}
	return p
}

func (s *sharing) compare(what string, got *Params) {
	s.t.Helper()
	for i, x := range s.want.list {
		compareAt(s.t, what+": "+x.Name, got.list[i].Data, x.Data, 1)
	}
}

// act does something at random to both.
func (s *sharing) act() string {
	s.t.Helper()
	if s.rng.IntN(2) == 0 { // else it is the last one's again
		s.device = []string{"cuda:0", "cuda:1", "cpu"}[s.rng.IntN(3)]
	}
	device := s.device
	action := s.rng.IntN(9)
	name := fmt.Sprintf("action %d on %s", action, device)
	switch action {
	case 0: // a value changes
		i := s.rng.IntN(len(s.want.list))
		x := s.want.list[i]
		value := s.rng.Float32() + 0.5
		s.got.Get(x.Name).Data[0], x.Data[0] = value, value
	case 1: // many do
		for i, x := range s.got.All() {
			value := s.rng.Float32() + 0.5
			x.Data[len(x.Data)-1] = value
			s.want.list[i].Data[len(x.Data)-1] = value
		}
	case 2:
		all := s.values()
		s.must(s.got.Load(all.Tensors()))
		s.must(s.want.Load(all.Tensors()))
	case 3:
		all := s.values()
		s.must(s.got.CopyFrom(all))
		s.must(s.want.CopyFrom(all))
	case 4:
		s.compare(name, s.got.Clone())
	case 5:
		s.must(s.got.Fetch())
		s.compare(name, s.got)
	case 6: // a program with parameters that are new, or with some that are not
		layer := s.rng.IntN(s.layers + 1)
		s.layers = max(s.layers, layer+1)
		compareAt(s.t, name, s.output(s.got, device, layer), s.output(s.want, "cpu", layer), 1)
	default:
		number := s.rng.IntN(100)
		s.step(s.trainers[device], number)
		s.step(s.beside, number)
	}
	return name
}

// TestParametersOnGPUsAreWhatWasLastMadeOfThem does things in random orders to
// parameters on two GPUs and the host.
func TestParametersOnGPUsAreWhatWasLastMadeOfThem(t *testing.T) {
	t.Setenv("MOCK_CUDA_DEVICES", "2")
	onGPU(t, f32Precision)
	if _, err := (Options{Device: "cuda:1"}).Resolve(); err != nil {
		t.Skip(err)
	}
	for seed := range uint64(6) {
		s := &sharing{t: t, rng: rand.New(rand.NewPCG(seed, 0)), got: NewParams(1), want: NewParams(1), trainers: map[string]*Trainer{}, layers: 1, device: "cpu"}
		for _, device := range []string{"cuda:0", "cuda:1", "cpu"} {
			s.trainers[device] = s.trainer(s.got, device)
		}
		s.beside = s.trainer(s.want, "cpu")
		for range 100 {
			done := s.act()
			if t.Failed() {
				t.Fatalf("seed %d, after %s", seed, done)
			}
		}
		s.compare("at the end", s.got.Clone())
	}
}

// stepped is a network on the GPU that is one step ahead of the host.
func stepped(t *testing.T) *sharing {
	t.Helper()
	onGPU(t, f32Precision)
	s := &sharing{t: t, rng: rand.New(rand.NewPCG(1, 0)), got: NewParams(1), want: NewParams(1)}
	s.beside = s.trainer(s.got, "cuda")
	s.must(s.got.Fetch())
	s.want = s.got.Clone()
	s.step(s.beside, 1)
	return s
}

// failing makes the next copy from the device fail.
func failing(t *testing.T) {
	t.Helper()
	const invalidValue = 1
	t.Setenv("MOCK_CUDA_FAIL", fmt.Sprintf("cuMemcpyDtoHAsync_v2:1:%d", invalidValue))
}

func TestParametersThatAGPUDidNotGiveBackAreAskedForAgain(t *testing.T) {
	s := stepped(t)
	failing(t)
	if err := s.got.Fetch(); err == nil {
		t.Fatal("no error")
	}
	got := s.got.Clone()
	s.must(got.Fetch())
	s.step(s.trainer(s.want, "cpu"), 1)
	s.compare("after another try", got)
}

func TestParametersThatAGPUHasLostAreNeverTakenForOlderOnes(t *testing.T) {
	s := stepped(t)
	failing(t)
	s.got.All()
	copies := s.got.Clone()
	_, onnx := layered(s.got, Eval, 0).ONNX("lost")
	run := func(device string) error {
		p, err := Compile(layered(s.got, Eval, 0), Options{Device: device, Precision: f32Precision, Workers: 1})
		if err != nil {
			return err
		}
		return p.Run()
	}
	for what, err := range map[string]error{
		"fetch": s.got.Fetch(), "fetch of a clone": copies.Fetch(), "copy": s.want.CopyFrom(s.got),
		"write": s.got.Write(io.Discard, nil), "write of a clone": copies.Write(io.Discard, nil), "ONNX": onnx,
		"checkpoint": s.beside.Save(io.Discard, nil), "run on the GPU": run("cuda"), "run on the CPU": run("cpu"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	s.must(s.got.Load(s.want.Tensors()))
	s.compare("when all are replaced", s.got.Clone())
	s.must(run("cuda"))
}

// TestAStepThatFailsOnAGPULeavesNoHalfOfIt is about a step that may have moved some of
// the parameters.
func TestAStepThatFailsOnAGPULeavesNoHalfOfIt(t *testing.T) {
	s := stepped(t)
	const invalidValue = 1
	fail := func() error {
		t.Setenv("MOCK_CUDA_FAIL", fmt.Sprintf("cuEventSynchronize:1:%d", invalidValue))
		defer t.Setenv("MOCK_CUDA_FAIL", "")
		source := func(ctx context.Context, step int, b Batch) error { return constantSource(ctx, step, b) }
		for _, err := range s.beside.Steps(context.Background(), source) {
			return err
		}
		return nil
	}
	s.must(s.got.Fetch())
	s.want = s.got.Clone()
	if fail() == nil {
		t.Fatal("the step did not fail")
	}
	s.compare("what the host had before", s.got.Clone())
	if err := s.beside.Save(io.Discard, nil); err == nil {
		t.Error("parameters were saved with an optimiser's state that is lost")
	}
	s = stepped(t) // the host is a step behind
	if fail() == nil {
		t.Fatal("the step did not fail")
	}
	if s.got.Fetch() == nil {
		t.Error("parameters from before the last step were taken for the last")
	}
}
