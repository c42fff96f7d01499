package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// UNet is the encoder-decoder of Ronneberger et al. (2015, arXiv 1505.04597)
// with batch norm and bilinear upsampling: two convolutions a level, a max
// pooling between levels, and every level's features joined to the decoder's.
type UNet struct {
	Widths []int // channels of each level
	// StemKernel and StemStride are those of the first convolution. With a
	// stride above 1 the result is enlarged back to the input's size.
	StemKernel, StemStride int
}

// Validate reports the first thing wrong with the shape of the network.
func (u UNet) Validate() error {
	if len(u.Widths) < 1 {
		return fmt.Errorf("unet: %d widths, want at least one", len(u.Widths))
	}
	for i, w := range u.Widths {
		if w < 1 {
			return fmt.Errorf("unet level %d: width %d, want at least 1", i, w)
		}
	}
	return Stem{Kernel: u.StemKernel, Stride: u.StemStride, Width: u.Widths[0]}.Validate()
}

// Divisor is what the input's height and width must be divisible by.
func (u UNet) Divisor() int { return u.StemStride << (len(u.Widths) - 1) }

// Build adds the network for images x (N, 3, H, W) and returns the map before
// its sigmoid, (N, 1, H, W).
func (u UNet) Build(g *nn.Graph, x nn.Node) nn.Node {
	stem := nn.Conv{Out: u.Widths[0], Kernel: u.StemKernel, Stride: u.StemStride, Pad: u.StemKernel / 2}
	y := doubleConv(g, "down.0", x, stem)
	var skips []nn.Node
	for i, w := range u.Widths[1:] {
		skips = append(skips, y)
		y = doubleConv(g, fmt.Sprintf("down.%d", i+1), g.MaxPool(y, 2, 2, 0), conv3x3(w))
	}
	for i := len(skips) - 1; i >= 0; i-- {
		y = g.Concat(skips[i], g.Upsample(y, 2))
		y = doubleConv(g, fmt.Sprintf("up.%d", len(skips)-1-i), y, conv3x3(u.Widths[i]))
	}
	y = g.Conv("head", y, nn.Conv{Out: 1, Kernel: 1, Bias: true, Float32: true})
	if u.StemStride > 1 {
		y = g.Upsample(y, u.StemStride)
	}
	return y
}

func conv3x3(width int) nn.Conv { return nn.Conv{Out: width, Kernel: 3, Pad: 1} }

// doubleConv is first and a 3x3 convolution of the same width, each with batch
// norm and ReLU.
func doubleConv(g *nn.Graph, path string, x nn.Node, first nn.Conv) nn.Node {
	y := convNormReLU(g, path+".0", path+".1", x, first)
	return convNormReLU(g, path+".3", path+".4", y, conv3x3(first.Out))
}
