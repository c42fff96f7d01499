package nn

import (
	"fmt"

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
	e := p.env
	in := func(i int) []float32 {
		if i < len(ins.in) {
			return ins.in[i].data
		}
		return nil
	}
	out := func(i int) []float32 {
		if i < len(ins.out) {
			return ins.out[i].data
		}
		return nil
	}
	y := out(0)
	switch o := ins.op.(type) {
	case relayout:
		if o.to == blocked {
			return kernel.ToBlocked(e, o.s, y, in(0)), nil
		}
		return kernel.ToPlanar(e, o.s, y, in(0)), nil
	case conv:
		ep := kernel.Epilogue{ReLU: o.relu}
		next := 2
		if o.bias {
			ep.Bias, next = in(2), 3
		}
		if o.residual {
			ep.Residual = in(next)
		}
		if imageLayout(o.g) == planar {
			return kernel.ConvForwardPlanar(e, o.g, y, in(0), in(1), ep), nil
		}
		return kernel.ConvForward(e, o.g, y, in(0), in(1), ep), nil
	case convBackwardData:
		return kernel.ConvBackwardData(e, o.g, y, in(1), in(0)), nil
	case convBackwardWeights:
		if imageLayout(o.g) == planar {
			return kernel.ConvBackwardWeightsPlanar(e, o.g, y, in(0), in(1)), nil
		}
		return kernel.ConvBackwardWeights(e, o.g, y, in(0), in(1)), nil
	case biasGradient:
		return kernel.BiasGradient(e, o.s, y, in(0)), nil
	case foldBatchNorm:
		return kernel.FoldBatchNorm(e, o.g, o.norm, y, out(1), in(0), in(1), in(2), in(3), in(4)), nil
	case linear:
		return kernel.LinearForward(e, o.g, y, in(0), in(1), in(2)), nil
	case linearBackwardData:
		return kernel.LinearBackwardData(e, o.g, y, in(1), in(0)), nil
	case linearBackwardWeights:
		return kernel.LinearBackwardWeights(e, o.g, y, in(0), in(1)), nil
	case linearBackwardBias:
		return kernel.LinearBackwardBias(e, o.g, y, in(0)), nil
	case batchNorm:
		if o.frozen {
			return kernel.BatchNormEval(e, o.g, y, in(0), in(5), o.relu, in(1), in(2), in(3), in(4)), nil
		}
		return kernel.BatchNormTrain(e, o.g, y, in(0), in(5), o.relu, in(1), in(2), in(3), in(4), out(1), out(2)), nil
	case batchNormBackward:
		if o.frozen {
			return kernel.BatchNormFrozenBackward(e, o.g, y, out(3), out(1), out(2), in(0), in(1), in(5), in(2), in(3), in(4)), nil
		}
		return kernel.BatchNormBackward(e, o.g, y, out(3), out(1), out(2), in(0), in(1), in(5), in(2), in(3), in(4)), nil
	case relu:
		return kernel.ReLU(e, y, in(0)), nil
	case reluBackward:
		return kernel.ReLUBackward(e, y, in(0), in(1)), nil
	case sigmoid:
		return kernel.Sigmoid(e, o.s, y, in(0)), nil
	case sigmoidBackward:
		return kernel.SigmoidBackward(e, o.s, y, in(0), in(1)), nil
	case add, planarAdd:
		return kernel.Add(e, y, in(0), in(1)), nil
	case concat:
		return p.concat(ins, o), nil
	case channels:
		return kernel.CopyChannels(e, o.part, y, 0, in(0), o.from, o.part.C), nil
	case maxPool:
		return kernel.MaxPool(e, o.g, y, in(0)), nil
	case maxPoolBackward:
		return kernel.MaxPoolBackward(e, o.g, y, in(0), in(1), in(2)), nil
	case avgPool:
		return kernel.AvgPool(e, o.g, y, in(0)), nil
	case avgPoolBackward:
		return kernel.AvgPoolBackward(e, o.g, y, in(0)), nil
	case globalAvgPool:
		return kernel.GlobalAvgPool(e, o.s, y, in(0)), nil
	case globalAvgPoolBackward:
		return kernel.GlobalAvgPoolBackward(e, o.s, y, in(0)), nil
	case upsample:
		return kernel.Upsample(e, o.g, y, in(0)), nil
	case upsampleBackward:
		return kernel.UpsampleBackward(e, o.g, y, in(0)), nil
	case dropout:
		return kernel.Dropout(e, o.s, y, in(0), o.rate, p.seed(o.salt)), nil
	case dropoutBackward:
		return kernel.DropoutBackward(e, o.s, y, in(0), o.rate, p.seed(o.salt)), nil
	case argMax:
		return kernel.ArgMax(e, o.s.N, o.s.C, y, in(0)), nil
	case softmaxCrossEntropy:
		return kernel.SoftmaxCrossEntropy(e, o.n, o.classes, y, in(0), in(1)), nil
	case softmaxCrossEntropyBackward:
		return kernel.SoftmaxCrossEntropyBackward(e, o.n, o.classes, y, in(0), in(1), in(2)), nil
	case cam:
		return kernel.CAM(e, o.g, y, in(0), in(1), in(2)), nil
	case camBackwardFeatures:
		return kernel.CAMBackwardFeatures(e, o.g, y, in(0), in(1), in(2), in(3)), nil
	case camBackwardWeights:
		return kernel.CAMBackwardWeights(e, o.g, y, in(0), in(1), in(2), in(3)), nil
	case mapLoss:
		return kernel.MapLoss(e, o.g, y, in(0), in(1)), nil
	case mapLossBackward:
		return kernel.MapLossBackward(e, o.g, y, in(0), in(1), in(2)), nil
	case weightedMean:
		return p.weightedMean(ins, o), nil
	case weightedMeanBackward:
		return kernel.WeightedMeanBackward(e, o.n, y, in(0), in(1)), nil
	}
	return nil, fmt.Errorf("operator %s: the CPU has no kernel for it", ins.op.name())
}

// concat copies the operands that are not already parts of the result. One that
// stands there twice is a part in one place only.
func (p *Program) concat(ins *instruction, o concat) []kernel.Phase {
	var phases []kernel.Phase
	from := 0
	for i, v := range ins.in {
		if v.whole != ins.out[0] || v.offset != partOffset(o.out(), from) {
			phases = append(phases, kernel.CopyChannels(p.env, o.out(), ins.out[0].data, from, v.data, 0, o.parts[i].C)...)
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
