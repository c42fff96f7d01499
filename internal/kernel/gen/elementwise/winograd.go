package main

import (
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

// imageMatrix is
//
//	4  0 -5  0  1  0
//	0 -4 -4  1  1  0
//	0  4 -4 -1  1  0
//	0 -2 -1  2  1  0
//	0  2 -1 -2  1  0
//	0  4  0 -5  0  1
func (s isa) imageMatrix() func(x []VecVirtual) []VecVirtual {
	two, four, five := s.constant("imageTwo", 2), s.constant("imageFour", 4), s.constant("imageFive", 5)
	return func(x []VecVirtual) []VecVirtual {
		a, b := s.minusTimes(x[4], x[2], four), s.minusTimes(x[3], x[1], four)
		c, d := s.minus(x[4], x[2]), s.minus(x[3], x[1])
		return []VecVirtual{
			s.plusTimes(s.minusTimes(x[4], x[2], five), x[0], four),
			s.plus(a, b), s.minus(a, b),
			s.plusTimes(c, d, two), s.minusTimes(c, d, two),
			s.plusTimes(s.minusTimes(x[5], x[3], five), x[1], four),
		}
	}
}

// resultMatrix is
//
//	1 1  1 1  1 0
//	0 1 -1 2 -2 0
//	0 1  1 4  4 0
//	0 1 -1 8 -8 1
func (s isa) resultMatrix() func(x []VecVirtual) []VecVirtual {
	two, four, eight := s.constant("resultTwo", 2), s.constant("resultFour", 4), s.constant("resultEight", 8)
	return func(x []VecVirtual) []VecVirtual {
		a, b, c, d := s.plus(x[1], x[2]), s.minus(x[1], x[2]), s.plus(x[3], x[4]), s.minus(x[3], x[4])
		return []VecVirtual{
			s.plus(s.plus(x[0], a), c),
			s.plusTimes(b, d, two),
			s.plusTimes(a, c, four),
			s.plusTimes(s.plus(b, x[5]), d, eight),
		}
	}
}

// gradientMatrix is resultMatrix turned.
func (s isa) gradientMatrix() func(x []VecVirtual) []VecVirtual {
	two, four := s.constant("gradientTwo", 2), s.constant("gradientFour", 4)
	return func(x []VecVirtual) []VecVirtual {
		a, b := s.plus(x[0], x[2]), s.plus(x[1], x[3])
		c, d := s.plusTimes(x[0], x[2], four), s.plusTimes(x[1], x[3], four)
		return []VecVirtual{x[0], s.plus(a, b), s.minus(a, b), s.plusTimes(c, d, two), s.minusTimes(c, d, two), x[3]}
	}
}

// filterMatrix is
//
//	 1/4      0    0
//	-1/6   -1/6 -1/6
//	-1/6    1/6 -1/6
//	1/24   1/12  1/6
//	1/24  -1/12  1/6
//	   0      0    1
func (s isa) filterMatrix() func(x []VecVirtual) []VecVirtual {
	quarter, sixth := s.constant("filterQuarter", 1.0/4), s.constant("filterSixth", 1.0/6)
	twelfth, twentyFourth := s.constant("filterTwelfth", 1.0/12), s.constant("filterTwentyFourth", 1.0/24)
	return func(x []VecVirtual) []VecVirtual {
		zero := s.zero()
		a := s.minusTimes(zero, s.plus(x[0], x[2]), sixth)
		b := s.plusTimes(s.times(x[0], twentyFourth), x[2], sixth)
		return []VecVirtual{
			s.times(x[0], quarter),
			s.minusTimes(a, x[1], sixth), s.plusTimes(a, x[1], sixth),
			s.plusTimes(b, x[1], twelfth), s.minusTimes(b, x[1], twelfth),
			x[2],
		}
	}
}

// filterGradientMatrix is filterMatrix turned.
func (s isa) filterGradientMatrix() func(x []VecVirtual) []VecVirtual {
	quarter, sixth := s.constant("filterGradientQuarter", 1.0/4), s.constant("filterGradientSixth", 1.0/6)
	twelfth, twentyFourth := s.constant("filterGradientTwelfth", 1.0/12), s.constant("filterGradientTwentyFourth", 1.0/24)
	return func(x []VecVirtual) []VecVirtual {
		a, b, c, d := s.plus(x[1], x[2]), s.minus(x[2], x[1]), s.plus(x[3], x[4]), s.minus(x[3], x[4])
		return []VecVirtual{
			s.plusTimes(s.minusTimes(s.times(x[0], quarter), a, sixth), c, twentyFourth),
			s.plusTimes(s.times(b, sixth), d, twelfth),
			s.plusTimes(x[5], s.minus(c, a), sixth),
		}
	}
}
