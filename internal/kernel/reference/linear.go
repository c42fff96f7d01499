package reference

import "github.com/surrogaze/surrogaze/internal/op"

// Linear is y = x·wᵀ + b: x (N, In), w (Out, In), b (Out) or nil, y (N, Out).
func Linear[T Float](g op.Linear, y, x, w, b []T) {
	for n := range g.N {
		for k := range g.Out {
			var sum float64
			for i := range g.In {
				sum += float64(x[n*g.In+i]) * float64(w[k*g.In+i])
			}
			if b != nil {
				sum += float64(b[k])
			}
			y[n*g.Out+k] = T(sum)
		}
	}
}

// LinearBackwardData is the gradient of [Linear] by x: dy·w.
func LinearBackwardData[T Float](g op.Linear, dx, dy, w []T) {
	for n := range g.N {
		for i := range g.In {
			var sum float64
			for k := range g.Out {
				sum += float64(dy[n*g.Out+k]) * float64(w[k*g.In+i])
			}
			dx[n*g.In+i] = T(sum)
		}
	}
}

// LinearBackwardWeights is the gradient of [Linear] by w: dyᵀ·x.
func LinearBackwardWeights[T Float](g op.Linear, dw, x, dy []T) {
	for k := range g.Out {
		for i := range g.In {
			var sum float64
			for n := range g.N {
				sum += float64(dy[n*g.Out+k]) * float64(x[n*g.In+i])
			}
			dw[k*g.In+i] = T(sum)
		}
	}
}

// LinearBackwardBias is the gradient of [Linear] by b: dy summed over N.
func LinearBackwardBias[T Float](g op.Linear, db, dy []T) {
	for k := range g.Out {
		var sum float64
		for n := range g.N {
			sum += float64(dy[n*g.Out+k])
		}
		db[k] = T(sum)
	}
}
