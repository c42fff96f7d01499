package kernel

// blockwise is an instruction set's inner loops over blocked tensors of an element
// type. Slices hold whole pixels of Block lanes; the first slice's length says how
// far a loop runs. Destinations may be sources, in full.
//
// Sums are float32 within stretches of sumStretch pixels, in two accumulators a
// lane, and float64 beyond. Their error is at most 32*2^-24 = 2e-6 of the sum of
// the terms' absolute values, typically below 2e-7.
type blockwise[T Element] struct {
	relu         func(y, x []T)
	reluBackward func(dx, dy, y []T)
	add          func(y, a, b []T)
	fill         func(y []T, value []float32) // value in every pixel
	sum          func(acc []float64, x []T)   // acc (Block) += x

	// params are those of normParams.
	normalise   func(y, x []T, params []float32) // (x-mean)*scale + offset
	normReLU    func(y, x []T, params []float32)
	normAdd     func(y, x, residual []T, params []float32)
	normAddReLU func(y, x, residual []T, params []float32)

	// acc (2, Block) gets the sums of x-shift and its square, or those of dy and
	// dy*(x-mean), with y only where y > 0; kept gets what dy was then.
	moments      func(acc []float64, x []T, shift []float32)
	gradSums     func(acc []float64, dy, x []T, mean []float32)
	gradSumsMask func(acc []float64, dy, x, y []T, mean []float32)
	gradSumsKeep func(acc []float64, kept, dy, x, y []T, mean []float32)

	// params are those of gradParams; dy counts only where y > 0.
	gradApply     func(dx, dy, x []T, params []float32) // a*dy + b*(x-mean) + c
	gradApplyMask func(dx, dy, x, y []T, params []float32)
	scaleLanes    func(dx, dy []T, factors []float32) // factors (Block)
	scaleMask     func(dx, dy, y []T, factors []float32)
}

// sumStretch is the number of pixels summed in float32 at a time.
const sumStretch = 64

// Parameters of normalise and gradApply: vectors of Block lanes in a row.
const (
	normParams = 3 * Block // mean, scale, offset
	gradParams = 4 * Block // mean, a, b, c
)

// blockwiseOf is the loops of an instruction set for an element type.
func blockwiseOf[T Element](isa ISA) *blockwise[T] {
	v := vectors(isa)
	if b, ok := any(&v.blockwise).(*blockwise[T]); ok {
		return b
	}
	return any(&v.bf16).(*blockwise[T])
}

// goBlockwise is the Go reference of the loops.
func goBlockwise[T Element]() blockwise[T] {
	return blockwise[T]{
		relu: goReLU[T], reluBackward: goReLUBackward[T], add: goAdd[T], fill: goFill[T], sum: goSum[T],
		normalise:     func(y, x []T, p []float32) { goNormalise(y, x, nil, p, false) },
		normReLU:      func(y, x []T, p []float32) { goNormalise(y, x, nil, p, true) },
		normAdd:       func(y, x, r []T, p []float32) { goNormalise(y, x, r, p, false) },
		normAddReLU:   func(y, x, r []T, p []float32) { goNormalise(y, x, r, p, true) },
		moments:       goMoments[T],
		gradSums:      func(acc []float64, dy, x []T, mean []float32) { goGradSums(acc, nil, dy, x, nil, mean) },
		gradSumsMask:  func(acc []float64, dy, x, y []T, mean []float32) { goGradSums(acc, nil, dy, x, y, mean) },
		gradSumsKeep:  goGradSums[T],
		gradApply:     func(dx, dy, x []T, p []float32) { goGradApply(dx, dy, x, nil, p) },
		gradApplyMask: goGradApply[T],
		scaleLanes:    func(dx, dy []T, factors []float32) { goScaleMask(dx, dy, nil, factors) },
		scaleMask:     goScaleMask[T],
	}
}

func goReLU[T Element](y, x []T) {
	for i := 0; i < len(y); i += Block {
		p := load(x, i)
		for l, v := range p {
			if v < 0 {
				p[l] = 0
			}
		}
		store(y, i, &p)
	}
}

func goReLUBackward[T Element](dx, dy, y []T) {
	for i := 0; i < len(dx); i += Block {
		p := loadMasked(dy, y, i)
		store(dx, i, &p)
	}
}

// loadMasked is the pixel of dy where a ReLU passed y, if that is not nil.
func loadMasked[T Element](dy, y []T, i int) pixel {
	d := load(dy, i)
	if y != nil {
		passed := load(y, i)
		for l := range d {
			d[l] = masked(d[l], passed[l])
		}
	}
	return d
}

// masked is dy where a ReLU passed y.
func masked(dy, y float32) float32 {
	if y <= 0 {
		return 0
	}
	return dy
}

func goAdd[T Element](y, a, b []T) {
	for i := 0; i < len(y); i += Block {
		p, q := load(a, i), load(b, i)
		for l := range p {
			p[l] += q[l]
		}
		store(y, i, &p)
	}
}

func goFill[T Element](y []T, value []float32) {
	for i := 0; i < len(y); i += Block {
		store(y, i, at(value, 0))
	}
}

func goSum[T Element](acc []float64, x []T) {
	for i := 0; i < len(x); i += Block {
		for l, v := range load(x, i) {
			acc[l] += float64(v)
		}
	}
}

func goNormalise[T Element](y, x, residual []T, params []float32, relu bool) {
	mean, scale, offset := at(params, 0), at(params, Block), at(params, 2*Block)
	for i := 0; i < len(y); i += Block {
		p := load(x, i)
		for l, v := range p {
			p[l] = (v-mean[l])*scale[l] + offset[l]
		}
		if residual != nil {
			for l, v := range load(residual, i) {
				p[l] += v
			}
		}
		for l, v := range p {
			if relu && v < 0 {
				p[l] = 0
			}
		}
		store(y, i, &p)
	}
}

func goMoments[T Element](acc []float64, x []T, shift []float32) {
	for i := 0; i < len(x); i += Block {
		for l, v := range load(x, i) {
			d := float64(v) - float64(shift[l])
			acc[l] += d
			acc[Block+l] += d * d
		}
	}
}

func goGradSums[T Element](acc []float64, kept, dy, x, y []T, mean []float32) {
	for i := 0; i < len(dy); i += Block {
		d, from := loadMasked(dy, y, i), load(x, i)
		if kept != nil {
			store(kept, i, &d)
		}
		for l, v := range d {
			acc[l] += float64(v)
			acc[Block+l] += float64(v) * (float64(from[l]) - float64(mean[l]))
		}
	}
}

func goGradApply[T Element](dx, dy, x, y []T, params []float32) {
	mean, a, b, c := at(params, 0), at(params, Block), at(params, 2*Block), at(params, 3*Block)
	for i := 0; i < len(dx); i += Block {
		d, from := loadMasked(dy, y, i), load(x, i)
		for l, v := range d {
			d[l] = a[l]*v + b[l]*(from[l]-mean[l]) + c[l]
		}
		store(dx, i, &d)
	}
}

func goScaleMask[T Element](dx, dy, y []T, factors []float32) {
	for i := 0; i < len(dx); i += Block {
		d := loadMasked(dy, y, i)
		for l := range d {
			d[l] *= factors[l]
		}
		store(dx, i, &d)
	}
}
