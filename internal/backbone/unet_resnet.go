package backbone

import (
	"errors"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// ResNetUNet is a U-Net whose encoder is a residual network, so that it can start
// from trained weights. It is segmentation_models_pytorch's Unet, parameter names
// included: nearest upsampling, two 3x3 convolutions a level, one more level
// without features to join, and a 3x3 convolution at the end.
type ResNetUNet struct {
	Encoder ResNet // halves the image in its stem, its pooling and every stage but the first
	Widths  []int  // channels of the decoder's levels, one more than the encoder's stages
}

// UNetOf is segmentation_models_pytorch's Unet around a residual network of four
// stages.
func UNetOf(encoder ResNet) ResNetUNet {
	return ResNetUNet{Encoder: encoder, Widths: []int{256, 128, 64, 32, 16}}
}

// Validate reports the first thing wrong with the shape of the network.
func (u ResNetUNet) Validate() error {
	if err := u.Encoder.Validate(); err != nil {
		return err
	}
	if u.Encoder.Stem.Stride != 2 || u.Encoder.Stem.Pool == 0 {
		return errors.New("unet's encoder: want a stem of stride 2 and a pooling")
	}
	for i, stride := range u.Encoder.Strides {
		if want := min(i+1, 2); stride != want {
			return fmt.Errorf("unet's encoder: stride %d of stage %d, want %d", stride, i+1, want)
		}
	}
	if want := len(u.Encoder.Widths) + 1; len(u.Widths) != want {
		return fmt.Errorf("unet: %d widths, want %d", len(u.Widths), want)
	}
	for i, w := range u.Widths {
		if w < 1 {
			return fmt.Errorf("unet level %d: width %d, want at least 1", i, w)
		}
	}
	return nil
}

// Divisor is what the input's height and width must be divisible by.
func (u ResNetUNet) Divisor() int { return 1 << len(u.Widths) }

// Build adds the network for images x (N, 3, H, W) and returns the map before
// its sigmoid, (N, 1, H, W).
func (u ResNetUNet) Build(g *nn.Graph, x nn.Node) nn.Node {
	levels := u.Encoder.levels(g, "encoder.", x)
	last := len(levels) - 1
	y := levels[last]
	for i, width := range u.Widths {
		y = g.UpsampleNearest(y, 2)
		if i < last {
			y = g.Concat(y, levels[last-1-i])
		}
		path := fmt.Sprintf("decoder.blocks.%d", i)
		y = convNormReLU(g, path+".conv1.0", path+".conv1.1", y, conv3x3(width))
		y = convNormReLU(g, path+".conv2.0", path+".conv2.1", y, conv3x3(width))
	}
	return g.Conv("segmentation_head.0", y, nn.Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true, Float32: true})
}
