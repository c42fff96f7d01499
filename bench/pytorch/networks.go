package pytorch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// What is the same on both sides: see networks.py.
const (
	classes = 1000
	alpha   = 0.5 // weight of the cross-entropy in the CYBORG loss
)

// networks are those of networks.py under the same names.
var networks = []network{
	{"unet64", 64, maps(unet(16, 32, 64))},
	{"unet128", 128, maps(unet(32, 64, 128, 256))},
	{"unet256", 256, maps(unet(32, 64, 128, 256))},
	{"unet-resnet50", 256, maps(backbone.UNetOf(backbone.ResNet50()))},
	{"resnet18", 224, classifier(backbone.ResNet18())},
	{"resnet50", 224, classifier(backbone.ResNet50())},
	{"densenet121", 224, classifier(backbone.DenseNet121())},
	{"inception_v3", 299, classifier(backbone.InceptionV3())},
	{"xception", 299, classifier(backbone.LegacyXception())},
}

// network is one that both sides build.
type network struct {
	name  string
	size  int // side of the square images
	build func(g *nn.Graph, x nn.Node, guided bool)
}

// A case is a network, or one that a map guides: NAME+cyborg.
const guidedSuffix = "+cyborg"

// cases are all that there are.
func cases() []string {
	var names []string
	for _, n := range networks {
		names = append(names, n.name)
		if !strings.HasPrefix(n.name, "unet") {
			names = append(names, n.name+guidedSuffix)
		}
	}
	return names
}

// graph is the network of a job: with its loss for training, with its result for
// inference.
func graph(j Job, params *nn.Params) (*nn.Graph, error) {
	if !slices.Contains(cases(), j.Case) {
		return nil, fmt.Errorf("case %q: want one of %s", j.Case, strings.Join(cases(), ", "))
	}
	base, guided := strings.CutSuffix(j.Case, guidedSuffix)
	net := networks[slices.IndexFunc(networks, func(n network) bool { return n.name == base })]
	mode, ok := map[string]nn.Mode{StepTask: nn.Train, InferenceTask: nn.Eval}[j.Task]
	if !ok {
		return nil, fmt.Errorf("task %q: want %s or %s", j.Task, StepTask, InferenceTask)
	}
	size := j.Size
	if size == 0 {
		size = net.size
	}
	g := nn.NewGraph(mode, params)
	net.build(g, g.Input(imageInput, op.Shape{N: j.Batch, C: 3, H: size, W: size}), guided)
	return g, g.Err()
}

// Names of the graphs' inputs.
const (
	imageInput     = "image"
	labelInput     = "label"
	mapInput       = "map"
	weightInput    = "weight"
	mapWeightInput = "map weight"
)

// perImage is one value an image.
func perImage(x nn.Node) op.Shape { return op.Shape{N: x.Shape().N, C: 1, H: 1, W: 1} }

func unet(widths ...int) backbone.UNet {
	return backbone.UNet{Widths: widths, StemKernel: 3, StemStride: 1}
}

// maps draws maps of images under the mean squared error.
func maps(net interface {
	Build(g *nn.Graph, x nn.Node) nn.Node
}) func(*nn.Graph, nn.Node, bool) {
	return func(g *nn.Graph, x nn.Node, _ bool) {
		y := net.Build(g, x)
		if g.Mode() == nn.Eval {
			g.Output("map", y)
			return
		}
		g.Loss(nn.Term{Value: g.MapLoss(op.MSE, true, y, g.Input(mapInput, y.Shape())), Weight: g.Input(weightInput, perImage(x))})
	}
}

// classifier tells classes under the cross-entropy, guided by maps under the CYBORG
// loss.
func classifier(net interface {
	Build(g *nn.Graph, x nn.Node, classes int) backbone.Classifier
}) func(*nn.Graph, nn.Node, bool) {
	return func(g *nn.Graph, x nn.Node, guided bool) {
		c := net.Build(g, x, classes)
		if g.Mode() == nn.Eval {
			g.Output("logits", c.Logits)
			return
		}
		label := g.Input(labelInput, perImage(x))
		terms := []nn.Term{{Value: g.SoftmaxCrossEntropy(c.Logits, label), Weight: g.Input(weightInput, perImage(x))}}
		if guided {
			cam := g.CAM(c.Features, c.Weight, label)
			terms = append(terms, nn.Term{Value: g.MapLoss(op.MSE, false, cam, g.Input(mapInput, cam.Shape())), Weight: g.Input(mapWeightInput, perImage(x))})
		}
		g.Loss(terms...)
	}
}

// fill gives an input its values.
func fill(name string, x []float32) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		switch name {
		case imageInput:
			x[i] = float32(rng.NormFloat64())
		case labelInput:
			x[i] = float32(rng.IntN(classes))
		case mapInput:
			x[i] = rng.Float32()
		case weightInput:
			x[i] = alpha
		case mapWeightInput:
			x[i] = 1 - alpha
		}
	}
}
