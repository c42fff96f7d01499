package reference

import "github.com/surrogaze/surrogaze/internal/op"

// Conv is y = conv(x, w) + bias as [op.Conv] defines it: x (N, C, H, W),
// w (Out, C/Groups, KernelH, KernelW), bias (Out) or nil.
func Conv[T Float](g op.Conv, y, x, w, bias []T) {
	acc := make([]float64, len(y))
	eachProduct(g, func(yi, xi, wi int) { acc[yi] += float64(x[xi]) * float64(w[wi]) })
	out := g.OutShape()
	for i := range y {
		if bias != nil {
			acc[i] += float64(bias[i/(out.H*out.W)%out.C])
		}
		y[i] = T(acc[i])
	}
}

// ConvBackwardData is the gradient of [Conv] by x.
func ConvBackwardData[T Float](g op.Conv, dx, dy, w []T) {
	acc := make([]float64, len(dx))
	eachProduct(g, func(yi, xi, wi int) { acc[xi] += float64(dy[yi]) * float64(w[wi]) })
	narrow(dx, acc)
}

// ConvBackwardWeights is the gradient of [Conv] by w.
func ConvBackwardWeights[T Float](g op.Conv, dw, x, dy []T) {
	acc := make([]float64, len(dw))
	eachProduct(g, func(yi, xi, wi int) { acc[wi] += float64(dy[yi]) * float64(x[xi]) })
	narrow(dw, acc)
}

// eachProduct visits the positions in y, x and w of every product that a
// convolution sums, zeros outside the image left out.
func eachProduct(g op.Conv, visit func(yi, xi, wi int)) {
	out, perGroup := g.OutShape(), g.In.C/g.Groups
	for n := range out.N {
		for k := range out.C {
			group := k / (out.C / g.Groups)
			for oi := range out.H * out.W {
				i, j := oi/out.W, oi%out.W
				for wi := range perGroup * g.KernelH * g.KernelW {
					c, u, v := wi/(g.KernelH*g.KernelW), wi/g.KernelW%g.KernelH, wi%g.KernelW
					h := i*g.StrideH - g.PadH + u*g.DilationH
					w := j*g.StrideW - g.PadW + v*g.DilationW
					if h < 0 || h >= g.In.H || w < 0 || w >= g.In.W {
						continue
					}
					visit((n*out.C+k)*out.H*out.W+oi,
						((n*g.In.C+group*perGroup+c)*g.In.H+h)*g.In.W+w,
						k*perGroup*g.KernelH*g.KernelW+wi)
				}
			}
		}
	}
}

func narrow[T Float](dst []T, src []float64) {
	for i, v := range src {
		dst[i] = T(v)
	}
}

// BiasGradient is the gradient of a per-channel bias: dy (N, C, H, W) summed
// over images and pixels.
func BiasGradient[T Float](s op.Shape, db, dy []T) {
	acc := make([]float64, s.C)
	for i, v := range dy {
		acc[i/(s.H*s.W)%s.C] += float64(v)
	}
	narrow(db, acc)
}
