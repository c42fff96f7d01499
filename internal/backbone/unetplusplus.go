package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// UNetPlusPlus is the U-Net of nested decoders (Zhou et al. 2018, arXiv 1807.10165):
// every level joins its own features and those of all shallower decoders. It is
// segmentation_models_pytorch's UnetPlusPlus, parameter names included, without deep
// supervision.
type UNetPlusPlus struct {
	Encoder Encoder
	Widths  []int // channels of the deepest decoder's levels, as many as the encoder's
}

// UNetPlusPlusOf is segmentation_models_pytorch's UnetPlusPlus around an encoder of
// five levels.
func UNetPlusPlusOf(encoder Encoder) UNetPlusPlus { return UNetPlusPlus{encoder, decoderWidths()} }

// Validate reports the first thing wrong with the shape of the network.
func (u UNetPlusPlus) Validate() error { return validateDecoder(u.Encoder, u.Widths) }

// Divisor is what the input's height and width must be divisible by.
func (u UNetPlusPlus) Divisor() int { return 1 << len(u.Widths) }

// Published tells of the encoder's published weights.
func (u UNetPlusPlus) Published() Published { return publishedEncoder(u.Encoder) }

// Build adds the network for images x (N, 3, H, W) and returns the map before
// its sigmoid, (N, 1, H, W).
func (u UNetPlusPlus) Build(g *nn.Graph, x nn.Node) nn.Node {
	levels := u.Encoder.levels(g, encoderPrefix, x)
	last := len(levels) - 1
	rows := make([][]nn.Node, len(levels)) // of each level, the newest first
	for i, level := range levels {
		rows[i] = []nn.Node{level}
	}
	for column := 1; column <= last; column++ {
		for i := range last - column + 1 {
			width := levels[i].Shape().C
			if i+column == last {
				width = u.Widths[column-1]
			}
			path := fmt.Sprintf("decoder.blocks.x_%d_%d", last-i-column, last-1-i)
			y := decoderBlock(g, path, rows[i+1][0], rows[i], width)
			rows[i] = append([]nn.Node{y}, rows[i]...)
		}
	}
	y := decoderBlock(g, fmt.Sprintf("decoder.blocks.x_0_%d", last), rows[0][0], nil, u.Widths[last])
	return segmentationHead(g, y)
}
