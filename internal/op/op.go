// Package op describes the geometry of the engine's operators as plain values.
//
// An operator here is what it computes and on which shapes, never how: the
// same value drives shape inference in the graph builder, the Go reference,
// and the kernels of every backend. Shapes are logical (N, C, H, W) whatever
// the physical layout of a backend is.
package op

import "fmt"

// Shape is a logical tensor shape: images, channels, height, width.
// Vectors use the leading axes, with the others 1: per-image scalars are
// (N, 1, 1, 1), logits (N, classes, 1, 1).
type Shape struct{ N, C, H, W int }

// Len is the number of elements.
func (s Shape) Len() int { return s.N * s.C * s.H * s.W }

// Pixels is the number of positions in all images of the batch.
func (s Shape) Pixels() int { return s.N * s.H * s.W }

func (s Shape) String() string { return fmt.Sprintf("(%d, %d, %d, %d)", s.N, s.C, s.H, s.W) }

// Validate reports whether every axis is at least 1.
func (s Shape) Validate() error {
	if s.N < 1 || s.C < 1 || s.H < 1 || s.W < 1 {
		return fmt.Errorf("shape %v: want every axis at least 1", s)
	}
	return nil
}

// Conv is a two-dimensional cross-correlation, as torch.nn.Conv2d.
//
//	y[n,k,i,j] = sum over c,u,v of x[n, c, i*StrideH-PadH+u*DilationH, j*StrideW-PadW+v*DilationW] * w[k,c,u,v]
//
// with zeros outside the image. The weight is (Out, C/Groups, KernelH, KernelW).
type Conv struct {
	In                   Shape
	Out                  int
	KernelH, KernelW     int
	StrideH, StrideW     int
	PadH, PadW           int
	DilationH, DilationW int
	Groups               int
}

// Weight is the shape of the weight tensor.
func (c Conv) Weight() Shape { return Shape{c.Out, c.In.C / c.Groups, c.KernelH, c.KernelW} }

// OutShape is the shape of the result.
func (c Conv) OutShape() Shape {
	return Shape{
		c.In.N, c.Out,
		(c.In.H+2*c.PadH-c.DilationH*(c.KernelH-1)-1)/c.StrideH + 1,
		(c.In.W+2*c.PadW-c.DilationW*(c.KernelW-1)-1)/c.StrideW + 1,
	}
}

// FLOPs counts the multiplications and additions of one forward pass,
// padding included.
func (c Conv) FLOPs() float64 {
	return 2 * float64(c.OutShape().Len()) * float64(c.In.C/c.Groups*c.KernelH*c.KernelW)
}

// Validate reports the first thing wrong with the geometry.
func (c Conv) Validate() error {
	if err := c.In.Validate(); err != nil {
		return err
	}
	switch {
	case c.Out < 1, c.KernelH < 1, c.KernelW < 1, c.StrideH < 1, c.StrideW < 1, c.DilationH < 1, c.DilationW < 1, c.Groups < 1:
		return fmt.Errorf("convolution %+v: want channels, kernel, stride, dilation and groups at least 1", c)
	case c.PadH < 0 || c.PadW < 0:
		return fmt.Errorf("convolution %+v: want padding at least 0", c)
	case c.In.C%c.Groups != 0 || c.Out%c.Groups != 0:
		return fmt.Errorf("convolution of %d to %d channels: want both divisible by %d groups", c.In.C, c.Out, c.Groups)
	case c.In.H+2*c.PadH < c.DilationH*(c.KernelH-1)+1 || c.In.W+2*c.PadW < c.DilationW*(c.KernelW-1)+1:
		return fmt.Errorf("convolution of %v: kernel %dx%d is larger than the padded image", c.In, c.KernelH, c.KernelW)
	}
	return nil
}

// Pool is a max or average pooling window, as torch.nn.MaxPool2d and
// torch.nn.AvgPool2d(count_include_pad=CountPad). Padding never wins a
// maximum.
type Pool struct {
	In       Shape
	Kernel   int
	Stride   int
	Pad      int
	CountPad bool
}

// OutShape is the shape of the result (floor mode).
func (p Pool) OutShape() Shape {
	return Shape{p.In.N, p.In.C, (p.In.H+2*p.Pad-p.Kernel)/p.Stride + 1, (p.In.W+2*p.Pad-p.Kernel)/p.Stride + 1}
}

// Validate reports the first thing wrong with the geometry.
func (p Pool) Validate() error {
	if err := p.In.Validate(); err != nil {
		return err
	}
	switch {
	case p.Kernel < 1 || p.Stride < 1 || p.Pad < 0:
		return fmt.Errorf("pooling %+v: want kernel and stride at least 1, padding at least 0", p)
	case 2*p.Pad > p.Kernel:
		return fmt.Errorf("pooling %+v: want padding at most half the kernel", p)
	case p.In.H+2*p.Pad < p.Kernel || p.In.W+2*p.Pad < p.Kernel:
		return fmt.Errorf("pooling of %v: window %d is larger than the padded image", p.In, p.Kernel)
	}
	return nil
}

// Upsample enlarges by a whole factor, as torch.nn.functional.interpolate with
// mode "bilinear" (align_corners=False) or "nearest".
type Upsample struct {
	In       Shape
	Scale    int
	Bilinear bool
}

// OutShape is the shape of the result.
func (u Upsample) OutShape() Shape { return Shape{u.In.N, u.In.C, u.In.H * u.Scale, u.In.W * u.Scale} }

// Linear is y = x·wᵀ + b with x (N, In), w (Out, In), b (Out), y (N, Out).
type Linear struct{ N, In, Out int }

// BatchNorm normalises every channel over the batch and its pixels:
// y = gamma*(x-mean)/sqrt(var+Eps) + beta, variance biased. Training moves the
// running statistics by Momentum towards the batch's (variance unbiased), as
// torch.nn.BatchNorm2d does.
type BatchNorm struct {
	In       Shape
	Eps      float32
	Momentum float32
}

// CAM is the class activation map of a linear classifier on pooled features,
// scaled image by image to [0, 1]:
//
//	raw[n,i,j] = sum over c of w[class[n], c] * f[n, c, i, j]
//	cam = (raw - min raw) / (max raw - min raw)
//
// A constant map becomes zeros and passes no gradient. f is Features, w is
// (Classes, C), class (N) holds indices, the result is (N, 1, H, W).
// Source: CYBORG, arXiv 2112.00686.
type CAM struct {
	Features Shape
	Classes  int
}

// OutShape is the shape of the map.
func (c CAM) OutShape() Shape { return Shape{c.Features.N, 1, c.Features.H, c.Features.W} }

// MapLossKind names a distance between two maps.
type MapLossKind uint8

// The distances. p is the prediction, t the target, both in [0, 1]; sums and
// means run over the map's pixels, one value an image.
const (
	MSE MapLossKind = iota // mean (p-t)²
	BCE                    // mean -(t log p + (1-t) log(1-p))
	KL                     // sum t' log(eps + t'/(p'+eps)) of maps scaled to sum 1
	CC                     // 1 - Pearson correlation
)

var mapLossNames = [...]string{"mse", "bce", "kl", "cc"}

func (k MapLossKind) String() string { return mapLossNames[k] }

// ParseMapLoss finds a distance by its name in configurations.
func ParseMapLoss(name string) (MapLossKind, error) {
	for k, s := range mapLossNames {
		if s == name {
			return MapLossKind(k), nil
		}
	}
	return 0, fmt.Errorf("map loss %q: want one of %q", name, mapLossNames)
}

// MapLoss compares N maps of H x W pixels with their targets. With Logits the
// prediction is given before its sigmoid, which BCE needs to stay finite.
type MapLoss struct {
	Kind    MapLossKind
	N, H, W int
	Logits  bool
}
