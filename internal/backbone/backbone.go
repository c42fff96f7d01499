// Package backbone holds the networks, one file an architecture. Parameters are
// named as the best-known Python implementation of each names them.
package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// Classifier is a built classification network.
type Classifier struct {
	// Features feeds the global average pool: (N, C, h, w). With Weight it
	// decomposes a logit exactly into a class activation map.
	Features nn.Node
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

// convNormReLU is a convolution without bias, batch norm and ReLU.
func convNormReLU(g *nn.Graph, convPath, normPath string, x nn.Node, c nn.Conv) nn.Node {
	return g.ReLU(g.BatchNorm(normPath, g.Conv(convPath, x, c)))
}
