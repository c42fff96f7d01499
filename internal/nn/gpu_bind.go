package nn

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/cudnn"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// bind records one instruction.
func (m *gpu) bind(t *cuda.Tape, ins *instruction) error {
	kind := kernels.F32
	for _, v := range slices.Concat(ins.in, ins.out) {
		if v.layout == nativeBF16 {
			kind = kernels.BF16
		}
	}
	b := binding{m, t, ins, kind}
	if b.convolution() {
		return nil
	}
	launches, ok := b.launches()
	if !ok {
		return fmt.Errorf("operator %s: the GPU has no kernel for it", ins.op.name())
	}
	t.Launch(launches)
	return nil
}

// binding is an instruction whose feature maps are of one type.
type binding struct {
	*gpu
	tape *cuda.Tape
	*instruction
	kind kernels.Type
}

// in is where an operand lies; 0 where there is none.
func (b binding) operand(i int) kernels.Pointer {
	if i < len(b.in) {
		return b.address(b.in[i])
	}
	return 0
}

// result is where a result lies; 0 where there is none.
func (b binding) result(i int) kernels.Pointer {
	if i < len(b.out) {
		return b.address(b.out[i])
	}
	return 0
}

// weight is where the weight of a convolution lies in the type of the feature maps.
func (b binding) weight(i int) kernels.Pointer {
	v := b.in[i]
	if v.home == homeParam && b.kind == kernels.BF16 {
		return b.params.at[v.param].rounded()
	}
	return b.address(v)
}

// depthwise reports whether a convolution has kernels of our own.
func depthwise(g op.Conv) bool { return g.Groups > 1 && g.Groups == g.In.C && g.Groups == g.Out }

// head reports whether a convolution has the kernels of heads, which multiply in float32,
// for feature maps of a type.
func head(g op.Conv, exact bool, kind kernels.Type) bool {
	return (exact || kind == kernels.F32) && kernels.IsHead(g, kind)
}

// convolution records an instruction that is one.
func (b binding) convolution() bool {
	switch o := b.op.(type) {
	case conv:
		b.forward(o)
	case convBackwardData:
		switch {
		case depthwise(o.g):
			b.tape.Launch(kernels.DepthwiseBackwardData(o.g, b.kind, b.result(0), b.operand(1), b.operand(0)))
		case head(o.g, o.exact, b.kind):
			b.tape.Launch(kernels.HeadBackwardData(o.g, b.kind, b.result(0), b.operand(1), b.operand(0)))
		default:
			b.tape.Convolve(b.multiplied(o.g, cudnn.BackwardData, o.exact), b.result(0), b.weight(0), b.operand(1))
		}
	case convBackwardWeights:
		switch {
		case depthwise(o.g):
			b.tape.Launch(kernels.DepthwiseBackwardWeights(o.g, b.kind, b.result(0), b.operand(0), b.operand(1), b.tape.Scratch()))
		case head(o.g, o.exact, b.kind):
			b.tape.Launch(kernels.HeadBackwardWeights(o.g, b.kind, b.result(0), b.operand(0), b.operand(1), b.tape.Scratch()))
		case b.in[0].layout == imageBF16:
			b.tape.ConvolveImageBackwardWeights(b.multiplied(o.g, cudnn.BackwardWeights, o.exact), b.operand(0), b.result(0), b.operand(1))
		default:
			b.tape.ConvolveBackwardWeights(b.multiplied(o.g, cudnn.BackwardWeights, o.exact), b.operand(0), b.result(0), b.operand(1))
		}
	default:
		return false
	}
	return true
}

// multiplied is a convolution in the program's precision, or exact.
func (b binding) multiplied(g op.Conv, d cudnn.Direction, exact bool) cudnn.Convolution {
	return cudnn.Convolution{Geometry: g, Direction: d, Type: b.kind, TF32: b.target.Precision == tf32Precision && !exact}
}

func (b binding) forward(o conv) {
	var bias, residual kernels.Pointer
	next := 2
	if o.bias {
		bias, next = b.operand(2), 3
	}
	if o.residual {
		residual = b.operand(next)
	}
	y := b.result(0)
	switch {
	case depthwise(o.g):
		b.tape.Launch(kernels.DepthwiseForward(o.g, b.kind, y, b.operand(0), b.operand(1)))
	case head(o.g, o.exact, b.kind):
		b.tape.Launch(kernels.HeadForward(o.g, b.kind, y, b.operand(0), b.operand(1), bias))
		bias = 0
	case b.in[0].layout == imageBF16:
		b.tape.ConvolveImage(b.multiplied(o.g, cudnn.Forward, o.exact), b.operand(0), b.weight(1), y)
	default:
		b.tape.Convolve(b.multiplied(o.g, cudnn.Forward, o.exact), b.operand(0), b.weight(1), y)
	}
	if bias != 0 || residual != 0 || o.relu {
		b.tape.Launch(kernels.ConvEpilogue(o.out(), typeOf(b.out[0].layout), y, bias, residual, o.relu))
	}
}

// launches are the kernels of an instruction, if there are any for it.
func (b binding) launches() (list []kernels.Launch, ok bool) {
	in, out, kind, scratch := b.operand, b.result, b.kind, b.tape.Scratch()
	pixels := b.op.out().Pixels()
	switch o := b.op.(type) {
	case relayout:
		list = b.relayout(o)
	case biasGradient:
		list = kernels.BiasGradient(o.s, kind, out(0), in(0), scratch)
	case foldBatchNorm:
		list = kernels.FoldBatchNorm(o.g, o.norm, b.foldedType(), out(0), out(1), in(0), in(1), in(2), in(3), in(4))
	case linear:
		list = kernels.Linear(o.g, out(0), in(0), in(1), in(2))
	case linearBackwardData:
		list = kernels.LinearBackwardData(o.g, out(0), in(1), in(0))
	case linearBackwardWeights:
		list = kernels.LinearBackwardWeights(o.g, out(0), in(0), in(1))
	case linearBackwardBias:
		list = kernels.LinearBackwardBias(o.g, out(0), in(0))
	case batchNorm:
		if o.frozen {
			list = kernels.BatchNormEval(o.g, kind, out(0), b.slice(b.in[0]), in(5), o.relu, in(1), in(2), in(3), in(4))
		} else {
			list = kernels.BatchNormTrain(o.g, kind, out(0), b.slice(b.in[0]), in(5), o.relu, in(1), in(2), in(3), in(4), out(1), out(2), scratch)
		}
	case batchNormBackward:
		list = b.batchNormBackward(o)
	case relu:
		list = kernels.ReLU(int64(o.s.Len()), kind, out(0), in(0))
	case reluBackward:
		list = kernels.ReLUBackward(int64(o.s.Len()), kind, out(0), in(0), in(1))
	case sigmoid:
		list = kernels.Sigmoid(o.s, out(0), in(0))
	case sigmoidBackward:
		list = kernels.SigmoidBackward(o.s, out(0), in(0), in(1))
	case add:
		list = kernels.Add(int64(o.s.Len()), kind, out(0), in(0), in(1))
	case planarAdd:
		list = kernels.AddPlanar(int64(o.s.Len()), out(0), in(0), in(1))
	case concat:
		list = b.concat(o)
	case channels:
		list = kernels.CopyChannels(pixels, o.part.C, kind, out(0), o.part.C, 0, in(0), o.whole.C, o.from)
	case maxPool:
		list, ok = kernels.MaxPool(o.g, kind, out(0), out(1), in(0)), o.g.Kernel <= kernels.MaxPoolWindow
		return list, ok
	case maxPoolBackward:
		list = kernels.MaxPoolBackward(o.g, kind, out(0), in(0), in(1))
	case avgPool:
		list = kernels.AvgPool(o.g, kind, out(0), in(0))
	case avgPoolBackward:
		list = kernels.AvgPoolBackward(o.g, kind, out(0), in(0))
	case globalAvgPool:
		list = kernels.GlobalAvgPool(o.s, kind, out(0), in(0))
	case globalAvgPoolBackward:
		list = kernels.GlobalAvgPoolBackward(o.s, kind, out(0), in(0))
	case upsample:
		list = kernels.Upsample(o.g, kind, b.slice(b.out[0]), in(0))
	case upsampleBackward:
		list = kernels.UpsampleBackward(o.g, kind, out(0), b.slice(b.in[0]))
	case dropout:
		list = kernels.Dropout(o.s, kind, out(0), in(0), o.rate, o.salt, b.seedAt.At(0))
	case dropoutBackward:
		list = kernels.DropoutBackward(o.s, kind, out(0), in(0), o.rate, o.salt, b.seedAt.At(0))
	case cam:
		list = kernels.CAM(o.g, kind, out(0), in(0), in(1), in(2))
	case camBackwardFeatures:
		list = kernels.CAMBackwardFeatures(o.g, kind, out(0), in(0), in(1), in(2), in(3), scratch)
	case camBackwardWeights:
		list = kernels.CAMBackwardWeights(o.g, kind, out(0), in(0), in(1), in(2), in(3), scratch)
	default:
		return b.losses()
	}
	return list, true
}

// losses are the kernels of what losses are made of.
func (b binding) losses() (list []kernels.Launch, ok bool) {
	in, out := b.operand, b.result
	switch o := b.op.(type) {
	case argMax:
		list = kernels.ArgMax(o.s, out(0), in(0))
	case softmaxCrossEntropy:
		list = kernels.SoftmaxCrossEntropy(o.n, o.classes, out(0), in(0), in(1))
	case softmaxCrossEntropyBackward:
		list = kernels.SoftmaxCrossEntropyBackward(o.n, o.classes, out(0), in(0), in(1), in(2))
	case contrast:
		list = kernels.Contrast(o.s.N, o.s.C, out(0), in(0))
	case entropy:
		list = kernels.Entropy(o.s, out(0), in(0))
	case entropyBackward:
		list = kernels.EntropyBackward(o.s, out(0), in(0), in(1))
	case balance:
		list = kernels.Balance(o.n, o.ofSecond, out(0), in(0), in(1), in(2))
	case mapLoss:
		list = kernels.MapLoss(o.g, out(0), in(0), in(1))
	case mapLossBackward:
		list = kernels.MapLossBackward(o.g, out(0), in(0), in(1), in(2))
	case weightedMean:
		var values, weights []kernels.Pointer
		for i := range o.terms {
			values, weights = append(values, in(2*i)), append(weights, in(2*i+1))
		}
		list = kernels.WeightedMean(o.n, out(0), values, weights)
	case weightedMeanBackward:
		list = kernels.WeightedMeanBackward(o.n, out(0), in(0), in(1))
	default:
		return nil, false
	}
	return list, true
}

// slice is where a value lies, which may be channels of another.
func (b binding) slice(v *value) kernels.Slice {
	return kernels.Slice{At: b.address(v), Channels: v.root().shape.C}
}

// concat copies the operands that do not lie in the result.
func (b binding) concat(o concat) []kernels.Launch {
	var list []kernels.Launch
	to, from := b.slice(b.out[0]), 0
	for i, part := range o.parts {
		if v := b.in[i]; v.whole != b.out[0] {
			x := b.slice(v)
			list = append(list, kernels.CopyChannels(part.Pixels(), part.C, b.kind, to.At, to.Channels, from, x.At, x.Channels, 0)...)
		}
		from += part.C
	}
	return list
}

func (b binding) batchNormBackward(o batchNormBackward) []kernels.Launch {
	in, out := b.operand, b.result
	var y, beta kernels.Pointer
	if o.relu {
		y, beta = b.mask()
	}
	next := 5 + b2i(o.relu)
	var toDX, toDY kernels.Slice
	if o.toDY {
		toDY, next = b.slice(b.in[next]), next+1
	}
	if o.toDX {
		toDX = b.slice(b.in[next])
	}
	backward := kernels.BatchNormBackward
	if o.frozen {
		backward = kernels.BatchNormFrozenBackward
	}
	return backward(o.g, b.kind, out(0), out(3), out(1), out(2), in(0), b.slice(b.in[1]), y, in(2), beta, in(3), in(4), toDX, toDY, b.tape.Scratch())
}

// mask is what the mask of the ReLU behind a batch norm is computed from: its result y, or,
// where nothing was added in between, beta and what is read anyway.
func (b binding) mask() (y, beta kernels.Pointer) {
	for _, ins := range b.list.instructions {
		if o, ok := ins.op.(batchNorm); ok && o.relu && !o.residual && ins.out[0] == b.in[5] {
			return 0, b.address(ins.in[2])
		}
	}
	return b.operand(5), 0
}

func (b binding) relayout(o relayout) []kernels.Launch {
	to, from := b.result(0), b.operand(0)
	n := int64(o.s.Len())
	switch {
	case o.to == imageBF16:
		return kernels.ImageToNHWC(o.s, to, from)
	case o.from == imageBF16:
		return kernels.ResizeChannels(o.s.Pixels(), typeOf(o.to), to, o.s.C, from, kernels.ImageChannels)
	case o.from == planar:
		return kernels.ToNHWC(o.s, typeOf(o.to), to, from)
	case o.to == planar:
		return kernels.ToNCHW(o.s, typeOf(o.from), to, from)
	}
	return kernels.Convert(n, typeOf(o.to), to, typeOf(o.from), from)
}

// typeOf is what values of a layout are made of.
func typeOf(l layout) kernels.Type {
	if l == nativeBF16 || l == imageBF16 {
		return kernels.BF16
	}
	return kernels.F32
}

// foldedType is what the convolution that reads a folded weight multiplies.
func (b binding) foldedType() kernels.Type {
	for _, ins := range b.list.instructions {
		if c, ok := ins.op.(conv); ok && ins.in[1] == b.out[0] {
			if depthwise(c.g) {
				return kernels.F32
			}
			return typeOf(ins.out[0].layout)
		}
	}
	return kernels.F32
}
