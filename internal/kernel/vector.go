package kernel

// vector is an instruction set's inner loops. Slices of float32 hold whole pixels of
// Block lanes unless it is said otherwise; the first slice's length says how far a
// loop runs. Destinations may be sources, in full.
type vector struct {
	blockwise[float32]
	bf16 blockwise[BF16]

	widen  func(y []float32, x []BF16)
	narrow func(y []BF16, x []float32, step int) // as long as x; pixels of y lie a step apart
	// Words of y are pairs of bfloat16; pixels of first and second lie a step apart.
	pairs      func(y []float32, first, second []BF16, step int)
	pairFloats func(y, first, second []float32, step int)
	join       func(y, first, second []float32, step int) // pixels of y are one of each, in words of two bfloat16

	axpy  func(y, x []float32, factor float32)              // y += factor*x
	blend func(y, a, b []float32, factorA, factorB float32) // factorA*a + factorB*b

	sumProducts func(acc []float64, a, b []float32)       // acc (Block) += a*b
	outer       func(y, value, factors []float32)         // pixel i is factors[i]*value
	weightedSum func(acc []float64, x, factors []float32) // acc (Block) += factors[i] * pixel i of x
	dots        func(acc []float64, x, weights []float32) // acc[i] += pixel i of x times weights (Block)

	// A window has rows and columns of the image, at least one each; stride is from one image row to
	// the next and step from one output's window to the next, in float32.
	windowMax    func(y, x []float32, rows, cols, stride, step int)
	windowSum    func(y, x []float32, factor float32, rows, cols, stride, step int) // factor times the sum
	windowFilter func(y, x, filter []float32, rows, cols, stride, step int)         // filter (rows, cols, Block)
	filter3x3    func(y, x, filter []float32, stride int)                           // windowFilter of 3 rows and columns and step Block
	windowPick   func(dx, dy, x, y []float32, rows, cols, stride, step int)         // dx += dy at the first x not below y; dy leads
	windowAdd    func(dx, dy []float32, factor float32, rows, cols, stride, step int)

	// taps sums len(offsets)/pixels weighted pixels of x into each pixel of y.
	taps func(y, x []float32, offsets []int32, weights []float32)

	winograd transforms

	sgd  func(param, grad, velocity, factors []float32)
	adam func(param, grad, first, second, factors []float32)
}

// Factors of sgd.
const (
	sgdDecay    = iota // of the parameter, added to the gradient
	sgdMomentum        // of the old velocity
	sgdGradient        // the gradient's share in the update
	sgdVelocity        // the new velocity's share in the update
	sgdRate
	sgdFactors
)

// Factors of adam.
const (
	adamDecay  = iota // of the parameter, added to the gradient
	adamShrink        // of the parameter itself
	adamKeep1         // of the old first moment
	adamNew1          // of the gradient
	adamKeep2         // of the old second moment
	adamNew2          // of the gradient's square
	adamRoot          // of the second moment's root
	adamEps
	adamRate
	adamFactors
)

// vectors is the table of an instruction set.
func vectors(isa ISA) *vector {
	if v, ok := assembly[isa]; ok {
		return v
	}
	return &generic
}

// taskLen is the number of float32 of one operand that make a task worth its
// dispatch: 64 KiB.
const taskLen = 1 << 14

// ranges splits items that cost size float32 each into tasks of about taskLen.
func ranges(items, size int, run func(from, to, worker int)) Phase {
	per := max(1, taskLen/max(1, size))
	return Phase{Tasks: (items + per - 1) / per, Run: func(task, worker int) {
		run(task*per, min((task+1)*per, items), worker)
	}}
}
