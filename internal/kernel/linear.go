package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// A linear layer is a 1x1 convolution of images of one pixel; all planar.

// LinearForward computes y = x·wᵀ + b, b may be nil.
func LinearForward(e *Env, g op.Linear, y, x, w, b []float32) []Phase {
	c := linearConv(g)
	blocked := Alloc(BlockedLen(c.OutShape()))
	phases := ConvForwardPlanar(e, c, blocked, x, w, Epilogue[float32]{Bias: b})
	return append(phases, ToPlanar(e, c.OutShape(), y, blocked)...)
}

// LinearBackwardData computes dx = dy·w.
func LinearBackwardData(e *Env, g op.Linear, dx, dy, w []float32) []Phase {
	c := linearConv(g)
	from, to := Alloc(BlockedLen(c.OutShape())), Alloc(BlockedLen(c.In))
	phases := append(ToBlocked(e, c.OutShape(), from, dy), ConvBackwardData(e, c, to, from, w)...)
	return append(phases, ToPlanar(e, c.In, dx, to)...)
}

// LinearBackwardWeights computes dw = dyᵀ·x.
func LinearBackwardWeights(e *Env, g op.Linear, dw, x, dy []float32) []Phase {
	c := linearConv(g)
	blocked := Alloc(BlockedLen(c.OutShape()))
	phases := ToBlocked(e, c.OutShape(), blocked, dy)
	return append(phases, ConvBackwardWeightsPlanar(e, c, dw, x, blocked)...)
}

func linearConv(g op.Linear) op.Conv {
	return op.Conv{
		In: op.Shape{N: g.N, C: g.In, H: 1, W: 1}, Out: g.Out,
		KernelH: 1, KernelW: 1, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1,
	}
}

// LinearBackwardBias sums dy over the batch.
func LinearBackwardBias(_ *Env, g op.Linear, db, dy []float32) []Phase {
	return []Phase{{Tasks: 1, Run: func(int, int) {
		clear(db)
		for n := range g.N {
			for k := range db {
				db[k] += dy[n*g.Out+k]
			}
		}
	}}}
}
