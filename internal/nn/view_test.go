package nn

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

const viewedSide = 12

// viewedNetwork is a network over views of images and their maps, or over the same as
// numbers.
func viewedNetwork(params *Params, input func(g *Graph, name string, s op.Shape) Node) *Graph {
	g := NewGraph(Train, params)
	x := input(g, "image", op.Shape{N: 3, C: 3, H: viewedSide, W: viewedSide})
	x = g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1})))
	y := g.Conv("probe", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true})
	g.Loss(Term{g.MapLoss(op.MSE, false, y, input(g, "map", y.Shape())), g.Input("weight", op.Shape{N: 3, C: 1, H: 1, W: 1})})
	return g
}

// showViews gives every step images and maps of random sizes, seen somehow.
func showViews(_ context.Context, step int, b ImageBatch) error {
	rng := rand.New(rand.NewPCG(uint64(step), 1))
	augment := raster.Augment{Flip: true, Transpose: true, Zoom: 0.5, Shift: 0.3, Color: 0.2}
	for i := range b.Images {
		m, p := raster.NewImage(5+rng.IntN(40), 5+rng.IntN(40)), raster.NewPlane(5+rng.IntN(40), 5+rng.IntN(40))
		for k := range m.Pix {
			m.Pix[k] = uint8(rng.Uint32())
		}
		for k := range p.Pix {
			p.Pix[k] = rng.Float32()
		}
		view := augment.Draw(rng)
		if err := b.Show("image", i, raster.SeenImage{Image: raster.Squash.Prepare(m, viewedSide), View: view, Side: viewedSide}); err != nil {
			return err
		}
		if err := b.Show("map", i, raster.SeenMap{Map: p, View: view, Side: viewedSide}); err != nil {
			return err
		}
		b.Batch["weight"][i] = float32(i)
	}
	return nil
}

// drawViews is showViews to a program that is fed with numbers.
func drawViews(ctx context.Context, step int, b Batch) error {
	return showViews(ctx, step, ImageBatch{Batch: b, Images: 3})
}

func viewedTraining(device, precision string) Training {
	return Training{Optimizer: Optimizer{Name: "sgd", LR: 0.1}, Steps: 5, Options: Options{Device: device, Precision: precision, Workers: 2}}
}

// viewedLosses trains on views.
func viewedLosses(t *testing.T, device, precision string, params *Params) (losses []float32) {
	t.Helper()
	trainer, err := NewTrainer(viewedNetwork(params, (*Graph).Image), viewedTraining(device, precision))
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range trainer.ImageSteps(t.Context(), showViews) {
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, s.Loss)
		if w := trainer.Program().Input("weight"); !slices.Equal(w, []float32{0, 1, 2}) {
			t.Fatalf("the program has the weights %v", w)
		}
	}
	return losses
}

// drawnLosses trains on the same drawn by the host.
func drawnLosses(t *testing.T, device, precision string, params *Params) (losses []float32) {
	t.Helper()
	trainer, err := NewTrainer(viewedNetwork(params, (*Graph).Input), viewedTraining(device, precision))
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range trainer.Steps(t.Context(), drawViews) {
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, s.Loss)
	}
	return losses
}

func TestViewsOnTheCPUAreTheNumbersThatTheHostDraws(t *testing.T) {
	got, want := NewParams(3), NewParams(3)
	if a, b := viewedLosses(t, "cpu", f32Precision, got), drawnLosses(t, "cpu", f32Precision, want); !slices.Equal(a, b) {
		t.Errorf("losses %v, want %v", a, b)
	}
	sameParams(t, got, want)
}

func TestTrainingOnViewsThatAGPUDrawsIsTrainingOnThoseOfTheHost(t *testing.T) {
	onGPU(t, f32Precision)
	for precision, tolerance := range map[string]float64{f32Precision: 2e-3, bf16Precision: 2e-2} {
		t.Run(precision, func(t *testing.T) {
			got := viewedLosses(t, "cuda", precision, NewParams(3))
			want := drawnLosses(t, "cuda", precision, NewParams(3))
			for i, w := range want {
				if d := math.Abs(float64(got[i] - w)); !(d <= tolerance*math.Abs(float64(w))) {
					t.Errorf("losses %v, want %v", got, want)
					break
				}
			}
		})
	}
}

func TestAnInputThatAGPUDrawsWantsAViewOfEveryImage(t *testing.T) {
	onGPU(t, f32Precision)
	view := raster.SeenImage{Image: raster.Squash.Prepare(raster.NewImage(9, 9), viewedSide), Side: viewedSide}
	for want, source := range map[string]ImageSource{
		"want a source that shows views": Source(drawViews).withoutViews(),
		"not shown a view for every":     func(_ context.Context, _ int, b ImageBatch) error { return b.Show("image", 1, view) },
		"found a view of 0 bytes":        func(_ context.Context, _ int, b ImageBatch) error { return b.Show("map", 0, view) },
	} {
		trainer, err := NewTrainer(viewedNetwork(NewParams(1), (*Graph).Image), viewedTraining("cuda", f32Precision))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range trainer.ImageSteps(t.Context(), source) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	}
	p, err := Compile(viewedNetwork(NewParams(1), (*Graph).Image), Options{Device: "cuda", Precision: f32Precision})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(); err == nil || !strings.Contains(err.Error(), "for trainers and lanes alone") {
		t.Errorf("a run without a trainer: %v", err)
	}
}

func TestViewsWantAnInputThatIsThere(t *testing.T) {
	b := ImageBatch{Batch: Batch{}, Images: 2}
	if err := b.Show("picture", 0, raster.SeenImage{}); err == nil || !strings.Contains(err.Error(), `"picture"`) {
		t.Errorf("error %v, want one that names the input", err)
	}
	g := NewGraph(Train, NewParams(1))
	g.Image("image", op.Shape{N: 1, C: 2, H: 1, W: 1})
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "2 channels") {
		t.Errorf("error %v, want one that names the channels", err)
	}
}
