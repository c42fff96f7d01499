package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// BatchNormTrain is y = relu(gamma*(x-mean)*rstd + beta + residual) with the batch's own
// statistics, of which it saves mean and rstd = 1/sqrt(var+Eps), one value a channel, for
// the backward pass. y and residual are feature maps, x is one or a slice; residual may be 0, and the ReLU
// is applied when relu is set. The running statistics move by Momentum towards the
// batch's mean and unbiased variance; the variance stays as it is when a channel has a
// single value. y may be x or residual.
func BatchNormTrain(g op.BatchNorm, t Type, y Pointer, x Slice, residual Pointer, relu bool, gamma, beta, runningMean, runningVar, mean, rstd, scratch Pointer) []Launch {
	pixels, channels := g.In.Pixels(), g.In.C
	c := coverSlices(t, t.width(), channels, x)
	length := c.reducing(pixels)
	return []Launch{
		c.launch(vectorInstance("batch_norm_moments", t, c.vector), pixels, channels, length, scratch, x.At, int32(x.Channels)),
		combining("batch_norm_statistics", channels, uint32(pixels), int32(channels), uint32(length), int32(divideUp(pixels, length)),
			mean, rstd, runningMean, runningVar, scratch, g.Eps, g.Momentum),
		c.launch(vectorInstance("batch_norm_train", t, c.vector), pixels, channels, c.mapping(pixels),
			y, x.At, int32(x.Channels), residual, flag(relu), gamma, beta, mean, rstd),
	}
}

// BatchNormEval is [BatchNormTrain] with the running statistics in the place of the
// batch's. It changes nothing but y.
func BatchNormEval(g op.BatchNorm, t Type, y Pointer, x Slice, residual Pointer, relu bool, gamma, beta, runningMean, runningVar Pointer) []Launch {
	pixels, channels := g.In.Pixels(), g.In.C
	c := coverSlices(t, t.width(), channels, x)
	return one(c.launch(vectorInstance("batch_norm_eval", t, c.vector), pixels, channels, c.mapping(pixels),
		y, x.At, int32(x.Channels), residual, flag(relu), gamma, beta, runningMean, runningVar, g.Eps))
}

// BatchNormBackward is the gradient of [BatchNormTrain]: dx and dresidual feature maps,
// dgamma and dbeta (C). Where the forward pass ended with a ReLU, either y is its result,
// whose mask is y > 0, or y is 0 and beta is given, from which with x the mask is
// computed again, which reads less but is wrong where there was a residual. Without a
// ReLU both are 0. dresidual gets the masked dy; it may be 0, and it may be dy. dx may be
// dy, x or y, not dresidual. dy and dx get what is added to them, dy before the mask.
func BatchNormBackward(g op.BatchNorm, t Type, dx, dresidual, dgamma, dbeta, dy Pointer, x Slice, y, gamma, beta, mean, rstd Pointer, toDX, toDY Slice, scratch Pointer) []Launch {
	b := newNormGradient(g, t, dresidual, dy, x, y, gamma, beta, mean, rstd, toDX, toDY)
	return append(b.sums(dgamma, dbeta, scratch), b.apply(dx, dgamma, dbeta))
}

// BatchNormFrozenBackward is the gradient of [BatchNormEval], whose statistics are
// constants. Operands are those of [BatchNormBackward].
func BatchNormFrozenBackward(g op.BatchNorm, t Type, dx, dresidual, dgamma, dbeta, dy Pointer, x Slice, y, gamma, beta, runningMean, runningVar Pointer, toDX, toDY Slice, scratch Pointer) []Launch {
	channels := int64(g.In.C)
	rstd, partial := scratch, scratch.Offset((4*channels+255)/256*256)
	b := newNormGradient(g, t, dresidual, dy, x, y, gamma, beta, runningMean, rstd, toDX, toDY)
	launches := append([]Launch{line("inverse_deviation", channels, channels, rstd, runningVar, g.Eps)}, b.sums(dgamma, dbeta, partial)...)
	return append(launches, b.apply(dx, 0, 0))
}

// normGradient is the operands that both passes of a batch norm's gradient read.
type normGradient struct {
	cover
	pixels, channels                          int
	t                                         Type
	dresidual, dy, y, gamma, beta, mean, rstd Pointer
	x, toDX, toDY                             Slice
}

// quad is the number of channels that a thread takes of which it keeps many numbers.
const quad = 4

func newNormGradient(g op.BatchNorm, t Type, dresidual, dy Pointer, x Slice, y, gamma, beta, mean, rstd Pointer, toDX, toDY Slice) normGradient {
	c := coverSlices(t, quad, g.In.C, x, toDX, toDY)
	return normGradient{c, g.In.Pixels(), g.In.C, t, dresidual, dy, y, gamma, beta, mean, rstd, x, toDX, toDY}
}

// sums is dgamma, dbeta and dresidual.
func (b normGradient) sums(dgamma, dbeta, partial Pointer) []Launch {
	length := b.reducing(b.pixels)
	return []Launch{
		b.launch(vectorInstance("batch_norm_gradient_sums", b.t, b.vector), b.pixels, b.channels, length,
			partial, b.dresidual, b.dy, b.toDY.At, int32(b.toDY.Channels), b.x.At, int32(b.x.Channels), b.y, b.gamma, b.beta, b.mean, b.rstd),
		combining("batch_norm_gradients", b.channels, int32(divideUp(b.pixels, length)), int32(b.channels), dgamma, dbeta, partial, b.rstd),
	}
}

// apply is dx; dgamma and dbeta are 0 where the statistics are constants. Where dresidual
// has the masked dy, no mask is needed.
func (b normGradient) apply(dx, dgamma, dbeta Pointer) Launch {
	if b.dresidual != 0 {
		b.dy, b.toDY, b.y, b.beta = b.dresidual, Slice{}, 0, 0
	}
	return b.launch(vectorInstance("batch_norm_backward", b.t, b.vector), b.pixels, b.channels, b.mapping(b.pixels),
		dx, b.toDX.At, int32(b.toDX.Channels), b.dy, b.toDY.At, int32(b.toDY.Channels), b.x.At, int32(b.x.Channels), b.y, b.gamma, b.beta, b.mean, b.rstd, dgamma, dbeta)
}

// FoldBatchNorm scales a convolution's weight by the batch norm behind it, so that
// conv(x, weight) + bias is the normalised result: weight = w*s, in t, and bias =
// beta - mean*s with s = gamma/sqrt(variance+Eps).
func FoldBatchNorm(g op.Conv, norm op.BatchNorm, t Type, weight, bias, w, gamma, beta, mean, variance Pointer) []Launch {
	n := int64(g.Weight().Len())
	return one(line(instance("fold_batch_norm", t), n, n, int32(n/int64(g.Out)), weight, bias, w, gamma, beta, mean, variance, norm.Eps))
}

// ConvEpilogue is y = [relu](y + bias + residual) in place, with bias (Out) and the
// feature map residual; either may be 0.
func ConvEpilogue(s op.Shape, t Type, y, bias, residual Pointer, relu bool) []Launch {
	c := coverOf(t, s.C)
	return one(c.launch(vectorInstance("conv_epilogue", t, c.vector), s.Pixels(), s.C, c.mapping(s.Pixels()), y, bias, residual, flag(relu)))
}

// BiasGradient is the gradient of a per-channel bias: db (C), dy summed over all pixels.
func BiasGradient(s op.Shape, t Type, db, dy, scratch Pointer) []Launch {
	c := coverOf(t, s.C)
	length := c.reducing(s.Pixels())
	return []Launch{
		c.launch(vectorInstance("channel_sums", t, c.vector), s.Pixels(), s.C, length, scratch, dy),
		combining("sum_chunks", s.C, int32(divideUp(s.Pixels(), length)), int32(s.C), db, scratch),
	}
}
