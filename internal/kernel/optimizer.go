package kernel

import "math"

// SGD is the hyperparameters of torch.optim.SGD without dampening. They are read
// when a step runs.
type SGD struct {
	LR          float32
	Momentum    float32
	WeightDecay float32 // added to the gradient, times the parameter
	Nesterov    bool
	First       bool // the first step: the velocity begins as the gradient
}

// SGDStep moves a parameter against its gradient:
//
//	g = grad + WeightDecay*param; velocity = Momentum*velocity + g
//	param -= LR*(Nesterov ? g + Momentum*velocity : velocity)
//
// Without momentum velocity may be nil. All slices have the same length.
func SGDStep(e *Env, h *SGD, param, grad, velocity []float32) []Phase {
	v := e.vectors
	if velocity == nil {
		return []Phase{ranges(len(param), 2, func(from, to, _ int) {
			for i := from; i < to; i++ {
				param[i] -= h.LR * (grad[i] + h.WeightDecay*param[i])
			}
		})}
	}
	buffers := make([][sgdFactors]float32, e.Workers)
	step := func(from, to, worker int, run func(param, grad, velocity, factors []float32)) {
		buffers[worker] = h.factors()
		run(param[from:to], grad[from:to], velocity[from:to], buffers[worker][:])
	}
	return elementwise(len(param), func(from, to, worker int) { step(from, to, worker, v.sgd) },
		func(from, to, worker int) { step(from, to, worker, goSGD) })
}

func (h *SGD) factors() [sgdFactors]float32 {
	f := [sgdFactors]float32{sgdDecay: h.WeightDecay, sgdMomentum: h.Momentum, sgdVelocity: 1, sgdRate: h.LR}
	if h.Nesterov {
		f[sgdGradient], f[sgdVelocity] = 1, h.Momentum
	}
	if h.First {
		f[sgdMomentum] = 0
	}
	return f
}

// Adam is the hyperparameters of torch.optim.Adam, or of AdamW where the weight
// decay is decoupled from the gradient. They are read when a step runs.
type Adam struct {
	LR, Beta1, Beta2, Eps float64
	WeightDecay           float64
	Decoupled             bool
	Step                  int // number of the step, from 1
}

// AdamStep moves a parameter against its gradient:
//
//	first = Beta1*first + (1-Beta1)*g; second = Beta2*second + (1-Beta2)*g²
//	param -= LR*(first/(1-Beta1^Step)) / (sqrt(second/(1-Beta2^Step)) + Eps)
//
// where g is grad + WeightDecay*param, or grad where the decay is decoupled and
// param has been multiplied by 1-LR*WeightDecay before. Moments start at zero.
// All slices have the same length.
func AdamStep(e *Env, h *Adam, param, grad, first, second []float32) []Phase {
	v := e.vectors
	buffers := make([][adamFactors]float32, e.Workers)
	step := func(from, to, worker int, run func(param, grad, first, second, factors []float32)) {
		buffers[worker] = h.factors()
		run(param[from:to], grad[from:to], first[from:to], second[from:to], buffers[worker][:])
	}
	return elementwise(len(param), func(from, to, worker int) { step(from, to, worker, v.adam) },
		func(from, to, worker int) { step(from, to, worker, goAdam) })
}

func (h *Adam) factors() [adamFactors]float32 {
	decay, shrink := h.WeightDecay, 1.0
	if h.Decoupled {
		decay, shrink = 0, 1-h.LR*h.WeightDecay
	}
	n := float64(h.Step)
	return [adamFactors]float32{
		adamDecay: float32(decay), adamShrink: float32(shrink),
		adamKeep1: float32(h.Beta1), adamNew1: float32(1 - h.Beta1),
		adamKeep2: float32(h.Beta2), adamNew2: float32(1 - h.Beta2),
		adamRoot: float32(1 / math.Sqrt(1-math.Pow(h.Beta2, n))), adamEps: float32(h.Eps),
		adamRate: float32(h.LR / (1 - math.Pow(h.Beta1, n))),
	}
}
