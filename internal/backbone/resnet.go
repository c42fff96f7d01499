package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// ResNet is the residual family (He et al. 2015, arXiv 1512.03385), from
// ResNet-50 down to the few blocks that learn from scratch on a few hundred
// images. Parameters are named as torchvision names them.
type ResNet struct {
	Stem    Stem
	Widths  []int // channels of each stage, of its 3x3 convolutions in bottlenecks
	Strides []int // stride of each stage's first block
	Blocks  []int // blocks of each stage
	// Bottleneck makes blocks of a 1x1, a 3x3 and a 1x1 convolution, which gives
	// out four times the stage's width; otherwise they are two 3x3 convolutions.
	Bottleneck bool
	Init       nn.Init // of the convolutions
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

// ResNet50 is torchvision's resnet50: the stride is in the 3x3 convolutions.
func ResNet50() ResNet {
	r := ResNet18()
	r.Blocks, r.Bottleneck = []int{3, 4, 6, 3}, true
	return r
}

// ResNetSmall learns from scratch on a few hundred images, in few steps and hence
// from small weights; its CAM has an eighth of the input's side.
func ResNetSmall() ResNet {
	return ResNet{
		Stem:    Stem{Kernel: 5, Stride: 2, Width: 24, Pool: 2},
		Widths:  []int{32, 64, 128},
		Strides: []int{1, 2, 1},
		Blocks:  []int{1, 1, 1},
		Init:    nn.FanInUniform,
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
	windows := []window{{r.Stem.Kernel, r.Stem.Stride, r.Stem.Kernel / 2}}
	if r.Stem.Pool > 0 {
		windows = append(windows, window{r.Stem.Pool, 2, r.Stem.Pool / 3})
	}
	for _, stride := range r.Strides {
		windows = append(windows, window{3, stride, 1})
	}
	return side(size, windows...)
}

// Build adds the network for images x (N, 3, H, W). The published CAM is of what the
// last convolution gives, before its batch norm and the addition.
func (r ResNet) Build(g *nn.Graph, x nn.Node, classes int) Classifier {
	levels, last := r.stages(g, "", x)
	return classify(g, "fc", levels[len(levels)-1], last, classes)
}

// depth is the number of levels: the stem's convolution and the stages, of which the
// pooling halves the first's.
func (r ResNet) depth() (int, error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	if r.Stem.Stride != 2 || r.Stem.Pool == 0 {
		return 0, fmt.Errorf("resnet stem: stride %d, pool %d, want a stride of 2 and a pooling", r.Stem.Stride, r.Stem.Pool)
	}
	for i, stride := range r.Strides {
		if want := min(i+1, 2); stride != want {
			return 0, fmt.Errorf("resnet stage %d: stride %d, want %d", i+1, stride, want)
		}
	}
	return len(r.Widths) + 1, nil
}

// levels adds everything before the average pool, with parameters named from
// prefix, and returns what the stem's convolution and each stage give.
func (r ResNet) levels(g *nn.Graph, prefix string, x nn.Node) []nn.Node {
	levels, _ := r.stages(g, prefix, x)
	return levels
}

// stages is levels, with what the last convolution gives.
func (r ResNet) stages(g *nn.Graph, prefix string, x nn.Node) (levels []nn.Node, last nn.Node) {
	y := convNormReLU(g, prefix+"conv1", prefix+"bn1", x,
		nn.Conv{Out: r.Stem.Width, Kernel: r.Stem.Kernel, Stride: r.Stem.Stride, Pad: r.Stem.Kernel / 2, Init: r.Init})
	levels = []nn.Node{y}
	if r.Stem.Pool > 0 {
		y = g.MaxPool(y, r.Stem.Pool, 2, r.Stem.Pool/3)
	}
	for i, width := range r.Widths {
		for b := range r.Blocks[i] {
			stride := 1
			if b == 0 {
				stride = r.Strides[i]
			}
			y, last = r.block(g, fmt.Sprintf("%slayer%d.%d", prefix, i+1, b), y, width, stride)
		}
		levels = append(levels, y)
	}
	return levels, last
}

// block is a stack of convolutions beside a shortcut, which a 1x1 convolution
// adapts where the shapes differ. last is what the stack's last convolution gives.
func (r ResNet) block(g *nn.Graph, path string, x nn.Node, width, stride int) (y, last nn.Node) {
	stack := []nn.Conv{{Out: width, Kernel: 3, Stride: stride, Pad: 1}, conv3x3(width)}
	if r.Bottleneck {
		stack = []nn.Conv{{Out: width, Kernel: 1}, stack[0], {Out: 4 * width, Kernel: 1}}
	}
	y = x
	for i, c := range stack {
		c.Init = r.Init
		last = g.Conv(fmt.Sprintf("%s.conv%d", path, i+1), y, c)
		y = g.BatchNorm(fmt.Sprintf("%s.bn%d", path, i+1), last)
		if i < len(stack)-1 {
			y = g.ReLU(y)
		}
	}
	if out := y.Shape().C; stride != 1 || x.Shape().C != out {
		x = g.BatchNorm(path+".downsample.1", g.Conv(path+".downsample.0", x, nn.Conv{Out: out, Kernel: 1, Stride: stride, Init: r.Init}))
	}
	return g.ReLU(g.Add(y, x)), last
}
