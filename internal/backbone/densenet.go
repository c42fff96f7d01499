package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// DenseNet is the family in which every layer reads all layers before it (Huang
// et al. 2016, arXiv 1608.06993), with bottlenecks and with half the channels
// between blocks (DenseNet-BC). Parameters are named as torchvision names them.
type DenseNet struct {
	Width  int   // channels of the stem
	Growth int   // channels that a layer adds
	Blocks []int // layers of each block
}

// DenseNet121 is torchvision's densenet121.
func DenseNet121() DenseNet {
	return DenseNet{Width: 64, Growth: 32, Blocks: []int{6, 12, 24, 16}}
}

// Grid is the side of the features of a square image with so many pixels a side;
// below 1 the image is too small.
func (d DenseNet) Grid(size int) int {
	windows := []window{{7, 2, 3}, {3, 2, 1}}
	for range d.Blocks[1:] {
		windows = append(windows, window{2, 2, 0})
	}
	return side(size, windows...)
}

// Build adds the network for images x (N, 3, H, W). The published CAM is of what the
// last ReLU is given.
func (d DenseNet) Build(g *nn.Graph, x nn.Node, classes int) Classifier {
	levels := d.levels(g, "", x)
	last := levels[len(levels)-1]
	return classify(g, "classifier", g.ReLU(last), last, classes)
}

// depth is the number of levels.
func (d DenseNet) depth() (int, error) { return len(d.Blocks) + 1, nil }

// levels adds everything before the last ReLU, with parameters named from prefix, and
// returns what the stem's convolution, each transition's ReLU and the last batch norm
// give.
func (d DenseNet) levels(g *nn.Graph, prefix string, x nn.Node) []nn.Node {
	prefix += "features."
	y := convNormReLU(g, prefix+"conv0", prefix+"norm0", x, nn.Conv{Out: d.Width, Kernel: 7, Stride: 2, Pad: 3})
	levels := []nn.Node{y}
	y = g.MaxPool(y, 3, 2, 1)
	for i, layers := range d.Blocks {
		for l := range layers {
			path := fmt.Sprintf("%sdenseblock%d.denselayer%d", prefix, i+1, l+1)
			added := normReLUConv(g, path+".norm1", path+".conv1", y, nn.Conv{Out: 4 * d.Growth, Kernel: 1})
			y = g.Concat(y, normReLUConv(g, path+".norm2", path+".conv2", added, conv3x3(d.Growth)))
		}
		if i < len(d.Blocks)-1 {
			path := fmt.Sprintf("%stransition%d", prefix, i+1)
			y = g.ReLU(g.BatchNorm(path+".norm", y))
			levels = append(levels, y)
			y = g.AvgPool(g.Conv(path+".conv", y, nn.Conv{Out: y.Shape().C / 2, Kernel: 1}), 2, 2, 0)
		}
	}
	return append(levels, g.BatchNorm(prefix+"norm5", y)) // 5 whatever the number of blocks
}

// normReLUConv is batch norm, ReLU and a convolution without bias.
func normReLUConv(g *nn.Graph, normPath, convPath string, x nn.Node, c nn.Conv) nn.Node {
	return g.Conv(convPath, g.ReLU(g.BatchNorm(normPath, x)), c)
}
