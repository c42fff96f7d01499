package backbone

import (
	"github.com/surrogaze/surrogaze/internal/nn"
)

// Inception is Inception-v3 without its auxiliary classifier (Szegedy et al.
// 2015, arXiv 1512.00567). Parameters are named as torchvision names
// inception_v3's. Published weights expect images less 0.5, divided by 0.5:
// torchvision's transform_input turns an image that was normalised with
// ImageNet's mean and deviation into that.
type Inception struct {
	Divisor int     // of every width, at least 1; 16 divides them all
	Dropout float32 // rate of the features' means that training drops
}

// InceptionV3 is torchvision's inception_v3 with aux_logits=False.
func InceptionV3() Inception { return Inception{Divisor: 1, Dropout: 0.5} }

// Grid is the side of the features of a square image with so many pixels a side;
// below 1, which is below 75 pixels, the image is too small.
func (n Inception) Grid(size int) int {
	half := window{3, 2, 0}
	return side(size, half, window{3, 1, 0}, half, window{3, 1, 0}, half, half, half)
}

// Build adds the network for images x (N, 3, H, W). The published CAM is of the
// features themselves.
func (n Inception) Build(g *nn.Graph, x nn.Node, classes int) Classifier {
	b := inceptionBuilder{g, n.Divisor}
	y := b.conv("Conv2d_1a_3x3", x, nn.Conv{Out: 32, Kernel: 3, Stride: 2})
	y = b.conv("Conv2d_2a_3x3", y, nn.Conv{Out: 32, Kernel: 3})
	y = g.MaxPool(b.conv("Conv2d_2b_3x3", y, conv3x3(64)), 3, 2, 0)
	y = b.conv("Conv2d_3b_1x1", y, conv1x1(80))
	y = g.MaxPool(b.conv("Conv2d_4a_3x3", y, nn.Conv{Out: 192, Kernel: 3}), 3, 2, 0)
	y = b.fine("Mixed_5b", y, 32)
	y = b.fine("Mixed_5c", y, 64)
	y = b.fine("Mixed_5d", y, 64)
	y = b.halveFine("Mixed_6a", y)
	y = b.factorised("Mixed_6b", y, 128)
	y = b.factorised("Mixed_6c", y, 160)
	y = b.factorised("Mixed_6d", y, 160)
	y = b.factorised("Mixed_6e", y, 192)
	y = b.halveFactorised("Mixed_7a", y)
	y = b.expanded("Mixed_7b", y)
	y = b.expanded("Mixed_7c", y)
	logits, weight := g.Classifier("fc", g.Dropout(g.GlobalAvgPool(y), n.Dropout), classes)
	return Classifier{Features: y, Reference: y, Logits: logits, Weight: weight}
}

// inceptionBuilder adds Inception's modules with all widths divided.
type inceptionBuilder struct {
	*nn.Graph
	divisor int
}

func conv1x1(width int) nn.Conv { return nn.Conv{Out: width, Kernel: 1} }

// row and column are convolutions along one axis.
func row(width, length int) nn.Conv {
	return nn.Conv{Out: width, Kernel: 1, Rectangular: true, KernelW: length, PadW: length / 2}
}

func column(width, length int) nn.Conv {
	return nn.Conv{Out: width, Kernel: length, Pad: length / 2, Rectangular: true, KernelW: 1}
}

// conv is a convolution without bias, batch norm and ReLU.
func (b inceptionBuilder) conv(path string, x nn.Node, c nn.Conv) nn.Node {
	c.Out /= b.divisor
	return b.ReLU(b.BatchNormEps(path+".bn", b.Conv(path+".conv", x, c), 1e-3))
}

// pooled is the branch of an average pooling and a 1x1 convolution.
func (b inceptionBuilder) pooled(path string, x nn.Node, width int) nn.Node {
	return b.conv(path+".branch_pool", b.AvgPool(x, 3, 1, 1), conv1x1(width))
}

// fine is torchvision's InceptionA: 3x3 and 5x5 convolutions.
func (b inceptionBuilder) fine(path string, x nn.Node, pool int) nn.Node {
	one := b.conv(path+".branch1x1", x, conv1x1(64))
	five := b.conv(path+".branch5x5_1", x, conv1x1(48))
	five = b.conv(path+".branch5x5_2", five, nn.Conv{Out: 64, Kernel: 5, Pad: 2})
	three := b.conv(path+".branch3x3dbl_1", x, conv1x1(64))
	three = b.conv(path+".branch3x3dbl_2", three, conv3x3(96))
	three = b.conv(path+".branch3x3dbl_3", three, conv3x3(96))
	return b.Concat(one, five, three, b.pooled(path, x, pool))
}

// halveFine is torchvision's InceptionB.
func (b inceptionBuilder) halveFine(path string, x nn.Node) nn.Node {
	three := b.conv(path+".branch3x3", x, nn.Conv{Out: 384, Kernel: 3, Stride: 2})
	double := b.conv(path+".branch3x3dbl_1", x, conv1x1(64))
	double = b.conv(path+".branch3x3dbl_2", double, conv3x3(96))
	double = b.conv(path+".branch3x3dbl_3", double, nn.Conv{Out: 96, Kernel: 3, Stride: 2})
	return b.Concat(three, double, b.MaxPool(x, 3, 2, 0))
}

// factorised is torchvision's InceptionC: 7x7 convolutions as a row and a column.
func (b inceptionBuilder) factorised(path string, x nn.Node, width int) nn.Node {
	one := b.conv(path+".branch1x1", x, conv1x1(192))
	seven := b.conv(path+".branch7x7_1", x, conv1x1(width))
	seven = b.conv(path+".branch7x7_2", seven, row(width, 7))
	seven = b.conv(path+".branch7x7_3", seven, column(192, 7))
	double := b.conv(path+".branch7x7dbl_1", x, conv1x1(width))
	double = b.conv(path+".branch7x7dbl_2", double, column(width, 7))
	double = b.conv(path+".branch7x7dbl_3", double, row(width, 7))
	double = b.conv(path+".branch7x7dbl_4", double, column(width, 7))
	double = b.conv(path+".branch7x7dbl_5", double, row(192, 7))
	return b.Concat(one, seven, double, b.pooled(path, x, 192))
}

// halveFactorised is torchvision's InceptionD.
func (b inceptionBuilder) halveFactorised(path string, x nn.Node) nn.Node {
	three := b.conv(path+".branch3x3_1", x, conv1x1(192))
	three = b.conv(path+".branch3x3_2", three, nn.Conv{Out: 320, Kernel: 3, Stride: 2})
	seven := b.conv(path+".branch7x7x3_1", x, conv1x1(192))
	seven = b.conv(path+".branch7x7x3_2", seven, row(192, 7))
	seven = b.conv(path+".branch7x7x3_3", seven, column(192, 7))
	seven = b.conv(path+".branch7x7x3_4", seven, nn.Conv{Out: 192, Kernel: 3, Stride: 2})
	return b.Concat(three, seven, b.MaxPool(x, 3, 2, 0))
}

// expanded is torchvision's InceptionE: rows and columns side by side.
func (b inceptionBuilder) expanded(path string, x nn.Node) nn.Node {
	one := b.conv(path+".branch1x1", x, conv1x1(320))
	three := b.conv(path+".branch3x3_1", x, conv1x1(384))
	double := b.conv(path+".branch3x3dbl_1", x, conv1x1(448))
	double = b.conv(path+".branch3x3dbl_2", double, conv3x3(384))
	return b.Concat(one,
		b.conv(path+".branch3x3_2a", three, row(384, 3)), b.conv(path+".branch3x3_2b", three, column(384, 3)),
		b.conv(path+".branch3x3dbl_3a", double, row(384, 3)), b.conv(path+".branch3x3dbl_3b", double, column(384, 3)),
		b.pooled(path, x, 192))
}
