package kernel

import "math"

// generic is the Go reference of the vector loops.
var generic = vector{
	relu: goReLU, reluBackward: goReLUBackward, add: goAdd, scale: goScale, axpy: goAxpy, blend: goBlend, fill: goFill,
	sum: goSum, sumProducts: goSumProducts, outer: goOuter, weightedSum: goWeightedSum, dots: goDots,
	normalise: func(y, x, p []float32) { goNormalise(y, x, nil, p, false) },
	normReLU:  func(y, x, p []float32) { goNormalise(y, x, nil, p, true) },
	normAdd:   func(y, x, r, p []float32) { goNormalise(y, x, r, p, false) },
	normAddReLU: func(y, x, r, p []float32) {
		goNormalise(y, x, r, p, true)
	},
	moments:       goMoments,
	gradSums:      func(acc []float64, dy, x, mean []float32) { goGradSums(acc, nil, dy, x, nil, mean) },
	gradSumsMask:  func(acc []float64, dy, x, y, mean []float32) { goGradSums(acc, nil, dy, x, y, mean) },
	gradSumsKeep:  goGradSums,
	gradApply:     func(dx, dy, x, p []float32) { goGradApply(dx, dy, x, nil, p) },
	gradApplyMask: goGradApply,
	scaleLanes:    func(dx, dy, factors []float32) { goScaleMask(dx, dy, nil, factors) },
	scaleMask:     goScaleMask,
	windowMax:     goWindowMax, windowSum: goWindowSum, windowFilter: goWindowFilter, windowPick: goWindowPick, windowAdd: goWindowAdd,
	winograd: transforms{
		image: imageMatrix.transform, result: resultMatrix.transform, gradient: transposed(resultMatrix).transform,
		filter: filterMatrix.transform, filterGradient: transposed(filterMatrix).transform,
	},
	taps: goTaps, sgd: goSGD, adam: goAdam,
}

// pixel is the lanes of one pixel.
type pixel = [Block]float32

func at(x []float32, i int) *pixel { return (*pixel)(x[i:]) }

func goReLU(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

func goReLUBackward(dx, dy, y []float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = masked(dy[i], y[i])
	}
}

// masked is dy where a ReLU passed y.
func masked(dy, y float32) float32 {
	if y <= 0 {
		return 0
	}
	return dy
}

func goAdd(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func goScale(y, x []float32, factor float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] = v * factor
	}
}

func goAxpy(y, x []float32, factor float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] += v * factor
	}
}

func goBlend(y, a, b []float32, factorA, factorB float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i]*factorA + b[i]*factorB
	}
}

func goFill(y, value []float32) {
	for i := 0; i < len(y); i += Block {
		copy(y[i:i+Block], value)
	}
}

func goSum(acc []float64, x []float32) {
	for i := 0; i < len(x); i += Block {
		for l, v := range at(x, i) {
			acc[l] += float64(v)
		}
	}
}

func goSumProducts(acc []float64, a, b []float32) {
	for i := 0; i < len(a); i += Block {
		for l, v := range at(a, i) {
			acc[l] += float64(v) * float64(b[i+l])
		}
	}
}

func goOuter(y, value, factors []float32) {
	for i := 0; i < len(y); i += Block {
		f := factors[i/Block]
		for l := range Block {
			y[i+l] = f * value[l]
		}
	}
}

func goWeightedSum(acc []float64, x, factors []float32) {
	for i := 0; i < len(x); i += Block {
		f := float64(factors[i/Block])
		for l, v := range at(x, i) {
			acc[l] += f * float64(v)
		}
	}
}

func goDots(acc []float64, x, weights []float32) {
	w := at(weights, 0)
	for i := range acc {
		var even, odd float32
		p := at(x, i*Block)
		for l := 0; l < Block; l += 2 {
			even += p[l] * w[l]
			odd += p[l+1] * w[l+1]
		}
		acc[i] += float64(even + odd)
	}
}

func goNormalise(y, x, residual, params []float32, relu bool) {
	mean, scale, offset := at(params, 0), at(params, Block), at(params, 2*Block)
	for i := 0; i < len(y); i += Block {
		to, from := at(y, i), at(x, i)
		for l := range to {
			v := (from[l]-mean[l])*scale[l] + offset[l]
			if residual != nil {
				v += residual[i+l]
			}
			if relu && v < 0 {
				v = 0
			}
			to[l] = v
		}
	}
}

func goMoments(acc []float64, x, shift []float32) {
	for i := 0; i < len(x); i += Block {
		for l, v := range at(x, i) {
			d := float64(v) - float64(shift[l])
			acc[l] += d
			acc[Block+l] += d * d
		}
	}
}

func goGradSums(acc []float64, kept, dy, x, y, mean []float32) {
	for i := 0; i < len(dy); i += Block {
		for l, d := range at(dy, i) {
			if y != nil {
				d = masked(d, y[i+l])
			}
			if kept != nil {
				kept[i+l] = d
			}
			acc[l] += float64(d)
			acc[Block+l] += float64(d) * (float64(x[i+l]) - float64(mean[l]))
		}
	}
}

func goGradApply(dx, dy, x, y, params []float32) {
	mean, a, b, c := at(params, 0), at(params, Block), at(params, 2*Block), at(params, 3*Block)
	for i := 0; i < len(dx); i += Block {
		for l, d := range at(dy, i) {
			if y != nil {
				d = masked(d, y[i+l])
			}
			dx[i+l] = a[l]*d + b[l]*(x[i+l]-mean[l]) + c[l]
		}
	}
}

func goScaleMask(dx, dy, y, factors []float32) {
	for i := 0; i < len(dx); i += Block {
		for l, d := range at(dy, i) {
			if y != nil {
				d = masked(d, y[i+l])
			}
			dx[i+l] = d * factors[l]
		}
	}
}

func goWindowMax(y, x []float32, rows, cols, stride, step int) {
	for i := 0; i < len(y); i += Block {
		best := *at(x, i/Block*step)
		for r := range rows {
			for c := range cols {
				for l, v := range at(x, i/Block*step+r*stride+c*Block) {
					if v > best[l] || v != v {
						best[l] = v
					}
				}
			}
		}
		*at(y, i) = best
	}
}

func goWindowSum(y, x []float32, factor float32, rows, cols, stride, step int) {
	for i := 0; i < len(y); i += Block {
		var sum pixel
		for r := range rows {
			for c := range cols {
				for l, v := range at(x, i/Block*step+r*stride+c*Block) {
					sum[l] += v
				}
			}
		}
		for l, v := range sum {
			y[i+l] = v * factor
		}
	}
}

func goWindowFilter(y, x, filter []float32, rows, cols, stride, step int) {
	for i := 0; i < len(y); i += Block {
		var sum pixel
		for r := range rows {
			for c := range cols {
				weights := at(filter, (r*cols+c)*Block)
				for l, v := range at(x, i/Block*step+r*stride+c*Block) {
					sum[l] += v * weights[l]
				}
			}
		}
		*at(y, i) = sum
	}
}

func goWindowPick(dx, dy, x, y []float32, rows, cols, stride, step int) {
	for i := 0; i < len(dy); i += Block {
		var taken [Block]bool
		for r := range rows {
			for c := range cols {
				from := i/Block*step + r*stride + c*Block
				for l, v := range at(x, from) {
					if !taken[l] && !(v < y[i+l]) {
						taken[l] = true
						dx[from+l] += dy[i+l]
					}
				}
			}
		}
	}
}

func goWindowAdd(dx, dy []float32, factor float32, rows, cols, stride, step int) {
	for i := 0; i < len(dy); i += Block {
		d := at(dy, i)
		for r := range rows {
			for c := range cols {
				to := at(dx, i/Block*step+r*stride+c*Block)
				for l, v := range d {
					to[l] += v * factor
				}
			}
		}
	}
}

func goTaps(y, x []float32, offsets []int32, weights []float32) {
	k := len(offsets) / max(1, len(y)/Block)
	for i := 0; i < len(y); i += Block {
		var sum pixel
		for t := i / Block * k; t < (i/Block+1)*k; t++ {
			w := weights[t]
			for l, v := range at(x, int(offsets[t])) {
				sum[l] += v * w
			}
		}
		*at(y, i) = sum
	}
}

func goSGD(param, grad, velocity, f []float32) {
	for i, p := range param {
		g := grad[i] + f[sgdDecay]*p
		v := f[sgdMomentum]*velocity[i] + g
		velocity[i] = v
		param[i] = p - f[sgdRate]*(f[sgdGradient]*g+f[sgdVelocity]*v)
	}
}

func goAdam(param, grad, first, second, f []float32) {
	for i, p := range param {
		g := grad[i] + f[adamDecay]*p
		m := f[adamKeep1]*first[i] + f[adamNew1]*g
		v := f[adamKeep2]*second[i] + f[adamNew2]*g*g
		first[i], second[i] = m, v
		root := float32(math.Sqrt(float64(v)))
		param[i] = f[adamShrink]*p - f[adamRate]*m/(root*f[adamRoot]+f[adamEps])
	}
}
