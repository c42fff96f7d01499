package nn

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// bind turns the instructions into the CPU's kernels, measured by a profile if that
// is not nil.
func (p *Program) bind(profile *Profile) ([]kernel.Phase, error) {
	profile.begin(p.env)
	phases := profile.start(nil)
	for _, ins := range p.list.instructions {
		k, err := p.kernels(ins)
		if err != nil {
			return nil, err
		}
		phases = profile.after(append(phases, k...), ins)
	}
	return phases, nil
}

// kernels binds one instruction.
func (p *Program) kernels(ins *instruction) ([]kernel.Phase, error) {
	if o, ok := ins.op.(relayout); ok {
		return p.relayout(o, ins.in[0], ins.out[0]), nil
	}
	for _, v := range slices.Concat(ins.in, ins.out) {
		if v.layout == blockedBF16 {
			return kernelsOf[kernel.BF16](p, ins)
		}
	}
	return kernelsOf[float32](p, ins)
}

func (p *Program) relayout(o relayout, from, to *value) []kernel.Phase {
	switch {
	case o.from == planar && o.to == blocked:
		return kernel.ToBlocked(p.env, o.s, to.data, from.data)
	case o.from == planar:
		return kernel.ToBlocked(p.env, o.s, elements[kernel.BF16](to), from.data)
	case o.from == blocked && o.to == planar:
		return kernel.ToPlanar(p.env, o.s, to.data, from.data)
	case o.from == blocked:
		return kernel.Narrow(p.env, elements[kernel.BF16](to), from.data)
	case o.to == planar:
		return kernel.ToPlanar(p.env, o.s, to.data, elements[kernel.BF16](from))
	}
	return kernel.Widen(p.env, to.data, elements[kernel.BF16](from))
}

// elements are those of a blocked value.
func elements[T kernel.Element](v *value) []T {
	if data, ok := any(v.data).([]T); ok {
		return data
	}
	return any(kernel.BF16s(v.data)).([]T)
}

// kernelsOf binds an instruction whose blocked operands are of a type.
func kernelsOf[T kernel.Element](p *Program, ins *instruction) ([]kernel.Phase, error) {
	e := p.env
	// Planar operands and results, and blocked ones; nil where there is none.
	planarIn := func(i int) []float32 {
		if i < len(ins.in) {
			return ins.in[i].data
		}
		return nil
	}
	planarOut := func(i int) []float32 {
		if i < len(ins.out) {
			return ins.out[i].data
		}
		return nil
	}
	in := func(i int) []T {
		if i < len(ins.in) {
			return elements[T](ins.in[i])
		}
		return nil
	}
	out := func(i int) []T {
		if i < len(ins.out) {
			return elements[T](ins.out[i])
		}
		return nil
	}
	switch o := ins.op.(type) {
	case conv:
		ep := kernel.Epilogue[T]{ReLU: o.relu}
		next := 2
		if o.bias {
			ep.Bias, next = planarIn(2), 3
		}
		if o.residual {
			ep.Residual = in(next)
		}
		if imageLayout(o.g) == planar {
			return kernel.ConvForwardPlanar(e, o.g, out(0), planarIn(0), planarIn(1), ep), nil
		}
		return kernel.ConvForward(e, o.g, out(0), in(0), planarIn(1), ep), nil
	case convBackwardData:
		return kernel.ConvBackwardData(e, o.g, out(0), in(1), planarIn(0)), nil
	case convBackwardWeights:
		if imageLayout(o.g) == planar {
			return kernel.ConvBackwardWeightsPlanar(e, o.g, planarOut(0), planarIn(0), in(1)), nil
		}
		return kernel.ConvBackwardWeights(e, o.g, planarOut(0), in(0), in(1)), nil
	case biasGradient:
		return kernel.BiasGradient(e, o.s, planarOut(0), in(0)), nil
	case foldBatchNorm:
		return kernel.FoldBatchNorm(e, o.g, o.norm, planarOut(0), planarOut(1), planarIn(0), planarIn(1), planarIn(2), planarIn(3), planarIn(4)), nil
	case linear:
		return kernel.LinearForward(e, o.g, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case linearBackwardData:
		return kernel.LinearBackwardData(e, o.g, planarOut(0), planarIn(1), planarIn(0)), nil
	case linearBackwardWeights:
		return kernel.LinearBackwardWeights(e, o.g, planarOut(0), planarIn(0), planarIn(1)), nil
	case linearBackwardBias:
		return kernel.LinearBackwardBias(e, o.g, planarOut(0), planarIn(0)), nil
	case batchNorm:
		if o.frozen {
			return kernel.BatchNormEval(e, o.g, out(0), in(0), in(5), o.relu, planarIn(1), planarIn(2), planarIn(3), planarIn(4)), nil
		}
		return kernel.BatchNormTrain(e, o.g, out(0), in(0), in(5), o.relu, planarIn(1), planarIn(2), planarIn(3), planarIn(4), planarOut(1), planarOut(2)), nil
	case batchNormBackward:
		if o.frozen {
			return kernel.BatchNormFrozenBackward(e, o.g, out(0), out(3), planarOut(1), planarOut(2), in(0), in(1), in(5), planarIn(2), planarIn(3), planarIn(4)), nil
		}
		return kernel.BatchNormBackward(e, o.g, out(0), out(3), planarOut(1), planarOut(2), in(0), in(1), in(5), planarIn(2), planarIn(3), planarIn(4)), nil
	case relu:
		return kernel.ReLU(e, out(0), in(0)), nil
	case reluBackward:
		return kernel.ReLUBackward(e, out(0), in(0), in(1)), nil
	case sigmoid:
		return kernel.Sigmoid(e, o.s, planarOut(0), planarIn(0)), nil
	case sigmoidBackward:
		return kernel.SigmoidBackward(e, o.s, planarOut(0), planarIn(0), planarIn(1)), nil
	case add:
		return kernel.Add(e, out(0), in(0), in(1)), nil
	case planarAdd:
		return kernel.AddPlanar(e, planarOut(0), planarIn(0), planarIn(1)), nil
	case concat:
		return concatenate[T](p, ins, o), nil
	case channels:
		return kernel.CopyChannels(e, o.part, out(0), 0, in(0), o.from, o.part.C), nil
	case maxPool:
		return kernel.MaxPool(e, o.g, out(0), in(0)), nil
	case maxPoolBackward:
		return kernel.MaxPoolBackward(e, o.g, out(0), in(0), in(1), in(2)), nil
	case avgPool:
		return kernel.AvgPool(e, o.g, out(0), in(0)), nil
	case avgPoolBackward:
		return kernel.AvgPoolBackward(e, o.g, out(0), in(0)), nil
	case globalAvgPool:
		return kernel.GlobalAvgPool(e, o.s, planarOut(0), in(0)), nil
	case globalAvgPoolBackward:
		return kernel.GlobalAvgPoolBackward(e, o.s, out(0), planarIn(0)), nil
	case upsample:
		return kernel.Upsample(e, o.g, out(0), in(0)), nil
	case upsampleBackward:
		return kernel.UpsampleBackward(e, o.g, out(0), in(0)), nil
	case dropout:
		return kernel.Dropout(e, o.s, out(0), in(0), o.rate, p.seed(o.salt)), nil
	case dropoutBackward:
		return kernel.DropoutBackward(e, o.s, out(0), in(0), o.rate, p.seed(o.salt)), nil
	case argMax:
		return kernel.ArgMax(e, o.s.N, o.s.C, planarOut(0), planarIn(0)), nil
	case softmaxCrossEntropy:
		return kernel.SoftmaxCrossEntropy(e, o.n, o.classes, planarOut(0), planarIn(0), planarIn(1)), nil
	case softmaxCrossEntropyBackward:
		return kernel.SoftmaxCrossEntropyBackward(e, o.n, o.classes, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case cam:
		return kernel.CAM(e, o.g, planarOut(0), in(0), planarIn(1), planarIn(2)), nil
	case camBackwardFeatures:
		return kernel.CAMBackwardFeatures(e, o.g, out(0), planarIn(0), in(1), planarIn(2), planarIn(3)), nil
	case camBackwardWeights:
		return kernel.CAMBackwardWeights(e, o.g, planarOut(0), planarIn(0), in(1), planarIn(2), planarIn(3)), nil
	case contrast:
		return kernel.Contrast(e, o.s.N, o.s.C, planarOut(0), planarIn(0)), nil
	case entropy:
		return kernel.Entropy(e, o.s, planarOut(0), planarIn(0)), nil
	case entropyBackward:
		return kernel.EntropyBackward(e, o.s, planarOut(0), planarIn(0), planarIn(1)), nil
	case balance:
		return kernel.Balance(e, o.n, o.ofSecond, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case mapLoss:
		return kernel.MapLoss(e, o.g, planarOut(0), planarIn(0), planarIn(1)), nil
	case mapLossBackward:
		return kernel.MapLossBackward(e, o.g, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case weightedMean:
		return p.weightedMean(ins, o), nil
	case weightedMeanBackward:
		return kernel.WeightedMeanBackward(e, o.n, planarOut(0), planarIn(0), planarIn(1)), nil
	}
	return nil, fmt.Errorf("operator %s: the CPU has no kernel for it", ins.op.name())
}

// concatenate copies the operands that are not already parts of the result. One that
// stands there twice is a part in one place only.
func concatenate[T kernel.Element](p *Program, ins *instruction, o concat) []kernel.Phase {
	var phases []kernel.Phase
	from := 0
	for i, v := range ins.in {
		if v.whole != ins.out[0] || v.offset != partOffset(ins.out[0], from) {
			phases = append(phases, kernel.CopyChannels(p.env, o.out(), elements[T](ins.out[0]), from, elements[T](v), 0, o.parts[i].C)...)
		}
		from += o.parts[i].C
	}
	return phases
}

// weightedMean adds up the terms' means.
func (p *Program) weightedMean(ins *instruction, o weightedMean) []kernel.Phase {
	parts := make([]float32, o.terms)
	var phases []kernel.Phase
	for t := range parts {
		phases = append(phases, kernel.WeightedMean(p.env, o.n, parts[t:t+1], ins.in[2*t].data, ins.in[2*t+1].data)...)
	}
	sum := ins.out[0].data
	return append(phases, kernel.Phase{Tasks: 1, Run: func(int, int) {
		sum[0] = 0
		for _, part := range parts {
			sum[0] += part
		}
	}})
}

func (p *Program) seed(salt uint64) *uint64 {
	v := new(uint64)
	p.seeds = append(p.seeds, seed{v, salt})
	return v
}
