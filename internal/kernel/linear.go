package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// LinearForward computes y = x·wᵀ + b, b may be nil; all planar.
func LinearForward(_ *Env, g op.Linear, y, x, w, b []float32) []Phase {
	return []Phase{{Tasks: g.N, Run: func(n, _ int) {
		row := x[n*g.In : (n+1)*g.In]
		for k := range g.Out {
			var sum float32
			for i, v := range w[k*g.In : (k+1)*g.In] {
				sum += v * row[i]
			}
			if b != nil {
				sum += b[k]
			}
			y[n*g.Out+k] = sum
		}
	}}}
}

// LinearBackwardData computes dx = dy·w.
func LinearBackwardData(_ *Env, g op.Linear, dx, dy, w []float32) []Phase {
	return []Phase{{Tasks: g.N, Run: func(n, _ int) {
		row := dx[n*g.In : (n+1)*g.In]
		clear(row)
		for k := range g.Out {
			d := dy[n*g.Out+k]
			for i, v := range w[k*g.In : (k+1)*g.In] {
				row[i] += d * v
			}
		}
	}}}
}

// LinearBackwardWeights computes dw = dyᵀ·x.
func LinearBackwardWeights(_ *Env, g op.Linear, dw, x, dy []float32) []Phase {
	return []Phase{{Tasks: g.Out, Run: func(k, _ int) {
		row := dw[k*g.In : (k+1)*g.In]
		clear(row)
		for n := range g.N {
			d := dy[n*g.Out+k]
			for i, v := range x[n*g.In : (n+1)*g.In] {
				row[i] += d * v
			}
		}
	}}}
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
