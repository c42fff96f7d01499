package kernel

import "math"

// generic is the Go reference of the vector loops.
var generic = vector{
	blockwise: goBlockwise[float32](), bf16: goBlockwise[BF16](),
	axpy: goAxpy, blend: goBlend,
	sumProducts: goSumProducts, outer: goOuter, weightedSum: goWeightedSum, dots: goDots,
	windowMax: goWindowMax, windowSum: goWindowSum, windowFilter: goWindowFilter, filter3x3: goFilter3x3, windowPick: goWindowPick, windowAdd: goWindowAdd,
	winograd: transforms{
		image: imageMatrix.transform, result: resultMatrix.transform, gradient: transposed(resultMatrix).transform,
		filter: filterMatrix.transform, filterGradient: transposed(filterMatrix).transform,
	},
	taps: goTaps, sgd: goSGD, adam: goAdam,
	widen: goWiden, narrow: goNarrow, pairs: goPairs, pairFloats: goPairFloats, join: goJoin,
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

func goFilter3x3(y, x, filter []float32, stride int) {
	goWindowFilter(y, x, filter, 3, 3, stride, Block)
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

func goWiden(y []float32, x []BF16) {
	for i := range y {
		y[i] = x[i].Float32()
	}
}

func goNarrow(y []BF16, x []float32, step int) {
	for i := 0; i < len(x); i += Block {
		store(y, i/Block*step, at(x, i))
	}
}

func goPairs(y []float32, first, second []BF16, step int) {
	for i := range y {
		from := i/Block*step + i%Block
		y[i] = pair(first[from], second[from])
	}
}

func goPairFloats(y, first, second []float32, step int) {
	for i := range y {
		from := i/Block*step + i%Block
		y[i] = pair(roundBF16(first[from]), roundBF16(second[from]))
	}
}

func goJoin(y, first, second []float32, step int) {
	for i := range len(y) / Block {
		*(*wordPixel)(y[i*Block:]) = wordPixel(first[i*step:])
		*(*wordPixel)(y[i*Block+wordsPerPixel:]) = wordPixel(second[i*step:])
	}
}

// pair is the word that holds two bfloat16.
func pair(first, second BF16) float32 {
	return math.Float32frombits(uint32(first) | uint32(second)<<16)
}
