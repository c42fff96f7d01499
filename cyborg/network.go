package cyborg

import (
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Names of the graphs' inputs and outputs. All but image, map and CAMs are one
// value an image, (N, 1, 1, 1).
const (
	imageInput     = "image" // (N, 3, size, size)
	labelInput     = "label"
	mapInput       = "map" // (N, 1, grid, grid)
	ceWeightInput  = "ce_weight"
	mapWeightInput = "map_weight"

	ceOutput        = "ce"
	distanceOutput  = "distance"
	logitsOutput    = "logits" // (N, classes, 1, 1)
	trueOutput      = "cam_true"
	predictedOutput = "cam_predicted" // (N, 1, grid, grid)
)

// trainingGraph is the network with its loss; where nothing guides it, without a
// CAM.
func trainingGraph(cfg Config, params *nn.Params, classes int, guided bool) (*nn.Graph, error) {
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	kind, err := op.ParseMapLoss(cfg.Guidance)
	if err != nil {
		return nil, err
	}
	one := op.Shape{N: cfg.Batch, C: 1, H: 1, W: 1}
	g := nn.NewGraph(nn.Train, params)
	built := net.Build(g, g.Input(imageInput, op.Shape{N: cfg.Batch, C: 3, H: cfg.Size, W: cfg.Size}), classes)
	label := g.Input(labelInput, one)
	ce := g.SoftmaxCrossEntropy(built.Logits, label)
	g.Output(ceOutput, ce)
	terms := []nn.Term{{Value: ce, Weight: g.Input(ceWeightInput, one)}}
	if guided {
		class := label
		if cfg.CAMClass == "predicted" {
			class = g.ArgMax(built.Logits)
		}
		cam := g.CAM(built.Features, built.Weight, class)
		distance := g.MapLoss(kind, false, cam, g.Input(mapInput, cam.Shape()))
		g.Output(distanceOutput, distance)
		terms = append(terms, nn.Term{Value: distance, Weight: g.Input(mapWeightInput, one)})
	}
	g.Loss(terms...)
	return g, g.Err()
}

// evaluationGraph is the network with its logits and, where wanted, the CAMs of
// the true and of the predicted class.
func evaluationGraph(cfg Config, params *nn.Params, classes, batch int, withCAM bool) (*nn.Graph, error) {
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Eval, params)
	built := net.Build(g, g.Input(imageInput, op.Shape{N: batch, C: 3, H: cfg.Size, W: cfg.Size}), classes)
	g.Output(logitsOutput, built.Logits)
	if withCAM {
		label := g.Input(labelInput, op.Shape{N: batch, C: 1, H: 1, W: 1})
		g.Output(trueOutput, g.CAM(built.Features, built.Weight, label))
		g.Output(predictedOutput, g.CAM(built.Features, built.Weight, g.ArgMax(built.Logits)))
	}
	return g, g.Err()
}
