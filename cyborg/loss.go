package cyborg

import (
	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Values of Config.CAMClass and Config.CAMFeatures.
const (
	trueCAM       = "true"
	predictedCAM  = "predicted"
	differenceCAM = "difference"

	poolInput         = "pool_input"
	referenceFeatures = "reference"
)

// addLoss ends a training graph: the mean over the batch of
//
//	alpha*CE + (1-alpha)*weight*distance(CAM, map) + Entropy*entropy(CAM)
//
// with the weights of plan.weights, and none of images without a map. Where nothing
// guides it is CE + Entropy*entropy(CAM), without a CAM where nothing wants one.
func (c Config) addLoss(g *nn.Graph, built backbone.Classifier, guided bool) error {
	one := op.Shape{N: c.Batch, C: 1, H: 1, W: 1}
	label := g.Input(labelInput, one)
	ce := g.SoftmaxCrossEntropy(built.Logits, label)
	g.Output(ceOutput, ce)
	terms := []nn.Term{{Value: ce, Weight: g.Input(ceWeightInput, one)}}
	if guided || c.Entropy > 0 {
		class := label
		if c.CAMClass == predictedCAM {
			class = g.ArgMax(built.Logits)
		}
		cam := c.activation(g, built, class)
		if guided {
			distance, err := c.distance(g, cam)
			if err != nil {
				return err
			}
			terms = c.balanced(g, terms[0], nn.Term{Value: distance, Weight: g.Input(mapWeightInput, one)})
		}
		if c.Entropy > 0 {
			terms = append(terms, nn.Term{Value: g.Entropy(cam), Weight: g.Input(entropyWeightInput, one)})
		}
	}
	g.Loss(terms...)
	return g.Err()
}

// activation is the class activation map that the configuration compares, of a class
// for every image.
func (c Config) activation(g *nn.Graph, built backbone.Classifier, class nn.Node) nn.Node {
	features, weight := built.Features, built.Weight
	if c.CAMFeatures == referenceFeatures {
		features = built.Reference
	}
	if c.CAMClass == differenceCAM {
		weight = g.Contrast(weight)
	}
	return g.CAM(features, weight, class)
}

// distance is that of every image's CAM from its map.
func (c Config) distance(g *nn.Graph, cam nn.Node) (nn.Node, error) {
	kind, err := op.ParseMapLoss(c.Guidance)
	if err != nil {
		return nn.Node{}, err
	}
	distance := g.MapLoss(kind, false, cam, g.Input(mapInput, cam.Shape()))
	g.Output(distanceOutput, distance)
	return distance, nil
}

// balanced are the terms of cross-entropy and distance with the weights that the
// batch gives them where alpha is adaptive, and as they are where it is not.
func (c Config) balanced(g *nn.Graph, ce, distance nn.Term) []nn.Term {
	if c.AlphaSchedule == adaptiveAlpha {
		ce.Weight, distance.Weight = g.Balance(ce.Value, distance.Value, distance.Weight)
		g.Output(alphaOutput, ce.Weight)
	}
	return []nn.Term{ce, distance}
}
