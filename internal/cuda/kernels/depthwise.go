package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// strip is the number of neighbouring columns of a result that a thread computes.
const strip = 4

// DepthwiseForward is y = conv(x, w) where every channel has a filter of its own (Groups,
// In.C and Out are the same), with float32 weights.
func DepthwiseForward(g op.Conv, t Type, y, x, w Pointer) []Launch {
	if slides(g) {
		return sliding("depthwise_forward", t, g.OutShape(), g.In, g.PadH, g.PadW, y, x, w)
	}
	return correlation("depthwise_forward", g, t, g.OutShape(), g.In, y, x, w)
}

// DepthwiseBackwardData is the gradient of [DepthwiseForward] by x.
func DepthwiseBackwardData(g op.Conv, t Type, dx, dy, w Pointer) []Launch {
	if slides(g) {
		return sliding("depthwise_backward_data", t, g.In, g.OutShape(), side-1-g.PadH, side-1-g.PadW, dx, dy, w)
	}
	return correlation("depthwise_backward_data", g, t, g.In, g.OutShape(), dx, dy, w)
}

// correlation computes y, of shape to, from x, of shape from.
func correlation(kernel string, g op.Conv, t Type, to, from op.Shape, y, x, w Pointer) []Launch {
	const shared = 48 << 10
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
	if slides(g) {
		return slidingWeights(g, t, dw, x, dy, scratch)
	}
	const tile = 3 // taps, in both directions, that a block sums at once
	out := g.OutShape()
	c := coverBy(pair(t, out.C), out.C, 32)
	pixels, weights := out.Pixels(), g.Weight().Len()
	tiles := divideUp(g.KernelH, tile) * divideUp(g.KernelW, tile)
	length := cover{c.vector, c.across, c.down, c.groups * tiles}.reducing(pixels)
	sums := c.launch(vectorInstance("depthwise_backward_weights", t, c.vector), pixels, out.C, length,
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

// pair is the number of channels that a thread takes of which it keeps all taps.
func pair(t Type, channels int) int {
	if t == BF16 && channels%2 == 0 {
		return 2
	}
	return 1
}

// side is that of the kernels that slide.
const side = 3

// slides reports whether threads can compute a convolution, in all directions, on the way
// down a strip of columns.
func slides(g op.Conv) bool {
	return g.KernelH == side && g.KernelW == side && g.StrideH == 1 && g.StrideW == 1 && g.DilationH == 1 && g.DilationW == 1
}

// descents are the ways down the rows of a feature map's strips.
type descents struct {
	cover
	count, rows int // of one, rows
}

// descend takes blocks of half the usual size, as threads keep much.
func descend(t Type, s op.Shape) descents {
	const threads = 128
	c := cover{vector: pair(t, s.C), down: 1}
	vectors := divideUp(s.C, c.vector)
	c.across = min(vectors, 32)
	c.groups = divideUp(vectors, c.across)
	for 2*c.down*c.across <= threads {
		c.down *= 2
	}
	strips := s.N * divideUp(s.W, strip)
	rows := descent(s.H, divideUp(strips, c.down)*c.groups)
	return descents{c, strips * divideUp(s.H, rows), rows}
}

// launch runs a kernel in which every thread takes one descent after another, in chunks of
// a length.
func (d descents) launch(kernel string, t Type, to, from op.Shape, padH, padW, length int, operands ...any) Launch {
	return d.cover.launch(vectorInstance(kernel+"_sliding", t, d.vector), d.count, to.C, length, append(operands,
		int32(d.rows), int32(to.H), int32(to.W), int32(from.H), int32(from.W), int32(padH), int32(padW))...)
}

// sliding computes y, of shape to, from x, of shape from and with padding.
func sliding(kernel string, t Type, to, from op.Shape, padH, padW int, y, x, w Pointer) []Launch {
	d := descend(t, to)
	return one(d.launch(kernel, t, to, from, padH, padW, d.down, y, x, w))
}

// slidingWeights sums over chunks of descents, twice as many as fill the GPU.
func slidingWeights(g op.Conv, t Type, dw, x, dy, scratch Pointer) []Launch {
	out, n := g.OutShape(), g.Weight().Len()
	d := descend(t, out)
	length := max(divideUp(d.count, divideUp(4*fullBlocks, d.groups)), d.down)
	return []Launch{
		d.launch("depthwise_backward_weights", t, out, g.In, g.PadH, g.PadW, length, scratch, x, dy),
		combining("sum_chunks", n, int32(divideUp(d.count, length)), int32(n), dw, scratch),
	}
}
