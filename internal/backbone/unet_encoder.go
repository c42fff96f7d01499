package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// EncoderUNet is a U-Net whose encoder is a classification network, so that it can
// start from trained weights. It is segmentation_models_pytorch's Unet, parameter
// names included: nearest upsampling, two 3x3 convolutions a level, one more level
// without features to join, and a 3x3 convolution at the end.
type EncoderUNet struct {
	Encoder Encoder
	Widths  []int // channels of the decoder's levels, as many as the encoder's
}

// UNetOf is segmentation_models_pytorch's Unet around an encoder of five levels.
func UNetOf(encoder Encoder) EncoderUNet { return EncoderUNet{encoder, decoderWidths()} }

// Validate reports the first thing wrong with the shape of the network.
func (u EncoderUNet) Validate() error { return validateDecoder(u.Encoder, u.Widths) }

// Divisor is what the input's height and width must be divisible by.
func (u EncoderUNet) Divisor() int { return 1 << len(u.Widths) }

// Published tells of the encoder's published weights.
func (u EncoderUNet) Published() Published { return publishedEncoder(u.Encoder) }

// Build adds the network for images x (N, 3, H, W) and returns the map before
// its sigmoid, (N, 1, H, W).
func (u EncoderUNet) Build(g *nn.Graph, x nn.Node) nn.Node {
	levels := u.Encoder.levels(g, encoderPrefix, x)
	last := len(levels) - 1
	y := levels[last]
	for i, width := range u.Widths {
		var skips []nn.Node
		if i < last {
			skips = levels[last-1-i : last-i]
		}
		y = decoderBlock(g, fmt.Sprintf("decoder.blocks.%d", i), y, skips, width)
	}
	return segmentationHead(g, y)
}
