package kernel

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"
)

// operands makes what a vector loop works on: slices of a seed's numbers that
// begin off the cache line and have NaN before and behind them.
type operands struct {
	draw
	inPlace bool // destinations are sources where they may be
	made    []operand
}

// operand is a slice with what surrounds it, and how many terms its sums have.
type operand struct {
	narrow []float32
	wide   []float64
	terms  int
}

const guard = Block + 1

// slice has values of which the next is given by value.
func (o *operands) slice(n int, value func() float32) []float32 {
	x := Alloc(n + 2*guard)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	inner := x[guard : guard+n]
	for i := range inner {
		inner[i] = value()
	}
	o.made = append(o.made, operand{narrow: x})
	return inner
}

// values are in [-1, 1).
func (o *operands) values(n int) []float32 {
	return o.slice(n, func() float32 { return o.Float32()*2 - 1 })
}

func (o *operands) positives(n int) []float32 { return o.slice(n, o.Float32) }

// special are few values with NaN, infinities and both zeros among them.
func (o *operands) special(n int) []float32 {
	list := []float32{-2, -1, 0, float32(math.Copysign(0, -1)), 1, 2, 2, 1, -1, 1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	return o.slice(n, func() float32 { return list[o.IntN(len(list))] })
}

// to is a destination that may be the source x.
func (o *operands) to(x []float32) []float32 {
	if o.inPlace {
		return x
	}
	return o.values(len(x))
}

// sums are n float64 that get so many terms each.
func (o *operands) sums(n, terms int) []float64 {
	x := make([]float64, n+2*guard)
	for i := range x {
		x[i] = o.Float64()
	}
	o.made = append(o.made, operand{wide: x, terms: terms})
	return x[guard : guard+n]
}

// loops are all vector loops on n pixels, whose operands they make.
var loops = []struct {
	name string
	bind func(o *operands, n int) func(v *vector)
}{
	{"relu", func(o *operands, n int) func(v *vector) {
		x := o.special(n * Block)
		y := o.to(x)
		return func(v *vector) { v.relu(y, x) }
	}},
	{"reluBackward", func(o *operands, n int) func(v *vector) {
		dy, y := o.special(n*Block), o.special(n*Block)
		dx := o.to(dy)
		return func(v *vector) { v.reluBackward(dx, dy, y) }
	}},
	{"add", func(o *operands, n int) func(v *vector) {
		a, b := o.special(n*Block), o.special(n*Block)
		y := o.to(b)
		return func(v *vector) { v.add(y, a, b) }
	}},
	{"axpy", func(o *operands, n int) func(v *vector) {
		x := o.values(n * Block)
		y := o.to(x)
		return func(v *vector) { v.axpy(y, x, -0.75) }
	}},
	{"blend", func(o *operands, n int) func(v *vector) {
		a, b := o.values(n*Block), o.values(n*Block)
		y := o.to(b)
		return func(v *vector) { v.blend(y, a, b, 0.25, -0.75) }
	}},
	{"fill", func(o *operands, n int) func(v *vector) {
		y, value := o.values(n*Block), o.values(Block)
		return func(v *vector) { v.fill(y, value) }
	}},
	{"sum", func(o *operands, n int) func(v *vector) {
		acc, x := o.sums(Block, n), o.values(n*Block)
		return func(v *vector) { v.sum(acc, x) }
	}},
	{"sumProducts", func(o *operands, n int) func(v *vector) {
		acc, a, b := o.sums(Block, n), o.values(n*Block), o.values(n*Block)
		return func(v *vector) { v.sumProducts(acc, a, b) }
	}},
	{"outer", func(o *operands, n int) func(v *vector) {
		y, value, factors := o.values(n*Block), o.values(Block), o.values(n)
		return func(v *vector) { v.outer(y, value, factors) }
	}},
	{"weightedSum", func(o *operands, n int) func(v *vector) {
		acc, x, factors := o.sums(Block, n), o.values(n*Block), o.values(n)
		return func(v *vector) { v.weightedSum(acc, x, factors) }
	}},
	{"dots", func(o *operands, n int) func(v *vector) {
		acc, x, weights := o.sums(n, Block), o.values(n*Block), o.values(Block)
		return func(v *vector) { v.dots(acc, x, weights) }
	}},
	{"normalise", func(o *operands, n int) func(v *vector) {
		x, params := o.values(n*Block), o.values(normParams)
		y := o.to(x)
		return func(v *vector) { v.normalise(y, x, params) }
	}},
	{"normReLU", func(o *operands, n int) func(v *vector) {
		x, params := o.values(n*Block), o.values(normParams)
		y := o.to(x)
		return func(v *vector) { v.normReLU(y, x, params) }
	}},
	{"normAdd", func(o *operands, n int) func(v *vector) {
		x, residual, params := o.values(n*Block), o.special(n*Block), o.values(normParams)
		y := o.to(residual)
		return func(v *vector) { v.normAdd(y, x, residual, params) }
	}},
	{"normAddReLU", func(o *operands, n int) func(v *vector) {
		x, residual, params := o.values(n*Block), o.special(n*Block), o.values(normParams)
		y := o.to(x)
		return func(v *vector) { v.normAddReLU(y, x, residual, params) }
	}},
	{"moments", func(o *operands, n int) func(v *vector) {
		acc, x, shift := o.sums(2*Block, n), o.values(n*Block), o.values(Block)
		return func(v *vector) { v.moments(acc, x, shift) }
	}},
	{"gradSums", func(o *operands, n int) func(v *vector) {
		acc, dy, x, mean := o.sums(2*Block, n), o.values(n*Block), o.values(n*Block), o.values(Block)
		return func(v *vector) { v.gradSums(acc, dy, x, mean) }
	}},
	{"gradSumsMask", func(o *operands, n int) func(v *vector) {
		acc, dy, x, y, mean := o.sums(2*Block, n), o.values(n*Block), o.values(n*Block), o.special(n*Block), o.values(Block)
		return func(v *vector) { v.gradSumsMask(acc, dy, x, y, mean) }
	}},
	{"gradSumsKeep", func(o *operands, n int) func(v *vector) {
		acc, dy, x, y, mean := o.sums(2*Block, n), o.values(n*Block), o.values(n*Block), o.special(n*Block), o.values(Block)
		kept := o.to(dy)
		return func(v *vector) { v.gradSumsKeep(acc, kept, dy, x, y, mean) }
	}},
	{"gradApply", func(o *operands, n int) func(v *vector) {
		dy, x, params := o.values(n*Block), o.values(n*Block), o.values(gradParams)
		dx := o.to(dy)
		return func(v *vector) { v.gradApply(dx, dy, x, params) }
	}},
	{"gradApplyMask", func(o *operands, n int) func(v *vector) {
		dy, x, y, params := o.values(n*Block), o.values(n*Block), o.special(n*Block), o.values(gradParams)
		dx := o.to(y)
		return func(v *vector) { v.gradApplyMask(dx, dy, x, y, params) }
	}},
	{"scaleLanes", func(o *operands, n int) func(v *vector) {
		dy, factors := o.special(n*Block), o.values(Block)
		dx := o.to(dy)
		return func(v *vector) { v.scaleLanes(dx, dy, factors) }
	}},
	{"scaleMask", func(o *operands, n int) func(v *vector) {
		dy, y, factors := o.special(n*Block), o.special(n*Block), o.values(Block)
		dx := o.to(y)
		return func(v *vector) { v.scaleMask(dx, dy, y, factors) }
	}},
	{"windowMax", func(o *operands, n int) func(v *vector) {
		y, x := o.values(n*Block), o.special(imageLen(n))
		return func(v *vector) { v.windowMax(y, x, 3, 3, rowLen(n), 2*Block) }
	}},
	{"windowSum", func(o *operands, n int) func(v *vector) {
		y, x := o.values(n*Block), o.values(imageLen(n))
		return func(v *vector) { v.windowSum(y, x, 0.25, 3, 3, rowLen(n), 2*Block) }
	}},
	{"windowFilter", func(o *operands, n int) func(v *vector) {
		y, x, filter := o.values(n*Block), o.values(imageLen(n)), o.values(9*Block)
		return func(v *vector) { v.windowFilter(y, x, filter, 3, 3, rowLen(n), 2*Block) }
	}},
	{"filter3x3", func(o *operands, n int) func(v *vector) {
		y, x, filter := o.values(n*Block), o.values(imageLen(n)), o.values(9*Block)
		return func(v *vector) { v.filter3x3(y, x, filter, rowLen(n)) }
	}},
	{"windowPick", func(o *operands, n int) func(v *vector) {
		dx, dy, x, y := o.values(imageLen(n)), o.values(n*Block), o.special(imageLen(n)), o.values(n*Block)
		goWindowMax(y, x, 3, 3, rowLen(n), 2*Block)
		return func(v *vector) { v.windowPick(dx, dy, x, y, 3, 3, rowLen(n), 2*Block) }
	}},
	{"windowAdd", func(o *operands, n int) func(v *vector) {
		dx, dy := o.values(imageLen(n)), o.values(n*Block)
		return func(v *vector) { v.windowAdd(dx, dy, 0.25, 3, 3, rowLen(n), 2*Block) }
	}},
	{"taps", func(o *operands, n int) func(v *vector) {
		const each = 3
		y, x, weights, offsets := o.values(n*Block), o.values((n+1)*Block), o.values(n*each), make([]int32, n*each)
		for i := range offsets {
			offsets[i] = int32(o.IntN(n+1) * Block)
		}
		return func(v *vector) { v.taps(y, x, offsets, weights) }
	}},
	{"sgd", func(o *operands, n int) func(v *vector) {
		param, grad, velocity, factors := o.values(n*Block), o.values(n*Block), o.values(n*Block), o.values(sgdFactors)
		return func(v *vector) { v.sgd(param, grad, velocity, factors) }
	}},
	{"adam", func(o *operands, n int) func(v *vector) {
		param, grad, first, second, factors := o.values(n*Block), o.values(n*Block), o.values(n*Block), o.positives(n*Block), o.positives(adamFactors)
		factors[adamEps] += 0.5
		return func(v *vector) { v.adam(param, grad, first, second, factors) }
	}},
}

// rowLen and imageLen are of the image that has n windows of 3 by 3 in a row,
// two apart.
func rowLen(n int) int   { return (2*n + 2) * Block }
func imageLen(n int) int { return 3 * rowLen(n) }

func TestVectorLoopsLeaveInMemoryWhatThoseInGoLeave(t *testing.T) {
	for _, isa := range isas()[1:] {
		for _, loop := range loops {
			for _, pixels := range []int{0, 1, 2, 3, 4, 7, sumStretch - 1, sumStretch, sumStretch + 1, 2*sumStretch + 3} {
				for _, inPlace := range []bool{false, true} {
					name := fmt.Sprintf("%s of %d pixels, %v, in place %v", loop.name, pixels, isa, inPlace)
					got, want := &operands{draw: newDraw(1), inPlace: inPlace}, &operands{draw: newDraw(1), inPlace: inPlace}
					loop.bind(got, pixels)(vectors(isa))
					loop.bind(want, pixels)(&generic)
					for i := range want.made {
						if at, ok := got.made[i].near(want.made[i]); !ok {
							t.Errorf("%s: operand %d differs %d behind its start", name, i, at-guard)
						}
					}
				}
			}
		}
	}
}

// near compares within the bound of the sums' error, of terms that are at most 4.
func (a operand) near(b operand) (at int, ok bool) {
	for i, w := range b.wide {
		if !(math.Abs(a.wide[i]-w) <= tolerance*4*float64(b.terms)) {
			return i, false
		}
	}
	return near(a.narrow, wide(b.narrow), 0)
}

// BenchmarkVectorLoops counts every operand once, whether it is read, written or
// both. They stay in the second level cache: 32 KiB each.
func BenchmarkVectorLoops(b *testing.B) {
	const pixels = 512
	for _, loop := range loops {
		for _, isa := range isas() {
			b.Run(loop.name+"/"+isa.String(), func(b *testing.B) {
				o := &operands{draw: newDraw(1)}
				run, v, bytes := loop.bind(o, pixels), vectors(isa), 0
				for _, x := range o.made {
					bytes += 4*len(x.narrow) + 8*len(x.wide)
				}
				b.SetBytes(int64(bytes))
				for b.Loop() {
					run(v)
				}
			})
		}
	}
}

// TestBF16LoopsAreThoseOfFloat32Rounded compares an instruction set's loops over
// bfloat16, and Go's, with the float32 loops over the same values.
func TestBF16LoopsAreThoseOfFloat32Rounded(t *testing.T) {
	exact := &generic.blockwise
	for _, isa := range isas() {
		v := blockwiseOf[BF16](isa)
		for _, n := range []int{0, 1, 2, 63, 64, 65, 130} {
			d := newDraw(uint64(n))
			draw := func() ([]BF16, []float32) {
				x := as[BF16](d.values(n * Block))
				return elements[BF16](x), x
			}
			x, x32 := draw()
			y, y32 := draw()
			z, z32 := draw()
			params := d.values(gradParams)
			check := func(name string, got []BF16, want []float32) {
				t.Helper()
				for i, w := range want {
					if diff := math.Abs(float64(got[i].Float32() - w)); !(diff <= math.Abs(float64(w))/(1<<8)+1e-6) {
						t.Fatalf("%s, %v, %d pixels: element %d is %v, want %v", name, isa, n, i, got[i].Float32(), w)
					}
				}
			}
			maps := map[string]struct {
				got  func(to []BF16)
				want func(to []float32)
			}{
				"relu":          {func(to []BF16) { v.relu(to, x) }, func(to []float32) { exact.relu(to, x32) }},
				"reluBackward":  {func(to []BF16) { v.reluBackward(to, x, y) }, func(to []float32) { exact.reluBackward(to, x32, y32) }},
				"add":           {func(to []BF16) { v.add(to, x, y) }, func(to []float32) { exact.add(to, x32, y32) }},
				"fill":          {func(to []BF16) { v.fill(to, params) }, func(to []float32) { exact.fill(to, params) }},
				"normalise":     {func(to []BF16) { v.normalise(to, x, params) }, func(to []float32) { exact.normalise(to, x32, params) }},
				"normReLU":      {func(to []BF16) { v.normReLU(to, x, params) }, func(to []float32) { exact.normReLU(to, x32, params) }},
				"normAdd":       {func(to []BF16) { v.normAdd(to, x, y, params) }, func(to []float32) { exact.normAdd(to, x32, y32, params) }},
				"normAddReLU":   {func(to []BF16) { v.normAddReLU(to, x, y, params) }, func(to []float32) { exact.normAddReLU(to, x32, y32, params) }},
				"gradApply":     {func(to []BF16) { v.gradApply(to, x, y, params) }, func(to []float32) { exact.gradApply(to, x32, y32, params) }},
				"gradApplyMask": {func(to []BF16) { v.gradApplyMask(to, x, y, z, params) }, func(to []float32) { exact.gradApplyMask(to, x32, y32, z32, params) }},
				"scaleLanes":    {func(to []BF16) { v.scaleLanes(to, x, params) }, func(to []float32) { exact.scaleLanes(to, x32, params) }},
				"scaleMask":     {func(to []BF16) { v.scaleMask(to, x, y, params) }, func(to []float32) { exact.scaleMask(to, x32, y32, params) }},
			}
			for name, m := range maps {
				got, want := make([]BF16, len(x)), make([]float32, len(x))
				m.got(got)
				m.want(want)
				check(name, got, want)
			}
			kept, kept32 := make([]BF16, len(x)), make([]float32, len(x))
			sums := map[string]struct{ got, want func(acc []float64) }{
				"sum":          {func(acc []float64) { v.sum(acc, x) }, func(acc []float64) { exact.sum(acc, x32) }},
				"moments":      {func(acc []float64) { v.moments(acc, x, params) }, func(acc []float64) { exact.moments(acc, x32, params) }},
				"gradSums":     {func(acc []float64) { v.gradSums(acc, x, y, params) }, func(acc []float64) { exact.gradSums(acc, x32, y32, params) }},
				"gradSumsMask": {func(acc []float64) { v.gradSumsMask(acc, x, y, z, params) }, func(acc []float64) { exact.gradSumsMask(acc, x32, y32, z32, params) }},
				"gradSumsKeep": {func(acc []float64) { v.gradSumsKeep(acc, kept, x, y, z, params) }, func(acc []float64) { exact.gradSumsKeep(acc, kept32, x32, y32, z32, params) }},
			}
			for name, s := range sums {
				var got, want [2 * Block]float64
				s.got(got[:])
				s.want(want[:])
				for i := range got {
					if !(math.Abs(got[i]-want[i]) <= 2e-6*float64(4*n)) {
						t.Fatalf("%s, %v, %d pixels: sum %d is %v, want %v", name, isa, n, i, got[i], want[i])
					}
				}
			}
			check("gradSumsKeep", kept, kept32)
		}
	}
}

// TestRoundingToBF16IsToTheNearestEvenOfEverySet looks at ties, specials and all that
// is a bfloat16 already.
func TestRoundingToBF16IsToTheNearestEvenOfEverySet(t *testing.T) {
	bits := []uint32{
		0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf808000, // 1 and its neighbours
		0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, // the largest, infinities, NaN
		0, 0x80000000, 0x00800000, 0x42f6e979, 0xc2f6e979,
	}
	x := make([]float32, Block)
	for i, b := range bits {
		x[i] = math.Float32frombits(b)
	}
	for _, isa := range isas() {
		v, y, back := vectors(isa), make([]BF16, 2*Block), make([]float32, Block)
		v.narrow(y, x, Block)
		v.widen(back, y)
		for i, value := range x {
			rounded, want := new(big.Float).SetPrec(8).SetMode(big.ToNearestEven), value
			if !math.IsNaN(float64(value)) && !math.IsInf(float64(value), 0) {
				w, _ := rounded.SetFloat64(float64(value)).Float64()
				if want = float32(w); math.Abs(w) > 3.3961e38 { // beyond the largest bfloat16
					want = float32(math.Inf(int(math.Copysign(1, w))))
				}
			}
			if got := back[i]; got != want && !(got != got && want != want) {
				t.Errorf("%v: %x becomes %v, want %v", isa, bits[i], got, want)
			}
		}
	}
}

func TestPairsAreTwoPixelsChannelByChannel(t *testing.T) {
	d := newDraw(1)
	x := as[BF16](d.values(9 * Block))
	for _, isa := range isas() {
		v, y := vectors(isa), make([]float32, 4*Block)
		for name, write := range map[string]func(){
			"pairs":      func() { v.pairs(y, elements[BF16](x), elements[BF16](x)[Block:], 2*Block) },
			"pairFloats": func() { v.pairFloats(y, x, x[Block:], 2*Block) },
		} {
			clear(y)
			write()
			for i, word := range y {
				first, second := unpair(word)
				if from := i/Block*2*Block + i%Block; first != x[from] || second != x[from+Block] {
					t.Fatalf("%s, %v: word %d is %v and %v, want %v and %v", name, isa, i, first, second, x[from], x[from+Block])
				}
			}
		}
	}
}

func TestJoinedPixelsAreOneOfEachBlock(t *testing.T) {
	const step = 2 * wordsPerPixel
	x := newDraw(1).values(10 * wordsPerPixel)
	for _, isa := range isas() {
		y := make([]float32, 4*Block)
		vectors(isa).join(y, x, x[wordsPerPixel:], step)
		if !slices.Equal(y, x[:len(y)]) {
			t.Fatalf("%v: pixels %v, want %v", isa, y, x[:len(y)])
		}
	}
}
