package backbone

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// Xception is the network of depthwise separable convolutions (Chollet 2016,
// arXiv 1610.02357). Parameters are named as timm names legacy_xception's, which
// are those of Cadene's port but for the last layer. Published weights expect
// images less 0.5, divided by 0.5.
type Xception struct {
	Stem   [2]int // channels of the first two convolutions
	Entry  [3]int // of the blocks that halve the image; the last is the middle's too
	Middle int    // blocks of the middle flow
	Exit   [3]int // channels of the last block and the two separable convolutions behind it
}

// LegacyXception is timm's legacy_xception, the network of the paper.
func LegacyXception() Xception {
	return Xception{Stem: [2]int{32, 64}, Entry: [3]int{128, 256, 728}, Middle: 8, Exit: [3]int{1024, 1536, 2048}}
}

// Grid is the side of the features of a square image with so many pixels a side;
// below 1 the image is too small.
func (n Xception) Grid(size int) int {
	half := window{3, 2, 1}
	return side(size, window{3, 2, 0}, window{3, 1, 0}, half, half, half, half)
}

// Build adds the network for images x (N, 3, H, W). The published CAM is of what the
// last convolution gives, before its batch norm and ReLU.
func (n Xception) Build(g *nn.Graph, x nn.Node, classes int) Classifier {
	y := convNormReLU(g, "conv1", "bn1", x, nn.Conv{Out: n.Stem[0], Kernel: 3, Stride: 2})
	y = convNormReLU(g, "conv2", "bn2", y, nn.Conv{Out: n.Stem[1], Kernel: 3})
	blocks := 0
	block := func(stride int, widths ...int) {
		blocks++
		y = separableBlock(g, fmt.Sprintf("block%d", blocks), y, blocks > 1, stride, widths...)
	}
	for _, width := range n.Entry {
		block(2, width, width)
	}
	width := n.Entry[2]
	for range n.Middle {
		block(1, width, width, width)
	}
	block(2, width, n.Exit[0])
	y = g.ReLU(g.BatchNorm("bn3", separable(g, "conv3", y, n.Exit[1])))
	last := separable(g, "conv4", y, n.Exit[2])
	return classify(g, "fc", g.ReLU(g.BatchNorm("bn4", last)), last, classes)
}

// separable is a 3x3 convolution of every channel for itself and a 1x1
// convolution.
func separable(g *nn.Graph, path string, x nn.Node, width int) nn.Node {
	channels := x.Shape().C
	y := g.Conv(path+".conv1", x, nn.Conv{Out: channels, Kernel: 3, Pad: 1, Groups: channels})
	return g.Conv(path+".pointwise", y, nn.Conv{Out: width, Kernel: 1})
}

// separableBlock is a separable convolution for every width, each behind a ReLU,
// the first only if relu, beside a shortcut, which a 1x1 convolution adapts where
// the shapes differ. A stride is that of a max pooling at the end. The numbers in
// the parameters' names count the ReLUs too.
func separableBlock(g *nn.Graph, path string, x nn.Node, relu bool, stride int, widths ...int) nn.Node {
	y, number := x, 0
	for i, width := range widths {
		if relu || i > 0 {
			y = g.ReLU(y)
			number++
		}
		y = separable(g, fmt.Sprintf("%s.rep.%d", path, number), y, width)
		y = g.BatchNorm(fmt.Sprintf("%s.rep.%d", path, number+1), y)
		number += 2
	}
	if stride != 1 {
		y = g.MaxPool(y, 3, stride, 1)
	}
	if out := widths[len(widths)-1]; stride != 1 || x.Shape().C != out {
		x = g.BatchNorm(path+".skipbn", g.Conv(path+".skip", x, nn.Conv{Out: out, Kernel: 1, Stride: stride}))
	}
	return g.Add(y, x)
}
