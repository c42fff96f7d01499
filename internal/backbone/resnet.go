package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// ResNet is the residual family of basic blocks (He et al. 2015, arXiv
// 1512.03385), from ResNet-18 down to the few blocks that learn from scratch on
// a few hundred images. Parameters are named as torchvision names ResNet-18's.
type ResNet struct {
	Stem    Stem
	Widths  []int // channels of each stage
	Strides []int // stride of each stage's first block
	Blocks  []int // blocks of each stage
}

// ResNet18 is torchvision's resnet18.
func ResNet18() ResNet {
	return ResNet{
		Stem:    Stem{Kernel: 7, Stride: 2, Width: 64, Pool: 3},
		Widths:  []int{64, 128, 256, 512},
		Strides: []int{1, 2, 2, 2},
		Blocks:  []int{2, 2, 2, 2},
	}
}

// ResNetSmall learns from scratch on a few hundred images; its CAM has an
// eighth of the input's side.
func ResNetSmall() ResNet {
	return ResNet{
		Stem:    Stem{Kernel: 5, Stride: 2, Width: 24, Pool: 2},
		Widths:  []int{32, 64, 128},
		Strides: []int{1, 2, 1},
		Blocks:  []int{1, 1, 1},
	}
}

// Validate reports the first thing wrong with the shape of the network.
func (r ResNet) Validate() error {
	if err := r.Stem.Validate(); err != nil {
		return err
	}
	if len(r.Widths) == 0 || len(r.Strides) != len(r.Widths) || len(r.Blocks) != len(r.Widths) {
		return fmt.Errorf("resnet: %d widths, %d strides and %d block counts, want equally many and at least one",
			len(r.Widths), len(r.Strides), len(r.Blocks))
	}
	for i := range r.Widths {
		if r.Widths[i] < 1 || r.Strides[i] < 1 || r.Blocks[i] < 1 {
			return fmt.Errorf("resnet stage %d: width %d, stride %d, %d blocks, want each at least 1", i+1, r.Widths[i], r.Strides[i], r.Blocks[i])
		}
	}
	return nil
}

// Grid is the side of the features of a square image with so many pixels a side;
// below 1 the image is too small.
func (r ResNet) Grid(size int) int {
	side := func(in, kernel, stride, pad int) int { return (in+2*pad-kernel)/stride + 1 }
	size = side(size, r.Stem.Kernel, r.Stem.Stride, r.Stem.Kernel/2)
	if r.Stem.Pool > 0 {
		size = side(size, r.Stem.Pool, 2, r.Stem.Pool/3)
	}
	for _, stride := range r.Strides {
		size = side(size, 3, stride, 1)
	}
	return size
}

// Build adds the network for images x (N, 3, H, W).
func (r ResNet) Build(g *nn.Graph, x nn.Node, classes int) Classifier {
	y := convNormReLU(g, "conv1", "bn1", x, nn.Conv{Out: r.Stem.Width, Kernel: r.Stem.Kernel, Stride: r.Stem.Stride, Pad: r.Stem.Kernel / 2})
	switch r.Stem.Pool {
	case 2:
		y = g.MaxPool(y, 2, 2, 0)
	case 3:
		y = g.MaxPool(y, 3, 2, 1)
	}
	for i, width := range r.Widths {
		for b := range r.Blocks[i] {
			stride := 1
			if b == 0 {
				stride = r.Strides[i]
			}
			y = basicBlock(g, fmt.Sprintf("layer%d.%d", i+1, b), y, width, stride)
		}
	}
	logits, weight := g.Classifier("fc", g.GlobalAvgPool(y), classes)
	return Classifier{Features: y, Logits: logits, Weight: weight}
}

// basicBlock is two 3x3 convolutions beside a shortcut, which a 1x1
// convolution adapts where the shapes differ.
func basicBlock(g *nn.Graph, path string, x nn.Node, width, stride int) nn.Node {
	y := convNormReLU(g, path+".conv1", path+".bn1", x, nn.Conv{Out: width, Kernel: 3, Stride: stride, Pad: 1})
	y = g.BatchNorm(path+".bn2", g.Conv(path+".conv2", y, nn.Conv{Out: width, Kernel: 3, Pad: 1}))
	if stride != 1 || x.Shape().C != width {
		x = g.BatchNorm(path+".downsample.1", g.Conv(path+".downsample.0", x, nn.Conv{Out: width, Kernel: 1, Stride: stride}))
	}
	return g.ReLU(g.Add(y, x))
}
