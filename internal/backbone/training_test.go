package backbone

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// steps is the number of steps of the trainings that testdata/gen.py took in PyTorch.
const steps = 20

// recipes are gen.py's of the same names.
var recipes = map[string]nn.Training{
	"sgd": {
		Optimizer: nn.Optimizer{Name: "sgd", LR: 0.02, Momentum: 0.9, WeightDecay: 0.01},
		Schedule:  nn.Schedule{Kind: "step", Every: 8, Gamma: 0.5},
	},
	"adam": {
		Optimizer: nn.Optimizer{Name: "adam", LR: 1e-3, WeightDecay: 0.01},
		Schedule:  nn.Schedule{Kind: "one-cycle", Warmup: 0.3},
	},
}

// guided adds the CYBORG loss of the labels' class activation maps.
func guided(n Network) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		c := n.Build(g, x, 3)
		labels := g.Input("labels", scalars)
		cam := g.CAM(c.Features, c.Weight, labels)
		g.Output("y", c.Logits)
		g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, labels), Weight: g.Input("weight", scalars)},
			nn.Term{Value: g.MapLoss(op.MSE, false, cam, g.Input("map", cam.Shape())), Weight: g.Input("map weight", scalars)})
	}
}

func TestTwentyStepsOfTrainingEqualPyTorchs(t *testing.T) {
	text, err := os.ReadFile("testdata/training.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens map[string]struct{ Losses, Eval []float64 }
	if err := json.Unmarshal(text, &goldens); err != nil {
		t.Fatal(err)
	}
	guidedResNet := networks["resnet"]
	guidedResNet.build = guided(ResNet{
		Stem: Stem{Kernel: 7, Stride: 2, Width: 12, Pool: 3}, Widths: []int{12, 20}, Strides: []int{1, 2}, Blocks: []int{2, 1},
	})
	for name, n := range map[string]network{"guided resnet": guidedResNet, "unet": networks["unet"]} {
		for recipe, training := range recipes {
			t.Run(name+", "+recipe, func(t *testing.T) {
				want := goldens[name+", "+recipe]
				params, losses := n.train(t, training)
				if len(want.Losses) != steps || len(losses) != steps {
					t.Fatalf("%d losses, want %d of %d steps", len(losses), len(want.Losses), steps)
				}
				for i, w := range want.Losses {
					if d := math.Abs(float64(losses[i])-w) / w; d > 1e-3 {
						t.Errorf("step %d: loss %v, want %v (off by %.2g)", i, losses[i], w, d)
					}
				}
				// In evaluation, by the statistics that the steps have gathered.
				near(t, "eval", n.compute(t, nn.Eval, params).Output("y"), want.Eval, 1e-3, 0)
			})
		}
	}
}

// train takes gen.py's steps and returns what they leave and their losses.
func (n network) train(t *testing.T, training nn.Training) (params *nn.Params, losses []float32) {
	t.Helper()
	params = nn.NewParams(1)
	g := nn.NewGraph(nn.Train, params)
	n.build(g, g.Input("image", op.Shape{N: images, C: 3, H: n.height, W: n.width}))
	fill(params)
	training.Steps, training.Options = steps, options(t)
	trainer, err := nn.NewTrainer(g, training)
	if err != nil {
		t.Fatal(err)
	}
	batch := func(_ context.Context, step int, b nn.Batch) error {
		inputs(func(name string) []float32 { return b[name] })
		draw(b["image"], fmt.Sprintf("image %d", step), 0, 1)
		return nil
	}
	for s, err := range trainer.Steps(t.Context(), batch) {
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, s.Loss)
	}
	return params, losses
}
