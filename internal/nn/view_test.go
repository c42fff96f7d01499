package nn

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

const viewedSide = 12

// declared is how a network declares its inputs: as views, or as numbers.
type declared func(g *Graph, name string, s op.Shape) Node

// viewedNetwork is a network over views of images and their maps, or over the same as
// numbers.
func viewedNetwork(params *Params, input declared) *Graph {
	g := NewGraph(Train, params)
	x := input(g, "image", op.Shape{N: 3, C: 3, H: viewedSide, W: viewedSide})
	return withMapLoss(g, g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1}))), input)
}

// widelyReadNetwork is one whose images are read by more than convolutions in bfloat16.
func widelyReadNetwork(params *Params, input declared) *Graph {
	g := NewGraph(Train, params)
	x := input(g, "image", op.Shape{N: 3, C: 3, H: viewedSide, W: viewedSide})
	return withMapLoss(g, g.BatchNorm("bn", g.Concat(
		g.Conv("plain", x, Conv{Out: 4, Kernel: 3, Pad: 1}),
		g.Conv("exact", x, Conv{Out: 3, Kernel: 3, Pad: 1, Float32: true}),
		g.Conv("depthwise", x, Conv{Out: 3, Kernel: 3, Pad: 1, Groups: 3}),
		g.ReLU(x))), input)
}

// withMapLoss ends a network of some features in a loss of their map.
func withMapLoss(g *Graph, x Node, input declared) *Graph {
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
	return Training{Optimizer: Optimizer{Name: "sgd", LR: 0.02}, Steps: 5, Options: Options{Device: device, Precision: precision, Workers: 2}}
}

// viewedLosses trains on views.
func viewedLosses(t *testing.T, device, precision string, network *Graph) (losses []float32) {
	t.Helper()
	trainer, err := NewTrainer(network, viewedTraining(device, precision))
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
func drawnLosses(t *testing.T, device, precision string, network *Graph) (losses []float32) {
	t.Helper()
	trainer, err := NewTrainer(network, viewedTraining(device, precision))
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
	a := viewedLosses(t, "cpu", f32Precision, viewedNetwork(got, (*Graph).Image))
	if b := drawnLosses(t, "cpu", f32Precision, viewedNetwork(want, (*Graph).Input)); !slices.Equal(a, b) {
		t.Errorf("losses %v, want %v", a, b)
	}
	sameParams(t, got, want)
}

func TestTrainingOnViewsThatAGPUDrawsIsTrainingOnThoseOfTheHost(t *testing.T) {
	onGPU(t, f32Precision)
	for precision, tolerance := range map[string]float64{f32Precision: 2e-3, bf16Precision: 2e-2} {
		for name, network := range map[string]func(*Params, declared) *Graph{"of convolutions": viewedNetwork, "of other readers": widelyReadNetwork} {
			t.Run(precision+" "+name, func(t *testing.T) {
				got := viewedLosses(t, "cuda", precision, network(NewParams(3), (*Graph).Image))
				want := drawnLosses(t, "cuda", precision, network(NewParams(3), (*Graph).Input))
				for i, w := range want {
					if d := math.Abs(float64(got[i] - w)); !(d <= tolerance*math.Abs(float64(w))) {
						t.Errorf("losses %v, want %v", got, want)
						break
					}
				}
			})
		}
	}
}

func TestConvolutionsOnAGPUReadImagesOfEightChannelsInBF16(t *testing.T) {
	target := onGPU(t, bf16Precision)
	for name, input := range map[string]declared{"drawn by the device": (*Graph).Image, "numbers": (*Graph).Input} {
		p, err := compileFor(viewedNetwork(NewParams(3), input), Options{}, target)
		if err != nil {
			t.Fatal(err)
		}
		read := map[string]layout{}
		for _, ins := range p.list.instructions {
			if x := ins.in[0]; x.shape.C == 3 {
				read[ins.op.name()] = x.layout
			}
		}
		want := map[string]layout{"conv": imageBF16, "conv backward weights": imageBF16}
		if name == "numbers" {
			want["relayout"] = planar
		}
		if !maps.Equal(read, want) {
			t.Errorf("%s: images are read in the layouts %v, want %v", name, read, want)
		}
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
