package cyborg

import (
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Names of the graphs' inputs and outputs. All but image, map and CAMs are one
// value an image, (N, 1, 1, 1).
const (
	imageInput         = "image" // (N, 3, size, size)
	labelInput         = "label"
	mapInput           = "map" // (N, 1, grid, grid)
	ceWeightInput      = "ce_weight"
	mapWeightInput     = "map_weight"
	entropyWeightInput = "entropy_weight"

	ceOutput        = "ce"
	distanceOutput  = "distance"
	alphaOutput     = "alpha"  // of every image, where alpha is adaptive
	logitsOutput    = "logits" // (N, classes, 1, 1)
	trueOutput      = "cam_true"
	predictedOutput = "cam_predicted" // (N, 1, grid, grid)
)

// trainingGraph is the network with its loss, guided by maps or not.
func trainingGraph(cfg Config, params *nn.Params, classes int, guided bool) (*nn.Graph, error) {
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Train, params)
	input := g.Image
	if cfg.Blur > 0 { // by the host, which therefore draws the images
		input = g.Input
	}
	built := net.Build(g, input(imageInput, op.Shape{N: cfg.Batch, C: 3, H: cfg.Size, W: cfg.Size}), classes)
	return g, cfg.addLoss(g, built, guided)
}

// evaluationGraph is the network with its logits and, where wanted, the CAMs of
// the true and of the predicted class.
func evaluationGraph(cfg Config, params *nn.Params, classes, batch int, withCAM bool) (*nn.Graph, error) {
	return evaluationGraphOf((*nn.Graph).Image, cfg, params, classes, batch, withCAM)
}

// pixelGraph is evaluationGraph of images that the caller writes as the network takes
// them.
func pixelGraph(cfg Config, params *nn.Params, classes, batch int, withCAM bool) (*nn.Graph, error) {
	return evaluationGraphOf((*nn.Graph).Input, cfg, params, classes, batch, withCAM)
}

func evaluationGraphOf(input func(*nn.Graph, string, op.Shape) nn.Node, cfg Config, params *nn.Params, classes, batch int, withCAM bool) (*nn.Graph, error) {
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Eval, params)
	built := net.Build(g, input(g, imageInput, op.Shape{N: batch, C: 3, H: cfg.Size, W: cfg.Size}), classes)
	g.Output(logitsOutput, built.Logits)
	if withCAM {
		label := g.Input(labelInput, op.Shape{N: batch, C: 1, H: 1, W: 1})
		g.Output(trueOutput, cfg.activation(g, built, label))
		g.Output(predictedOutput, cfg.activation(g, built, g.ArgMax(built.Logits)))
	}
	return g, g.Err()
}
