package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// Networks under the names that they have in networks.py, without dropout, whose masks
// no other program draws.
var (
	classifiers = map[string]backbone.Network{
		"resnet-small": backbone.ResNetSmall(),
		"custom": backbone.ResNet{
			Stem: backbone.Stem{Kernel: 3, Stride: 2, Width: 16}, Widths: []int{32, 32}, Strides: []int{2, 1}, Blocks: []int{1, 1},
		},
		"resnet18":     backbone.ResNet18(),
		"resnet50":     backbone.ResNet50(),
		"densenet121":  backbone.DenseNet121(),
		"inception-v3": backbone.Inception{Divisor: 1},
		"xception":     backbone.LegacyXception(),
	}
	predictors = map[string]backbone.SaliencyNetwork{
		"unet":                  backbone.UNet{Widths: []int{16, 32, 64, 96}, StemKernel: 5, StemStride: 2},
		"unet-resnet18":         backbone.UNetOf(backbone.ResNet18()),
		"unet-resnet50":         backbone.UNetOf(backbone.ResNet50()),
		"unet-densenet121":      backbone.UNetOf(backbone.DenseNet121()),
		"unetplusplus-resnet50": backbone.UNetPlusPlusOf(backbone.ResNet50()),
	}
)

// classes is the number of classes of the classifiers.
const classes = 3

// job is what is to be computed of a network.
type job struct {
	Network   string `json:"network"`
	Size      int    `json:"size"` // side of the square images
	Batch     int    `json:"batch"`
	Device    string `json:"device"`
	Precision string `json:"precision"`
	Loss      string `json:"loss"` // between maps
	Training  struct {
		Steps     int          `json:"steps"`
		Optimizer nn.Optimizer `json:"optimizer"`
		Schedule  nn.Schedule  `json:"schedule"`
	} `json:"training"`
}

func (j job) options() nn.Options {
	return nn.Options{Device: j.Device, Precision: j.Precision, Workers: runtime.NumCPU()}
}

// graph is the network with its loss, and what it computes under the names of
// networks.py.
func (j job) graph(mode nn.Mode, params *nn.Params) (*nn.Graph, map[string]nn.Node, error) {
	kind, err := op.ParseMapLoss(j.Loss)
	if err != nil {
		return nil, nil, err
	}
	g := nn.NewGraph(mode, params)
	x := g.Input("image", op.Shape{N: j.Batch, C: 3, H: j.Size, W: j.Size})
	var found map[string]nn.Node
	if net, ok := classifiers[j.Network]; ok {
		found = j.classify(g, net.Build(g, x, classes), kind)
	} else if net, ok := predictors[j.Network]; ok {
		found = j.predict(g, net.Build(g, x), kind)
	} else {
		return nil, nil, fmt.Errorf("network %q: unknown", j.Network)
	}
	return g, found, g.Err()
}

// perImage is one value an image.
func (j job) perImage() op.Shape { return op.Shape{N: j.Batch, C: 1, H: 1, W: 1} }

// classify adds the CYBORG loss.
func (j job) classify(g *nn.Graph, c backbone.Classifier, kind op.MapLossKind) map[string]nn.Node {
	label := g.Input("label", j.perImage())
	cam := g.CAM(c.Features, c.Weight, label)
	g.Loss(
		nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, label), Weight: g.Input("ce_weight", j.perImage())},
		nn.Term{Value: g.MapLoss(kind, false, cam, g.Input("map", cam.Shape())), Weight: g.Input("map_weight", j.perImage())},
	)
	return map[string]nn.Node{"logits": c.Logits, "features": c.Features, "cam": cam}
}

// predict adds the loss between maps.
func (j job) predict(g *nn.Graph, y nn.Node, kind op.MapLossKind) map[string]nn.Node {
	g.Loss(nn.Term{Value: g.MapLoss(kind, true, y, g.Input("map", y.Shape())), Weight: g.Input("map_weight", j.perImage())})
	return map[string]nn.Node{"logits": y, "map": g.Sigmoid(y)}
}

// newParams are the parameters of a network, with the values of tensors, which must be
// all and no others under the prefix "param/".
func (j job) newParams(tensors map[string]weights.Tensor) (*nn.Params, error) {
	params := nn.NewParams(0)
	if _, _, err := j.graph(nn.Eval, params); err != nil {
		return nil, err
	}
	var own []weights.Tensor
	for name, t := range tensors {
		if param, ok := strings.CutPrefix(name, "param/"); ok {
			t.Name = param
			own = append(own, t)
		}
	}
	return params, params.Load(own)
}
