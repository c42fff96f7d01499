package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// What is the same on both sides: see theirs.py.
const (
	batch   = 8
	classes = 1000
	alpha   = 0.5 // weight of the cross-entropy in the CYBORG loss
)

// networks are those of theirs.py under the same names.
var networks = []network{
	{"unet64", 64, unet(16, 32, 64)},
	{"unet128", 128, unet(32, 64, 128, 256)},
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

// defaultCases are all networks, and one of them guided.
func defaultCases() string {
	var names []string
	for _, n := range networks {
		names = append(names, n.name)
	}
	return strings.Join(append(names, "resnet18"+guidedSuffix), ",")
}

// tasks are what there is to be measured of a case. Guided or not, a network infers
// the same.
func tasks(name string) []string {
	if strings.HasSuffix(name, guidedSuffix) {
		return []string{stepTask}
	}
	return []string{stepTask, inferenceTask}
}

// graph is the network of a case: with its loss for training, with its result for
// inference.
func graph(name string, mode nn.Mode, params *nn.Params) (*nn.Graph, error) {
	base, guided := strings.CutSuffix(name, guidedSuffix)
	i := slices.IndexFunc(networks, func(n network) bool { return n.name == base })
	if i < 0 {
		return nil, fmt.Errorf("case %q: want one of %s", name, defaultCases())
	}
	if guided && strings.HasPrefix(base, "unet") {
		return nil, fmt.Errorf("case %q: want a classifier, which a map can guide", name)
	}
	g := nn.NewGraph(mode, params)
	networks[i].build(g, g.Input(imageInput, op.Shape{N: batch, C: 3, H: networks[i].size, W: networks[i].size}), guided)
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
var perImage = op.Shape{N: batch, C: 1, H: 1, W: 1}

// unet maps images to maps under the mean squared error.
func unet(widths ...int) func(*nn.Graph, nn.Node, bool) {
	net := backbone.UNet{Widths: widths, StemKernel: 3, StemStride: 1}
	return func(g *nn.Graph, x nn.Node, _ bool) {
		y := net.Build(g, x)
		if g.Mode() == nn.Eval {
			g.Output("map", y)
			return
		}
		g.Loss(nn.Term{Value: g.MapLoss(op.MSE, true, y, g.Input(mapInput, y.Shape())), Weight: g.Input(weightInput, perImage)})
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
		label := g.Input(labelInput, perImage)
		terms := []nn.Term{{Value: g.SoftmaxCrossEntropy(c.Logits, label), Weight: g.Input(weightInput, perImage)}}
		if guided {
			cam := g.CAM(c.Features, c.Weight, label)
			terms = append(terms, nn.Term{Value: g.MapLoss(op.MSE, false, cam, g.Input(mapInput, cam.Shape())), Weight: g.Input(mapWeightInput, perImage)})
		}
		g.Loss(terms...)
	}
}
