package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// DepthwiseForward is y = conv(x, w) where every channel has a filter of its own (Groups,
// In.C and Out are the same), with float32 weights.
func DepthwiseForward(g op.Conv, t Type, y, x, w Pointer) []Launch {
	return correlation("depthwise_forward", g, t, g.OutShape(), g.In, y, x, w)
}

// DepthwiseBackwardData is the gradient of [DepthwiseForward] by x.
func DepthwiseBackwardData(g op.Conv, t Type, dx, dy, w Pointer) []Launch {
	return correlation("depthwise_backward_data", g, t, g.In, g.OutShape(), dx, dy, w)
}

// correlation computes y, of shape to, from x, of shape from.
func correlation(kernel string, g op.Conv, t Type, to, from op.Shape, y, x, w Pointer) []Launch {
	const strip, shared = 4, 48 << 10
	v := width(t, to.C)
	channel := 4 * g.KernelH * g.KernelW // bytes of weights
	c := coverBy(v, to.C, max(min(32, shared/(v*channel)), 1))
	strips := to.N * to.H * divideUp(to.W, strip)
	l := c.launch(vectorInstance(kernel, t, v), strips, to.C, c.mapping(strips),
		append([]any{y, x, w, int32(to.H), int32(to.W)}, axes(g, from)...)...)
	l.Shared = c.across * v * channel
	return one(l)
}

// DepthwiseBackwardWeights is the gradient of [DepthwiseForward] by w, float32.
func DepthwiseBackwardWeights(g op.Conv, t Type, dw, x, dy, scratch Pointer) []Launch {
	const tile = 3 // taps, in both directions, that a block sums at once
	out := g.OutShape()
	v := 1
	if t == BF16 && out.C%2 == 0 {
		v = 2 // with more, the sums of all taps do not fit in a thread's registers
	}
	c := coverBy(v, out.C, 32)
	pixels, weights := out.Pixels(), g.Weight().Len()
	tiles := divideUp(g.KernelH, tile) * divideUp(g.KernelW, tile)
	length := cover{c.vector, c.across, c.down, c.groups * tiles}.reducing(pixels)
	sums := c.launch(vectorInstance("depthwise_backward_weights", t, v), pixels, out.C, length,
		append([]any{scratch, x, dy, int32(out.H), int32(out.W)}, axes(g, g.In)...)...)
	sums.Grid[2] = tiles
	return []Launch{sums, combining("sum_chunks", weights, int32(divideUp(pixels, length)), int32(weights), dw, scratch)}
}

// axes is a convolution's geometry as kernels take it that read an operand from.
func axes(g op.Conv, from op.Shape) []any {
	return []any{
		int32(g.KernelH), int32(g.StrideH), int32(g.PadH), int32(g.DilationH), int32(from.H),
		int32(g.KernelW), int32(g.StrideW), int32(g.PadW), int32(g.DilationW), int32(from.W),
	}
}
