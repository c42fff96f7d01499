package reference

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// MaxPool is the maximum of every window; padding never wins and NaN does.
func MaxPool[T Float](g op.Pool, y, x []T) {
	eachWindow(g, func(yi int, window []int) {
		y[yi] = x[window[0]]
		for _, xi := range window[1:] {
			if x[xi] > y[yi] || x[xi] != x[xi] {
				y[yi] = x[xi]
			}
		}
	})
}

// MaxPoolBackward is the gradient of [MaxPool]: the first position in row order
// whose value is not below the maximum y takes dy.
func MaxPoolBackward[T Float](g op.Pool, dx, dy, x, y []T) {
	acc := make([]float64, len(dx))
	eachWindow(g, func(yi int, window []int) {
		for _, xi := range window {
			if !(x[xi] < y[yi]) {
				acc[xi] += float64(dy[yi])
				return
			}
		}
	})
	narrow(dx, acc)
}

// AvgPool is the mean of every window, of its whole area with CountPad and of
// the part inside the image without.
func AvgPool[T Float](g op.Pool, y, x []T) {
	eachWindow(g, func(yi int, window []int) {
		var sum float64
		for _, xi := range window {
			sum += float64(x[xi])
		}
		y[yi] = T(sum / divisor(g, window))
	})
}

// AvgPoolBackward is the gradient of [AvgPool].
func AvgPoolBackward[T Float](g op.Pool, dx, dy []T) {
	acc := make([]float64, len(dx))
	eachWindow(g, func(yi int, window []int) {
		for _, xi := range window {
			acc[xi] += float64(dy[yi]) / divisor(g, window)
		}
	})
	narrow(dx, acc)
}

func divisor(g op.Pool, window []int) float64 {
	if g.CountPad {
		return float64(g.Kernel * g.Kernel)
	}
	return float64(len(window))
}

// eachWindow visits every output position with the input positions of its
// window, in row order, padding left out.
func eachWindow(g op.Pool, visit func(yi int, window []int)) {
	out := g.OutShape()
	window := make([]int, 0, g.Kernel*g.Kernel)
	for yi := range out.Len() {
		plane, i, j := yi/(out.H*out.W), yi/out.W%out.H, yi%out.W
		window = window[:0]
		for k := range g.Kernel * g.Kernel {
			h := i*g.Stride - g.Pad + k/g.Kernel
			w := j*g.Stride - g.Pad + k%g.Kernel
			if h >= 0 && h < g.In.H && w >= 0 && w < g.In.W {
				window = append(window, (plane*g.In.H+h)*g.In.W+w)
			}
		}
		visit(yi, window)
	}
}

// GlobalAvgPool is the mean of every channel of every image: x (N, C, H, W),
// y (N, C).
func GlobalAvgPool[T Float](s op.Shape, y, x []T) {
	plane := s.H * s.W
	for i := range s.N * s.C {
		var sum float64
		for _, v := range x[i*plane : (i+1)*plane] {
			sum += float64(v)
		}
		y[i] = T(sum / float64(plane))
	}
}

// GlobalAvgPoolBackward is the gradient of [GlobalAvgPool].
func GlobalAvgPoolBackward[T Float](s op.Shape, dx, dy []T) {
	plane := s.H * s.W
	for i := range dx {
		dx[i] = T(float64(dy[i/plane]) / float64(plane))
	}
}

// Upsample enlarges every plane as [op.Upsample] says.
func Upsample[T Float](g op.Upsample, y, x []T) {
	acc := make([]float64, len(y))
	eachTap(g, func(yi, xi int, weight float64) { acc[yi] += weight * float64(x[xi]) })
	narrow(y, acc)
}

// UpsampleBackward is the gradient of [Upsample].
func UpsampleBackward[T Float](g op.Upsample, dx, dy []T) {
	acc := make([]float64, len(dx))
	eachTap(g, func(yi, xi int, weight float64) { acc[xi] += weight * float64(dy[yi]) })
	narrow(dx, acc)
}

// eachTap visits the weights that make up every output position.
func eachTap(g op.Upsample, visit func(yi, xi int, weight float64)) {
	out := g.OutShape()
	for yi := range out.Len() {
		plane, i, j := yi/(out.H*out.W), yi/out.W%out.H, yi%out.W
		for _, v := range sourceTaps(g, i, g.In.H) {
			for _, h := range sourceTaps(g, j, g.In.W) {
				visit(yi, (plane*g.In.H+v.at)*g.In.W+h.at, v.weight*h.weight)
			}
		}
	}
}

type tap struct {
	at     int
	weight float64
}

// sourceTaps are the positions on a source axis of a given size between which
// position i of the enlarged axis lies, half-pixel centres, clamped.
func sourceTaps(g op.Upsample, i, size int) []tap {
	if !g.Bilinear {
		return []tap{{i / g.Scale, 1}}
	}
	at := math.Max(0, (float64(i)+0.5)/float64(g.Scale)-0.5)
	low := int(at)
	return []tap{{low, 1 - (at - float64(low))}, {min(low+1, size-1), at - float64(low)}}
}
