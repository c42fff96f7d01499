package backbone

import (
	"context"
	"fmt"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// workloads are networks as they are trained.
var workloads = []struct {
	name        string
	side, batch int
	build       func(g *nn.Graph, x, weight nn.Node)
}{
	{"unet 16-32-64 of 64 px", 64, 8, mapping(UNet{Widths: []int{16, 32, 64}, StemKernel: 3, StemStride: 1})},
	{"resnet18 of 224 px", 224, 8, classifying(ResNet18())},
	{"resnet small of 96 px", 96, 16, classifying(ResNetSmall())},
	{"quickstart unet of 40 px", 40, 16, mapping(UNet{Widths: []int{16, 32, 64}, StemKernel: 5, StemStride: 2})},
	{"quickstart resnet of 40 px", 40, 16, classifying(ResNet{
		Stem: Stem{Kernel: 3, Stride: 2, Width: 16}, Widths: []int{32, 32}, Strides: []int{2, 1}, Blocks: []int{1, 1},
	})},
}

// classifying trains a network with the CYBORG loss.
func classifying(r ResNet) func(g *nn.Graph, x, weight nn.Node) {
	return func(g *nn.Graph, x, weight nn.Node) {
		c := r.Build(g, x, 2)
		labels := g.Input("labels", weight.Shape())
		cam := g.CAM(c.Features, c.Weight, labels)
		g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, labels), Weight: weight},
			nn.Term{Value: g.MapLoss(op.MSE, false, cam, g.Input("map", cam.Shape())), Weight: weight})
	}
}

func mapping(u UNet) func(g *nn.Graph, x, weight nn.Node) {
	return func(g *nn.Graph, x, weight nn.Node) {
		y := u.Build(g, x)
		g.Loss(nn.Term{Value: g.MapLoss(op.BCE, true, y, g.Input("map", y.Shape())), Weight: weight})
	}
}

// BenchmarkTraining takes steps of training and reports images a second, the
// share of the cores' measured peak that the convolutions alone come to, and the
// memory of activations and gradients.
func BenchmarkTraining(b *testing.B) {
	for _, w := range workloads {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", w.name, workers), func(b *testing.B) {
				g := nn.NewGraph(nn.Train, nn.NewParams(1))
				x := g.Input("image", op.Shape{N: w.batch, C: 3, H: w.side, W: w.side})
				w.build(g, x, g.Input("weight", op.Shape{N: w.batch, C: 1, H: 1, W: 1}))
				t, err := nn.NewTrainer(g, nn.Training{
					Optimizer: nn.Optimizer{Name: "adamw", LR: 1e-4}, Steps: b.N + 1, Options: nn.Options{Workers: workers},
				})
				if err != nil {
					b.Fatal(err)
				}
				peak := kernel.MeasureFMA(kernel.Detect()) * float64(workers)
				b.ReportAllocs()
				for s, err := range t.Steps(b.Context(), noise) {
					if err != nil {
						b.Fatal(err)
					}
					if s.Index == 0 { // the first touches the memory
						b.ResetTimer()
					}
				}
				steps := float64(b.N) / b.Elapsed().Seconds()
				b.ReportMetric(steps*float64(w.batch), "images/s")
				b.ReportMetric(100*steps*t.Program().FLOPs()/peak, "%peak")
				b.ReportMetric(float64(t.Program().Memory())/(1<<20), "MiB")
			})
		}
	}
}

// noise fills a batch with values that differ.
func noise(_ context.Context, step int, b nn.Batch) error {
	if step > 2 {
		return nil // buffers are used again
	}
	for name, x := range b {
		for i := range x {
			x[i] = float32(i%251) / 251
			if name == "labels" {
				x[i] = float32(i % 2)
			}
		}
	}
	return nil
}
