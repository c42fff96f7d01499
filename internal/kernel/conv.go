package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// Epilogue is what a convolution does to its result before it is stored:
// y = relu(conv + bias + residual). Nil slices are left out.
type Epilogue struct {
	Bias     []float32 // (Out)
	Residual []float32 // blocked, of the result's shape
	ReLU     bool
}

func blockedAt(s op.Shape, n, c, i, j int) int {
	return ((c/Block*s.N+n)*s.H+i)*s.W*Block + j*Block + c%Block
}

func planarAt(s op.Shape, n, c, i, j int) int { return ((n*s.C+c)*s.H+i)*s.W + j }

// ConvForward computes y = conv(x, w) with an epilogue; x and y blocked.
func ConvForward(_ *Env, g op.Conv, y, x, w []float32, ep Epilogue) []Phase {
	return convForward(g, y, x, w, ep, blockedAt)
}

// ConvForwardPlanar is ConvForward of a planar image.
func ConvForwardPlanar(_ *Env, g op.Conv, y, x, w []float32, ep Epilogue) []Phase {
	return convForward(g, y, x, w, ep, planarAt)
}

func convForward(g op.Conv, y, x, w []float32, ep Epilogue, at1 func(s op.Shape, n, c, i, j int) int) []Phase {
	s := g.OutShape()
	return []Phase{{Tasks: Blocks(s.C) * Block, Run: func(k, _ int) {
		for n := range s.N {
			for i := range s.H {
				for j := range s.W {
					o := blockedAt(s, n, k, i, j)
					if k >= s.C {
						y[o] = 0
						continue
					}
					sum := float32(0)
					each(g, i, j, func(u, v, p, q int) {
						ws := g.Weight()
						for c := range ws.C {
							sum += x[at1(g.In, n, k/(g.Out/g.Groups)*ws.C+c, p, q)] * w[planarAt(ws, k, c, u, v)]
						}
					})
					if ep.Bias != nil {
						sum += ep.Bias[k]
					}
					if ep.Residual != nil {
						sum += ep.Residual[o]
					}
					if ep.ReLU && sum < 0 {
						sum = 0
					}
					y[o] = sum
				}
			}
		}
	}}}
}

// each visits the taps of an output pixel that lie inside the image.
func each(g op.Conv, i, j int, f func(u, v, p, q int)) {
	for u := range g.KernelH {
		p := i*g.StrideH - g.PadH + u*g.DilationH
		if p < 0 || p >= g.In.H {
			continue
		}
		for v := range g.KernelW {
			if q := j*g.StrideW - g.PadW + v*g.DilationW; q >= 0 && q < g.In.W {
				f(u, v, p, q)
			}
		}
	}
}

// ConvBackwardData computes the gradient by x.
func ConvBackwardData(_ *Env, g op.Conv, dx, dy, w []float32) []Phase {
	s, ws := g.OutShape(), g.Weight()
	return []Phase{{Tasks: g.In.N, Run: func(n, _ int) {
		for c := range Blocks(g.In.C) * Block {
			for i := range g.In.H {
				for j := range g.In.W {
					dx[blockedAt(g.In, n, c, i, j)] = 0
				}
			}
		}
		for i := range s.H {
			for j := range s.W {
				each(g, i, j, func(u, v, p, q int) {
					for k := range s.C {
						d := dy[blockedAt(s, n, k, i, j)]
						for c := range ws.C {
							dx[blockedAt(g.In, n, k/(g.Out/g.Groups)*ws.C+c, p, q)] += d * w[planarAt(ws, k, c, u, v)]
						}
					}
				})
			}
		}
	}}}
}

// ConvBackwardWeights computes the gradient by w.
func ConvBackwardWeights(_ *Env, g op.Conv, dw, x, dy []float32) []Phase {
	return convBackwardWeights(g, dw, x, dy, blockedAt)
}

// ConvBackwardWeightsPlanar is ConvBackwardWeights of a planar image.
func ConvBackwardWeightsPlanar(_ *Env, g op.Conv, dw, x, dy []float32) []Phase {
	return convBackwardWeights(g, dw, x, dy, planarAt)
}

func convBackwardWeights(g op.Conv, dw, x, dy []float32, at1 func(s op.Shape, n, c, i, j int) int) []Phase {
	s, ws := g.OutShape(), g.Weight()
	return []Phase{{Tasks: g.Out, Run: func(k, _ int) {
		clear(dw[k*ws.C*ws.H*ws.W : (k+1)*ws.C*ws.H*ws.W])
		for n := range s.N {
			for i := range s.H {
				for j := range s.W {
					d := dy[blockedAt(s, n, k, i, j)]
					each(g, i, j, func(u, v, p, q int) {
						for c := range ws.C {
							dw[planarAt(ws, k, c, u, v)] += d * x[at1(g.In, n, k/(g.Out/g.Groups)*ws.C+c, p, q)]
						}
					})
				}
			}
		}
	}}}
}

// BiasGradient sums dy over images and pixels.
func BiasGradient(_ *Env, s op.Shape, db, dy []float32) []Phase {
	return []Phase{{Tasks: s.C, Run: func(c, _ int) {
		var sum float64
		for n := range s.N {
			for i := range s.H {
				for j := range s.W {
					sum += float64(dy[blockedAt(s, n, c, i, j)])
				}
			}
		}
		db[c] = float32(sum)
	}}}
}
