package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// eachPixel is a launch that computes every pixel of a feature map alone.
func eachPixel(kernel string, s op.Shape, t Type, args ...any) []Launch {
	c := coverOf(t, s.C)
	return one(c.launch(vectorInstance(kernel, t, c.vector), s.Pixels(), s.C, c.down, args...))
}

// window is a pooling's geometry as kernels take it.
func window(g op.Pool) []any {
	out := g.OutShape()
	return []any{int32(g.In.H), int32(g.In.W), int32(out.H), int32(out.W), int32(g.Kernel), int32(g.Stride), int32(g.Pad)}
}

// MaxPoolWindow is the largest window of [MaxPool].
const MaxPoolWindow = 16

// MaxPool is the maximum of every window; padding never wins and NaN does. If argmax is
// not 0 it gets, for every element of y in a byte, the position in the window that has the
// maximum, in row order, the first of several.
func MaxPool(g op.Pool, t Type, y, argmax, x Pointer) []Launch {
	return eachPixel("max_pool", g.OutShape(), t, append([]any{y, argmax, x}, window(g)...)...)
}

// MaxPoolBackward is the gradient of [MaxPool], which left argmax.
func MaxPoolBackward(g op.Pool, t Type, dx, dy, argmax Pointer) []Launch {
	kernel, side := "max_pool_backward", 1
	if g.Stride == 2 {
		kernel, side = "max_pool_backward_2x2", 2
	}
	patches := func(length int) int { return (g.Pad+length-1)/side - g.Pad/side + 1 }
	s := op.Shape{N: g.In.N, C: g.In.C, H: patches(g.In.H), W: patches(g.In.W)}
	return eachPixel(kernel, s, t, append(append([]any{dx, dy, argmax}, window(g)...), int32(s.H), int32(s.W))...)
}

// AvgPool is the mean of every window, of its whole area with CountPad and of the part
// inside the image without.
func AvgPool(g op.Pool, t Type, y, x Pointer) []Launch {
	if centred(g) {
		s, c := g.In, coverOf(t, g.In.C)
		rows := descent(s.H, divideUp(s.N*s.W, c.down)*c.groups)
		return one(c.launch(vectorInstance("avg_pool_3x3", t, c.vector), s.N*divideUp(s.H, rows)*s.W, s.C, c.down,
			y, x, int32(s.H), int32(s.W), int32(rows)))
	}
	return eachPixel("avg_pool", g.OutShape(), t, append(append([]any{y, x}, window(g)...), flag(g.CountPad))...)
}

// centred reports whether windows are the 3x3 pixels around each pixel, counted as nine
// everywhere, so that their means' gradient is such means again.
func centred(g op.Pool) bool { return g.Kernel == 3 && g.Stride == 1 && g.Pad == 1 && g.CountPad }

// AvgPoolBackward is the gradient of [AvgPool].
func AvgPoolBackward(g op.Pool, t Type, dx, dy Pointer) []Launch {
	if centred(g) {
		return AvgPool(g, t, dx, dy)
	}
	return eachPixel("avg_pool_backward", g.In, t, append(append([]any{dx, dy}, window(g)...), flag(g.CountPad))...)
}

// GlobalAvgPool is the mean of every channel of every image: a planar y (N, C) of a
// feature map x.
func GlobalAvgPool(s op.Shape, t Type, y, x Pointer) []Launch {
	c := coverOf(t, s.C)
	return one(c.launch(vectorInstance("global_avg_pool", t, c.vector), s.Pixels(), s.C, s.H*s.W, y, x))
}

// GlobalAvgPoolBackward is the gradient of [GlobalAvgPool]: a feature map dx of a planar
// dy (N, C).
func GlobalAvgPoolBackward(s op.Shape, t Type, dx, dy Pointer) []Launch {
	return eachPixel("global_avg_pool_backward", s, t, dx, dy, int32(s.H*s.W))
}

// Upsample enlarges every image as [op.Upsample] says. y may be a slice.
func Upsample(g op.Upsample, t Type, y Slice, x Pointer) []Launch {
	s := g.OutShape()
	c := coverSlices(t, t.width(), s.C, y)
	return one(c.launch(vectorInstance("upsample", t, c.vector), s.Pixels(), s.C, c.mapping(s.Pixels()),
		y.At, int32(y.Channels), x, int32(g.In.H), int32(g.In.W), int32(g.Scale), flag(g.Bilinear)))
}

// UpsampleBackward is the gradient of [Upsample]. dy may be a slice.
func UpsampleBackward(g op.Upsample, t Type, dx Pointer, dy Slice) []Launch {
	s := g.In
	c := coverSlices(t, t.width(), s.C, dy)
	return one(c.launch(vectorInstance("upsample_backward", t, c.vector), s.Pixels(), s.C, c.mapping(s.Pixels()),
		dx, dy.At, int32(dy.Channels), int32(s.H), int32(s.W), int32(g.Scale), flag(g.Bilinear)))
}

// Dropout zeroes elements at a rate in [0, 1) and scales the others by 1/(1-rate). Whether
// an element is kept depends on its planar index and on mix(seed ^ mix(salt)) alone, as
// reference.Kept says of a seed; mix is the finaliser of SplitMix64 after its step, and
// seed points to a uint64. y may be x.
func Dropout(s op.Shape, t Type, y, x Pointer, rate float32, salt uint64, seed Pointer) []Launch {
	return eachPixel("dropout", s, t, y, x, int32(s.H*s.W), rate, mix(salt), seed)
}

// DropoutBackward is the gradient of [Dropout] with the same rate, salt and seed.
func DropoutBackward(s op.Shape, t Type, dx, dy Pointer, rate float32, salt uint64, seed Pointer) []Launch {
	return Dropout(s, t, dx, dy, rate, salt, seed)
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
