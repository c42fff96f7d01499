// Package backbone holds the networks, one file an architecture. Parameters are
// named as the best-known Python implementation of each names them.
package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// Network is an architecture that classifies.
type Network interface {
	// Grid is the side of the features of a square image with so many pixels a
	// side; below 1 the image is too small.
	Grid(size int) int
	// Build adds the network for images x (N, 3, H, W).
	Build(g *nn.Graph, x nn.Node, classes int) Classifier
	// Published tells of the network's published weights.
	Published() Published
}

// SaliencyNetwork is an architecture that maps an image to a saliency map.
type SaliencyNetwork interface {
	// Divisor is what the input's height and width must be divisible by.
	Divisor() int
	// Build adds the network for images x (N, 3, H, W) and returns the map before
	// its sigmoid, (N, 1, H, W).
	Build(g *nn.Graph, x nn.Node) nn.Node
}

// Classifier is a built classification network.
type Classifier struct {
	// Features feeds the global average pool: (N, C, h, w). With Weight it
	// decomposes a logit exactly into a class activation map.
	Features nn.Node
	// Reference is the tensor from which CYBORG's published code (train_cam.py) makes
	// the class activation map, in the shape of Features. Unless it is these, it
	// decomposes no logit with Weight. Networks that the code lacks have it in the
	// same place as their family.
	Reference nn.Node
	// Logits is (N, classes, 1, 1).
	Logits nn.Node
	// Weight is the final linear layer's, (classes, C, 1, 1).
	Weight nn.Node
}

// Stem is a network's first convolution.
type Stem struct {
	Kernel int // odd
	Stride int
	Width  int
	// Pool is the window of a max pooling of stride 2 behind the stem: 0 for
	// none, 2, or 3 (padded by 1, as in ResNet).
	Pool int
}

// Validate reports the first thing wrong with the stem.
func (s Stem) Validate() error {
	switch {
	case s.Kernel < 1 || s.Kernel%2 == 0:
		return fmt.Errorf("stem kernel %d: want an odd number", s.Kernel)
	case s.Stride < 1:
		return fmt.Errorf("stem stride %d: want at least 1", s.Stride)
	case s.Width < 1:
		return fmt.Errorf("stem width %d: want at least 1", s.Width)
	case s.Pool != 0 && s.Pool != 2 && s.Pool != 3:
		return fmt.Errorf("stem pool %d: want 0, 2 or 3", s.Pool)
	}
	return nil
}

// window is the kernel of a convolution or pooling.
type window struct{ kernel, stride, pad int }

// side is what windows one after another leave of a side; 0 where the first that
// does not fit begins.
func side(size int, windows ...window) int {
	for _, w := range windows {
		if size+2*w.pad < w.kernel {
			return 0
		}
		size = (size+2*w.pad-w.kernel)/w.stride + 1
	}
	return size
}

// classify ends a network: the mean of the features and a linear layer.
func classify(g *nn.Graph, path string, features, reference nn.Node, classes int) Classifier {
	logits, weight := g.Classifier(path, g.GlobalAvgPool(features), classes)
	return Classifier{Features: features, Reference: reference, Logits: logits, Weight: weight}
}

// convNormReLU is a convolution without bias, batch norm and ReLU.
func convNormReLU(g *nn.Graph, convPath, normPath string, x nn.Node, c nn.Conv) nn.Node {
	return g.ReLU(g.BatchNorm(normPath, g.Conv(convPath, x, c)))
}
