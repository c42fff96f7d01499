package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// transforms are those of kernel.winograd: each applies a matrix down the columns
// of an array of pixels, and then along the rows of what that gives.
func (s isa) transforms() {
	s.transform("winogradImage", 6, 6, s.imageMatrix)
	s.transform("winogradResult", 6, 4, s.resultMatrix)
	s.transform("winogradGradient", 4, 6, s.gradientMatrix)
	s.transform("winogradFilter", 3, 6, s.filterMatrix)
	s.transform("winogradFilterGradient", 6, 3, s.filterGradientMatrix)
}

// transform writes a function whose matrix has so many columns and rows. What is
// between the passes lies on the stack.
func (s isa) transform(name string, in, out int, matrix func() func(x []VecVirtual) []VecVirtual) {
	TEXT(name+s.name, 0, "func(dst, src []float32, dstRow, dstCol, srcRow, srcCol int)")
	Pragma("noescape")
	between := AllocLocal(in * out * s.bytes)
	dst, src := base("dst"), base("src")
	srcRow := strided("srcRow", in)
	srcCol := strided("srcCol", 2)
	dstRow := strided("dstRow", 2)
	dstCol := strided("dstCol", out)
	apply := matrix()
	s.each(func(part int) {
		p := GP64()
		MOVQ(src, p)
		for col := range in {
			var x []VecVirtual
			for row := range in {
				x = append(x, s.load(srcRow(p, row).Offset(part)))
			}
			for row, y := range apply(x) {
				VMOVUPS(y, between.Offset((row*in+col)*s.bytes))
			}
			LEAQ(srcCol(p, 1), p)
		}
		MOVQ(dst, p)
		for row := range out {
			var x []VecVirtual
			for col := range in {
				x = append(x, s.load(between.Offset((row*in+col)*s.bytes)))
			}
			for col, y := range apply(x) {
				VMOVUPS(y, dstCol(p, col).Offset(part))
			}
			LEAQ(dstRow(p, 1), p)
		}
	})
	end()
}

// strided loads a stride in float32 and addresses steps of it, fewer than n.
func strided(param string, n int) func(from Register, step int) Mem {
	one := Load(Param(param), GP64())
	SHLQ(Imm(2), one)
	odd := map[int]Register{1: one}
	for _, k := range []int{3, 5} {
		if k < n {
			odd[k] = GP64()
			LEAQ(Mem{Base: one, Index: one, Scale: uint8(k - 1)}, odd[k])
		}
	}
	return func(from Register, step int) Mem {
		switch step {
		case 0:
			return Mem{Base: from}
		case 2, 4:
			return Mem{Base: from, Index: one, Scale: uint8(step)}
		}
		return Mem{Base: from, Index: odd[step], Scale: 1}
	}
}

func (s isa) plus(a, b VecVirtual) VecVirtual {
	v := s.vec()
	VADDPS(b, a, v)
	return v
}

func (s isa) minus(a, b VecVirtual) VecVirtual {
	v := s.vec()
	VSUBPS(b, a, v)
	return v
}

func (s isa) times(a, factor VecVirtual) VecVirtual {
	v := s.vec()
	VMULPS(factor, a, v)
	return v
}

// plusTimes is a + b*factor, minusTimes a - b*factor.
func (s isa) plusTimes(a, b, factor VecVirtual) VecVirtual {
	v := s.vec()
	VMOVAPS(a, v)
	VFMADD231PS(b, factor, v)
	return v
}

func (s isa) minusTimes(a, b, factor VecVirtual) VecVirtual {
	v := s.vec()
	VMOVAPS(a, v)
	VFNMADD231PS(b, factor, v)
	return v
}

// constant is a number in all lanes.
func (s isa) constant(name string, value float32) VecVirtual {
	return s.broadcast(ConstData(name+s.name, F32(value)))
}

// The points besides 0 and infinity at which polynomials are multiplied, with both
// signs; in the matrices p and q.
const (
	rootHalf = 1 / math.Sqrt2
	rootTwo  = math.Sqrt2
)

// imageMatrix is
//
//	1  0 -5/2    0 1 0
//	0 -q   -2    p 1 0
//	0  q   -2   -p 1 0
//	0 -p -1/2    q 1 0
//	0  p -1/2   -q 1 0
//	0  1    0 -5/2 0 1
func (s isa) imageMatrix() func(x []VecVirtual) []VecVirtual {
	half, two, more := s.constant("imageHalf", 1.0/2), s.constant("imageTwo", 2), s.constant("imageMore", 5.0/2)
	p, q := s.constant("imageP", rootHalf), s.constant("imageQ", rootTwo)
	return func(x []VecVirtual) []VecVirtual {
		a, b := s.minusTimes(x[4], x[2], two), s.minusTimes(x[3], x[1], two)
		c, d := s.minusTimes(x[4], x[2], half), s.minusTimes(x[3], x[1], half)
		return []VecVirtual{
			s.plus(s.minusTimes(x[4], x[2], more), x[0]),
			s.plusTimes(a, b, p), s.minusTimes(a, b, p),
			s.plusTimes(c, d, q), s.minusTimes(c, d, q),
			s.plus(s.minusTimes(x[5], x[3], more), x[1]),
		}
	}
}

// resultMatrix is
//
//	1   1    1  1   1 0
//	0   p   -p  q  -q 0
//	0 1/2  1/2  2   2 0
//	0 p/2 -p/2 2q -2q 1
func (s isa) resultMatrix() func(x []VecVirtual) []VecVirtual {
	half, two := s.constant("resultHalf", 1.0/2), s.constant("resultTwo", 2)
	p, q := s.constant("resultP", rootHalf), s.constant("resultQ", rootTwo)
	halfP, twoQ := s.constant("resultHalfP", rootHalf/2), s.constant("resultTwoQ", 2*rootTwo)
	return func(x []VecVirtual) []VecVirtual {
		a, b, c, d := s.plus(x[1], x[2]), s.minus(x[1], x[2]), s.plus(x[3], x[4]), s.minus(x[3], x[4])
		return []VecVirtual{
			s.plus(s.plus(x[0], a), c),
			s.plusTimes(s.times(b, p), d, q),
			s.plusTimes(s.times(a, half), c, two),
			s.plusTimes(s.plusTimes(x[5], b, halfP), d, twoQ),
		}
	}
}

// gradientMatrix is resultMatrix turned.
func (s isa) gradientMatrix() func(x []VecVirtual) []VecVirtual {
	half, two := s.constant("gradientHalf", 1.0/2), s.constant("gradientTwo", 2)
	p, q := s.constant("gradientP", rootHalf), s.constant("gradientQ", rootTwo)
	return func(x []VecVirtual) []VecVirtual {
		a, b := s.plusTimes(x[0], x[2], half), s.plusTimes(x[1], x[3], half)
		c, d := s.plusTimes(x[0], x[2], two), s.plusTimes(x[1], x[3], two)
		return []VecVirtual{x[0], s.plusTimes(a, b, p), s.minusTimes(a, b, p), s.plusTimes(c, d, q), s.minusTimes(c, d, q), x[3]}
	}
}

// filterMatrix is
//
//	   1     0    0
//	-2/3 -2p/3 -1/3
//	-2/3  2p/3 -1/3
//	 1/6   q/6  1/3
//	 1/6  -q/6  1/3
//	   0     0    1
func (s isa) filterMatrix() func(x []VecVirtual) []VecVirtual {
	sixth, third, twoThirds := s.constant("filterSixth", 1.0/6), s.constant("filterThird", 1.0/3), s.constant("filterTwoThirds", 2.0/3)
	p, q := s.constant("filterP", 2*rootHalf/3), s.constant("filterQ", rootTwo/6)
	return func(x []VecVirtual) []VecVirtual {
		a := s.minusTimes(s.minusTimes(s.zero(), x[0], twoThirds), x[2], third)
		b := s.plusTimes(s.times(x[0], sixth), x[2], third)
		return []VecVirtual{
			x[0],
			s.minusTimes(a, x[1], p), s.plusTimes(a, x[1], p),
			s.plusTimes(b, x[1], q), s.minusTimes(b, x[1], q),
			x[2],
		}
	}
}

// filterGradientMatrix is filterMatrix turned.
func (s isa) filterGradientMatrix() func(x []VecVirtual) []VecVirtual {
	sixth, third := s.constant("filterGradientSixth", 1.0/6), s.constant("filterGradientThird", 1.0/3)
	twoThirds := s.constant("filterGradientTwoThirds", 2.0/3)
	p, q := s.constant("filterGradientP", 2*rootHalf/3), s.constant("filterGradientQ", rootTwo/6)
	return func(x []VecVirtual) []VecVirtual {
		a, b, c, d := s.plus(x[1], x[2]), s.minus(x[2], x[1]), s.plus(x[3], x[4]), s.minus(x[3], x[4])
		return []VecVirtual{
			s.plusTimes(s.minusTimes(x[0], a, twoThirds), c, sixth),
			s.plusTimes(s.times(b, p), d, q),
			s.plusTimes(x[5], s.minus(c, a), third),
		}
	}
}
