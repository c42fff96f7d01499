//go:build gpu

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestPlanarTensorsBecomeFeatureMapsAndComeBack(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		x := g.random(s.Len(), typ)
		y, back := g.room(s, typ), g.room(s, F32)
		g.run(ToNHWC(s, typ, y, g.numbers(F32, x...)))
		g.equal("to NHWC", g.readMaps(y, s, typ), x)
		g.run(ToNCHW(s, typ, back, y))
		g.equal("back", g.readNumbers(back, F32, s.Len()), x)
	})
}

func TestImagesAreFilledUpWithZeros(t *testing.T) {
	g := open(t)
	s := op.Shape{N: 2, C: 3, H: 5, W: 7}
	padded := s
	padded.C = ImageChannels
	x, want := g.random(s.Len(), BF16), make([]float64, padded.Len())
	for n := range s.N {
		copy(want[n*padded.Len()/s.N:], x[n*s.Len()/s.N:(n+1)*s.Len()/s.N])
	}
	y := g.room(padded, BF16)
	g.run(ImageToNHWC(s, y, g.numbers(F32, x...)))
	g.equal("padded", g.readMaps(y, padded, BF16), want)
	for _, typ := range []Type{F32, BF16} {
		fewer, again := g.room(s, typ), g.room(padded, typ)
		g.run(ResizeChannels(s.Pixels(), typ, fewer, s.C, y, ImageChannels))
		g.equal("fewer channels", g.readMaps(fewer, s, typ), x)
		g.run(ResizeChannels(s.Pixels(), typ, again, ImageChannels, g.maps(s, BF16, x), s.C))
		g.equal("more channels", g.readMaps(again, padded, typ), want)
	}
}

func TestConversionRoundsToTheNearest(t *testing.T) {
	g := open(t)
	x := append(g.random(1000, F32), 1+1.0/256, 1+3.0/256, math.Inf(1), -0.5)
	for _, from := range []Type{F32, BF16} {
		for _, to := range []Type{F32, BF16} {
			y := g.bytes(len(x) * 4)
			g.run(Convert(int64(len(x)), to, y, from, g.numbers(from, x...)))
			want := make([]float64, len(x))
			for i, v := range x {
				want[i] = to.round(from.round(v))
			}
			g.equal(fmt.Sprintf("%v to %v", from, to), g.readNumbers(y, to, len(x)), want)
		}
	}
}

func TestElementwiseOperatorsAgreeWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		n := s.Len()
		a, b, want := g.random(n, typ), g.random(n, typ), make([]float64, n)
		y, da, db := g.room(s, typ), g.numbers(typ, a...), g.numbers(typ, b...)
		g.run(Add(int64(n), typ, y, da, db))
		reference.Add(want, a, b)
		g.near("add", typ, g.readNumbers(y, typ, n), want)
		g.run(ReLU(int64(n), typ, y, da))
		reference.ReLU(want, a)
		g.equal("ReLU", g.readNumbers(y, typ, n), want)
		g.run(ReLUBackward(int64(n), typ, y, db, da))
		reference.ReLUBackward(want, b, a)
		g.equal("ReLU backward", g.readNumbers(y, typ, n), want)
	})
}

func TestDropoutHasTheReferencesMask(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		const rate, salt, seed = 0.3, 7, 12345
		x, want := g.random(s.Len(), typ), make([]float64, s.Len())
		y := g.room(s, typ)
		at := g.upload(binary.LittleEndian.AppendUint64(nil, seed))
		g.run(Dropout(s, typ, y, g.maps(s, typ, x), rate, salt, at))
		reference.Dropout(s, want, x, rate, mix(seed^mix(salt)))
		g.near("dropout", typ, g.readMaps(y, s, typ), want)
	})
}

func TestChannelsAreCopiedBetweenRanges(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		for _, c := range []struct{ channels, yC, yFrom, xC, xFrom int }{{8, 24, 16, 8, 0}, {3, 8, 5, 8, 0}, {16, 16, 0, 40, 8}, {1, 1, 0, 1, 0}, {5, 7, 1, 6, 1}} {
			g := open(t)
			ys, xs := op.Shape{N: 2, C: c.yC, H: 5, W: 3}, op.Shape{N: 2, C: c.xC, H: 5, W: 3}
			y, x := g.random(ys.Len(), typ), g.random(xs.Len(), typ)
			dy := g.maps(ys, typ, y)
			g.run(CopyChannels(ys.Pixels(), c.channels, typ, dy, c.yC, c.yFrom, g.maps(xs, typ, x), c.xC, c.xFrom))
			for n := range 2 {
				copy(y[(n*c.yC+c.yFrom)*15:(n*c.yC+c.yFrom+c.channels)*15], x[(n*c.xC+c.xFrom)*15:])
			}
			g.equal(fmt.Sprint(c), g.readMaps(dy, ys, typ), y)
		}
	}
}

func TestAConvolutionsEpilogueAddsBiasAndResidual(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		y, bias, residual := g.random(s.Len(), typ), g.random(s.C, F32), g.random(s.Len(), typ)
		for _, with := range []struct{ bias, residual, relu bool }{{true, true, true}, {true, false, false}, {false, true, true}, {false, false, true}} {
			want := make([]float64, len(y))
			var db, dresidual Pointer
			copy(want, y)
			for i := range want {
				if with.bias {
					want[i] += bias[i/(s.H*s.W)%s.C]
				}
				if with.residual {
					want[i] += residual[i]
				}
				if with.relu {
					want[i] = max(want[i], 0)
				}
			}
			if with.bias {
				db = g.numbers(F32, bias...)
			}
			if with.residual {
				dresidual = g.maps(s, typ, residual)
			}
			dy := g.maps(s, typ, y)
			g.run(ConvEpilogue(s, typ, dy, db, dresidual, with.relu))
			g.near(fmt.Sprint(with), typ, g.readMaps(dy, s, typ), want)
		}
	})
}

func TestBiasGradientAgreesWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		dy, want, db := g.random(s.Len(), typ), make([]float64, s.C), g.bytes(4*s.C)
		g.run(BiasGradient(s, typ, db, g.maps(s, typ, dy), g.scratch))
		reference.BiasGradient(s, want, dy)
		g.nearSums("db", g.readNumbers(db, F32, s.C), want)
	})
}

func TestBatchNormAgreesWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		for _, with := range []struct{ residual, relu, again bool }{{false, false, false}, {false, true, false}, {false, true, true}, {true, true, false}, {true, false, false}} {
			g.batchNorm(s, typ, fmt.Sprint(with), with.residual, with.relu, with.again)
		}
	})
}

// batchNorm checks all functions of batch norm. The mask of the ReLU is found again from
// beta, or from the result.
func (g *gpu) batchNorm(s op.Shape, typ Type, name string, hasResidual, relu, again bool) {
	b := op.BatchNorm{In: s, Eps: 1e-3, Momentum: 0.1}
	n, c := s.Len(), s.C
	x, dy := g.random(n, typ), g.random(n, typ)
	for i := range x {
		x[i] = typ.round(x[i] + 3)
	}
	gamma, beta := g.random(c, F32), g.random(c, F32)
	runningMean, runningVar := g.random(c, F32), g.random(c, F32)
	for i := range c {
		runningVar[i] = math.Abs(runningVar[i]) + 0.1
	}
	dgamma, dbeta, mean, rstd := g.bytes(4*c), g.bytes(4*c), g.bytes(4*c), g.bytes(4*c)
	px, pdy, pgamma, pbeta := Slice{g.maps(s, typ, x), c}, g.maps(s, typ, dy), g.numbers(F32, gamma...), g.numbers(F32, beta...)
	prm, prv := g.numbers(F32, runningMean...), g.numbers(F32, runningVar...)
	y, dx := g.room(s, typ), g.room(s, typ)

	var residual, yRef []float64
	var presidual, pdresidual, py, pagain Pointer
	if hasResidual {
		residual = g.random(n, typ)
		presidual, pdresidual = g.maps(s, typ, residual), g.room(s, typ)
	}
	if relu && again {
		pagain = pbeta
	} else if relu {
		py = y
	}
	backward := func(what string, launches []Launch, reference func(dx, dresidual, dgamma, dbeta []float64)) {
		g.t.Helper()
		g.run(launches)
		want, wantResidual, wantGamma, wantBeta := make([]float64, n), make([]float64, n), make([]float64, c), make([]float64, c)
		reference(want, wantResidual, wantGamma, wantBeta)
		g.near(name+what+" dx", typ, g.readMaps(dx, s, typ), want)
		g.nearSums(name+what+" dgamma", g.readNumbers(dgamma, F32, c), wantGamma)
		g.nearSums(name+what+" dbeta", g.readNumbers(dbeta, F32, c), wantBeta)
		if hasResidual {
			g.equal(name+what+" dresidual", g.readMaps(pdresidual, s, typ), wantResidual)
		}
	}

	want := make([]float64, n)
	g.run(BatchNormEval(b, typ, y, px, presidual, relu, pgamma, pbeta, prm, prv))
	reference.BatchNormEval(b, want, x, residual, relu, gamma, beta, runningMean, runningVar)
	g.near(name+" eval", typ, g.readMaps(y, s, typ), want)
	if relu {
		yRef = g.readMaps(y, s, typ)
	}
	backward(" frozen", BatchNormFrozenBackward(b, typ, dx, pdresidual, dgamma, dbeta, pdy, px, py, pgamma, pagain, prm, prv, Slice{}, Slice{}, g.scratch),
		func(dx, dresidual, dgamma, dbeta []float64) {
			reference.BatchNormFrozenBackward(b, dx, dresidual, dgamma, dbeta, dy, x, yRef, gamma, runningMean, runningVar)
		})

	wantMean, wantRstd := make([]float64, c), make([]float64, c)
	g.run(BatchNormTrain(b, typ, y, px, presidual, relu, pgamma, pbeta, prm, prv, mean, rstd, g.scratch))
	reference.BatchNormTrain(b, want, x, residual, relu, gamma, beta, runningMean, runningVar, wantMean, wantRstd)
	g.near(name+" train", typ, g.readMaps(y, s, typ), want)
	g.near(name+" mean", F32, g.readNumbers(mean, F32, c), wantMean)
	g.near(name+" rstd", F32, g.readNumbers(rstd, F32, c), wantRstd)
	g.near(name+" running mean", F32, g.readNumbers(prm, F32, c), runningMean)
	g.near(name+" running variance", F32, g.readNumbers(prv, F32, c), runningVar)
	if relu {
		yRef = g.readMaps(y, s, typ)
	}
	backward(" train", BatchNormBackward(b, typ, dx, pdresidual, dgamma, dbeta, pdy, px, py, pgamma, pagain, mean, rstd, Slice{}, Slice{}, g.scratch),
		func(dx, dresidual, dgamma, dbeta []float64) {
			reference.BatchNormBackward(b, dx, dresidual, dgamma, dbeta, dy, x, yRef, gamma, wantMean, wantRstd)
		})

	eighths := func(s op.Shape) []float64 { // of whose sums no bit is lost
		x := g.random(s.Len(), typ)
		for i := range x {
			x[i] = math.Round(8*x[i]) / 8
		}
		return x
	}
	for _, from := range []int{0, 4, 3} {
		wide := s
		wide.C += from
		more, dy, sum := eighths(wide), eighths(s), make([]float64, n)
		part := make([]float64, n)
		reference.Channels(wide, from, c, part, more)
		reference.Add(sum, dy, part)
		px := Slice{g.maps(wide, typ, within(wide, s, from, x)).Offset(int64(from * typ.Size())), wide.C}
		added := Slice{g.maps(wide, typ, more).Offset(int64(from * typ.Size())), wide.C}
		backward(fmt.Sprintf(" with channels from %d on added", from),
			BatchNormBackward(b, typ, dx, pdresidual, dgamma, dbeta, g.maps(s, typ, dy), px, py, pgamma, pagain, mean, rstd, added, added, g.scratch),
			func(dx, dresidual, dgamma, dbeta []float64) {
				reference.BatchNormBackward(b, dx, dresidual, dgamma, dbeta, sum, x, yRef, gamma, wantMean, wantRstd)
				reference.Add(dx, dx, part)
			})
	}
}

// within is a planar tensor of shape wide that has x, of shape s, in the channels from one
// on, and 0 in the others.
func within(wide, s op.Shape, from int, x []float64) []float64 {
	all, area := make([]float64, wide.Len()), s.H*s.W
	for n := range s.N {
		copy(all[(n*wide.C+from)*area:], x[n*s.C*area:(n+1)*s.C*area])
	}
	return all
}

func TestBatchNormOfValuesFarFromZeroKeepsTheirVariance(t *testing.T) {
	g := open(t)
	s := op.Shape{N: 4, C: 5, H: 40, W: 40}
	x := g.random(s.Len(), F32)
	for i := range x {
		x[i] = F32.round(1000 + x[i])
	}
	b := op.BatchNorm{In: s, Eps: 1e-5, Momentum: 0.1}
	c, ones, want := s.C, []float64{1, 1, 1, 1, 1}, make([]float64, s.C)
	p, rstd := g.numbers(F32, ones...), g.bytes(4*c)
	g.run(BatchNormTrain(b, F32, g.room(s, F32), Slice{g.maps(s, F32, x), c}, 0, false, p, p, g.numbers(F32, ones...), g.numbers(F32, ones...), g.bytes(4*c), rstd, g.scratch))
	reference.BatchNormTrain(b, make([]float64, len(x)), x, nil, false, ones, ones, make([]float64, c), make([]float64, c), make([]float64, c), want)
	// The mean, near 1000, is rounded by 3e-5; of the variance, 1/3, that changes nothing.
	g.near("rstd", F32, g.readNumbers(rstd, F32, c), want)
}

func TestAFoldedBatchNormIsInWeightAndBias(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		g := open(t)
		conv := op.Conv{In: op.Shape{N: 1, C: 5, H: 9, W: 9}, Out: 7, KernelH: 3, KernelW: 2, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1}
		norm := op.BatchNorm{Eps: 1e-3}
		n := conv.Weight().Len()
		w, gamma, beta, mean, variance := g.random(n, F32), g.random(7, F32), g.random(7, F32), g.random(7, F32), []float64{1, 2, 0.5, 0.25, 3, 0, 0.125}
		weight, bias := g.bytes(n*4), g.bytes(7*4)
		g.run(FoldBatchNorm(conv, norm, typ, weight, bias, g.numbers(F32, w...), g.numbers(F32, gamma...), g.numbers(F32, beta...), g.numbers(F32, mean...), g.numbers(F32, variance...)))
		wantBias, want := make([]float64, 7), make([]float64, n)
		for i := range want {
			k := i / (n / 7)
			scale := gamma[k] / math.Sqrt(variance[k]+float64(norm.Eps))
			want[i], wantBias[k] = w[i]*scale, beta[k]-mean[k]*scale
		}
		g.near("weight", typ, g.readNumbers(weight, typ, n), want)
		g.near("bias", F32, g.readNumbers(bias, F32, 7), wantBias)
	}
}

func TestPoolingAgreesWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		for _, p := range []op.Pool{{Kernel: 3, Stride: 2, Pad: 1}, {Kernel: 2, Stride: 2}, {Kernel: 3, Stride: 1, Pad: 1, CountPad: true}, {Kernel: 5, Stride: 3, Pad: 2}, {Kernel: 3, Stride: 2}, {Kernel: 5, Stride: 2, Pad: 1}, {Kernel: 1, Stride: 2}} {
			p.In = s
			if p.Validate() != nil {
				continue
			}
			out := p.OutShape()
			x := g.random(s.Len(), typ)
			for i := range x {
				x[i] = math.Round(x[i]*4) / 4 // with ties
			}
			dy, want, wantX := g.random(out.Len(), typ), make([]float64, out.Len()), make([]float64, s.Len())
			px, pdy, y, dx, argmax := g.maps(s, typ, x), g.maps(out, typ, dy), g.room(out, typ), g.room(s, typ), g.bytes(out.Len())
			g.run(MaxPool(p, typ, y, argmax, px))
			reference.MaxPool(p, want, x)
			g.equal("maximum", g.readMaps(y, out, typ), want)
			g.run(MaxPoolBackward(p, typ, dx, pdy, argmax))
			reference.MaxPoolBackward(p, wantX, dy, x, want)
			g.near("maximum backward", typ, g.readMaps(dx, s, typ), wantX)
			g.run(AvgPool(p, typ, y, px))
			reference.AvgPool(p, want, x)
			g.near("average", typ, g.readMaps(y, out, typ), want)
			g.run(AvgPoolBackward(p, typ, dx, pdy))
			reference.AvgPoolBackward(p, wantX, dy)
			g.near("average backward", typ, g.readMaps(dx, s, typ), wantX)
		}
	})
}

func TestNaNWinsAMaximum(t *testing.T) {
	g := open(t)
	p := op.Pool{In: op.Shape{N: 1, C: 1, H: 2, W: 4}, Kernel: 2, Stride: 2}
	y := g.bytes(8)
	g.run(MaxPool(p, F32, y, 0, g.numbers(F32, math.NaN(), 1, 2, 3, 4, 5, 6, math.NaN())))
	g.near("maximum", F32, g.readNumbers(y, F32, 2), []float64{math.NaN(), math.NaN()})
}

func TestGlobalAveragesAgreeWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		n := s.N * s.C
		x, dy, want, wantX := g.random(s.Len(), typ), g.random(n, F32), make([]float64, n), make([]float64, s.Len())
		y, dx := g.bytes(4*n), g.room(s, typ)
		g.run(GlobalAvgPool(s, typ, y, g.maps(s, typ, x)))
		reference.GlobalAvgPool(s, want, x)
		g.near("average", F32, g.readNumbers(y, F32, n), want)
		g.run(GlobalAvgPoolBackward(s, typ, dx, g.numbers(F32, dy...)))
		reference.GlobalAvgPoolBackward(s, wantX, dy)
		g.near("backward", typ, g.readMaps(dx, s, typ), wantX)
	})
}

func TestUpsamplingAgreesWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		for _, scale := range []int{1, 2, 3, 4} {
			for _, bilinear := range []bool{false, true} {
				u := op.Upsample{In: s, Scale: scale, Bilinear: bilinear}
				out := u.OutShape()
				x, dy, want, wantX := g.random(s.Len(), typ), g.random(out.Len(), typ), make([]float64, out.Len()), make([]float64, s.Len())
				y, dx := g.room(out, typ), g.room(s, typ)
				g.run(Upsample(u, typ, Slice{y, s.C}, g.maps(s, typ, x)))
				reference.Upsample(u, want, x)
				g.near(fmt.Sprintf("by %d, bilinear %v", scale, bilinear), typ, g.readMaps(y, out, typ), want)
				g.run(UpsampleBackward(u, typ, dx, Slice{g.maps(out, typ, dy), s.C}))
				reference.UpsampleBackward(u, wantX, dy)
				g.near(fmt.Sprintf("backward by %d, bilinear %v", scale, bilinear), typ, g.readMaps(dx, s, typ), wantX)

				wide, part := out, make([]float64, out.Len())
				wide.C += 8
				all := g.maps(wide, typ, within(wide, out, 8, dy))
				slice := Slice{all.Offset(int64(8 * typ.Size())), wide.C}
				g.run(UpsampleBackward(u, typ, dx, slice))
				g.near("backward of a slice", typ, g.readMaps(dx, s, typ), wantX)
				g.run(Upsample(u, typ, slice, g.maps(s, typ, x)))
				reference.Channels(wide, 8, s.C, part, g.readMaps(all, wide, typ))
				g.near("into a slice", typ, part, want)
			}
		}
	})
}

func TestDepthwiseConvolutionsAgreeWithTheReference(t *testing.T) {
	onEach(t, func(g *gpu, s op.Shape, typ Type) {
		for _, c := range []op.Conv{
			{KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1},
			{KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1},
			{KernelH: 3, KernelW: 2, StrideH: 2, StrideW: 1, PadH: 2, PadW: 1, DilationH: 2, DilationW: 1},
			{KernelH: 1, KernelW: 1, StrideH: 1, StrideW: 3, DilationH: 1, DilationW: 1},
			{KernelH: 7, KernelW: 7, StrideH: 2, StrideW: 2, PadH: 3, PadW: 3, DilationH: 1, DilationW: 1},
		} {
			c.In, c.Out, c.Groups = s, s.C, s.C
			if c.Validate() != nil {
				continue
			}
			out, n := c.OutShape(), c.Weight().Len()
			x, w, dy := g.random(s.Len(), typ), g.random(n, F32), g.random(out.Len(), typ)
			want, wantX, wantW := make([]float64, out.Len()), make([]float64, s.Len()), make([]float64, n)
			px, pw, pdy := g.maps(s, typ, x), g.numbers(F32, w...), g.maps(out, typ, dy)
			y, dx, dw := g.room(out, typ), g.room(s, typ), g.bytes(4*n)
			name := fmt.Sprintf("%dx%d, strides %d, %d", c.KernelH, c.KernelW, c.StrideH, c.StrideW)
			g.run(DepthwiseForward(c, typ, y, px, pw))
			reference.Conv(c, want, x, w, nil)
			g.near(name, typ, g.readMaps(y, out, typ), want)
			g.run(DepthwiseBackwardData(c, typ, dx, pdy, pw))
			reference.ConvBackwardData(c, wantX, dy, w)
			g.near(name+", data", typ, g.readMaps(dx, s, typ), wantX)
			g.run(DepthwiseBackwardWeights(c, typ, dw, px, pdy, g.scratch))
			reference.ConvBackwardWeights(c, wantW, x, dy)
			g.nearSums(name+", weights", g.readNumbers(dw, F32, n), wantW)
		}
	})
}

func TestHeadsAgreeWithTheReference(t *testing.T) {
	g := open(t)
	for _, typ := range []Type{F32, BF16} {
		for _, c := range []op.Conv{
			{In: op.Shape{N: 2, C: 8, H: 5, W: 7}, KernelH: 1, KernelW: 1},
			{In: op.Shape{N: 2, C: 16, H: 19, W: 6}, KernelH: 3, KernelW: 3, PadH: 1, PadW: 1},
			{In: op.Shape{N: 1, C: 32, H: 9, W: 37}, KernelH: 3, KernelW: 3, PadH: 2, PadW: 0},
			{In: op.Shape{N: 3, C: 64, H: 70, W: 3}, KernelH: 3, KernelW: 3, PadH: 0, PadW: 1},
			{In: op.Shape{N: 1, C: 128, H: 3, W: 3}, KernelH: 1, KernelW: 1, PadH: 1, PadW: 1},
		} {
			c.Out, c.Groups, c.StrideH, c.StrideW, c.DilationH, c.DilationW = 1, 1, 1, 1, 1, 1
			g.head(c, typ)
		}
	}
}

// head checks all directions of a convolution to one channel.
func (g *gpu) head(c op.Conv, typ Type) {
	g.t.Helper()
	name := fmt.Sprintf("%v, %v to one channel, %dx%d: ", typ, c.In, c.KernelH, c.KernelW)
	if !IsHead(c, typ) {
		g.t.Fatal(name + "there are no kernels for it")
	}
	s, out, n := c.In, c.OutShape(), c.Weight().Len()
	x, w, dy, bias := g.random(s.Len(), typ), g.random(n, F32), g.random(out.Len(), F32), g.random(1, F32)
	byTap := make([]float64, n)
	taps := c.KernelH * c.KernelW
	for i, v := range w {
		byTap[i%taps*s.C+i/taps] = v
	}
	px, pw, pdy := g.maps(s, typ, x), g.numbers(F32, byTap...), g.numbers(F32, dy...)
	y, dx, dw := g.bytes(4*out.Len()), g.room(s, typ), g.bytes(4*n)
	want, wantX, wantW := make([]float64, out.Len()), make([]float64, s.Len()), make([]float64, n)

	g.run(HeadForward(c, typ, y, px, pw, g.numbers(F32, bias...)))
	reference.Conv(c, want, x, w, bias)
	g.near(name+"y", F32, g.readNumbers(y, F32, len(want)), want)
	g.run(HeadForward(c, typ, y, px, pw, 0))
	reference.Conv(c, want, x, w, nil)
	g.near(name+"y without bias", F32, g.readNumbers(y, F32, len(want)), want)
	g.run(HeadBackwardData(c, typ, dx, pdy, pw))
	reference.ConvBackwardData(c, wantX, dy, w)
	g.near(name+"dx", typ, g.readMaps(dx, s, typ), wantX)
	g.run(HeadBackwardWeights(c, typ, dw, px, pdy, g.scratch))
	reference.ConvBackwardWeights(c, wantW, x, dy)
	got := g.readNumbers(dw, F32, n)
	for i := range byTap {
		byTap[i] = got[i%taps*s.C+i/taps]
	}
	g.nearSums(name+"dw", byTap, wantW)
}

func TestMapsOfManyChunksAreSummedAlike(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		g := open(t)
		s := op.Shape{N: 3, C: 8, H: 150, W: 151}
		g.batchNorm(s, typ, "large", false, true, true)
	}
}
