package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// Encoder is a classification network whose features of every resolution a decoder
// reads.
type Encoder interface {
	// depth is the number of levels. It is an error where the first does not halve
	// the image's side, or another that of the one before.
	depth() (int, error)
	// levels adds everything before the average pool, with parameters named from
	// prefix, and returns the features of every resolution, from fine to coarse.
	levels(g *nn.Graph, prefix string, x nn.Node) []nn.Node
	// Published tells of the network's published weights.
	Published() Published
}

// encoderPrefix is what segmentation_models_pytorch puts before the names of an
// encoder's parameters.
const encoderPrefix = "encoder."

// publishedEncoder tells of an encoder's published weights where a decoder follows.
func publishedEncoder(encoder Encoder) Published {
	p := encoder.Published()
	p.Prefix = encoderPrefix
	return p
}

// decoderWidths are the channels of segmentation_models_pytorch's decoders.
func decoderWidths() []int { return []int{256, 128, 64, 32, 16} }

// validateDecoder reports the first thing wrong with an encoder and the channels of
// the decoder's levels behind it.
func validateDecoder(encoder Encoder, widths []int) error {
	depth, err := encoder.depth()
	if err != nil {
		return fmt.Errorf("encoder: %w", err)
	}
	if len(widths) != depth {
		return fmt.Errorf("decoder: %d widths, want %d", len(widths), depth)
	}
	for i, w := range widths {
		if w < 1 {
			return fmt.Errorf("decoder level %d: width %d, want at least 1", i, w)
		}
	}
	return nil
}

// decoderBlock doubles the side of y, joins the features that there are of that
// resolution, and adds two 3x3 convolutions.
func decoderBlock(g *nn.Graph, path string, y nn.Node, skips []nn.Node, width int) nn.Node {
	y = g.UpsampleNearest(y, 2)
	if len(skips) > 0 {
		y = g.Concat(append([]nn.Node{y}, skips...)...)
	}
	y = convNormReLU(g, path+".conv1.0", path+".conv1.1", y, conv3x3(width))
	return convNormReLU(g, path+".conv2.0", path+".conv2.1", y, conv3x3(width))
}

// segmentationHead is the map before its sigmoid. It begins near 0, a half behind it.
func segmentationHead(g *nn.Graph, y nn.Node) nn.Node {
	return g.Conv("segmentation_head.0", y, nn.Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true, Float32: true, Init: nn.FanInUniform})
}
