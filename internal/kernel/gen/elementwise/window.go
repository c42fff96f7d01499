package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// windows are the functions of pooling and of depthwise convolution. Windows have at least one position.
func (s isa) windows() {
	const geometry = "rows, cols, stride, step int"
	s.function("windowMax", "y, x []float32, "+geometry)
	y := base("y")
	s.window("y", "x", func(_, window Register) (func(Register), func(Register)) {
		best := s.lanes(Mem{Base: window})
		return func(p Register) { s.each(func(part int) { s.max(best[part], Mem{Base: p, Disp: part}) }) },
			func(i Register) { s.each(func(part int) { VMOVUPS(best[part], at(y, i).Offset(part)) }) }
	})

	s.function("windowSum", "y, x []float32, factor float32, "+geometry)
	y, factor := base("y"), s.factor("factor")
	s.window("y", "x", func(_, _ Register) (func(Register), func(Register)) {
		sum := lanes{}
		s.each(func(part int) { sum[part] = s.zero() })
		return func(p Register) {
				s.each(func(part int) { VADDPS(Mem{Base: p, Disp: part}, sum[part], sum[part]) })
			}, func(i Register) {
				s.each(func(part int) {
					VMULPS(factor, sum[part], sum[part])
					VMOVUPS(sum[part], at(y, i).Offset(part))
				})
			}
	})

	s.function("windowFilter", "y, x, filter []float32, "+geometry)
	y, filter := base("y"), base("filter")
	s.window("y", "x", func(_, _ Register) (func(Register), func(Register)) {
		sum, weight := lanes{}, GP64()
		s.each(func(part int) { sum[part] = s.zero() })
		MOVQ(filter, weight)
		return func(p Register) {
				s.each(func(part int) {
					VFMADD231PS(Mem{Base: weight, Disp: part}, s.load(Mem{Base: p, Disp: part}), sum[part])
				})
				ADDQ(Imm(pixelBytes), weight)
			}, func(i Register) {
				s.each(func(part int) { VMOVUPS(sum[part], at(y, i).Offset(part)) })
			}
	})

	s.filter3x3()

	s.function("windowAdd", "dx, dy []float32, factor float32, "+geometry)
	dy, factor := base("dy"), s.factor("factor")
	s.window("dy", "dx", func(i, _ Register) (func(Register), func(Register)) {
		share := s.lanes(at(dy, i))
		s.each(func(part int) { VMULPS(factor, share[part], share[part]) })
		return func(p Register) {
			s.each(func(part int) {
				v, to := s.vec(), Mem{Base: p, Disp: part}
				VADDPS(to, share[part], v)
				VMOVUPS(v, to)
			})
		}, func(Register) {}
	})

	s.function("windowPick", "dx, dy, x, y []float32, "+geometry)
	dy, y = base("dy"), base("y")
	fromX := base("dx")
	SUBQ(base("x"), fromX)
	s.window("dy", "x", func(i, _ Register) (func(Register), func(Register)) {
		// What of dy is not yet taken; what is taken becomes zero.
		left, most := s.lanes(at(dy, i)), s.lanes(at(y, i))
		return func(p Register) {
			s.each(func(part int) {
				s.pick(left[part], most[part], Mem{Base: p, Disp: part}, Mem{Base: p, Index: fromX, Scale: 1, Disp: part})
			})
		}, func(Register) {}
	})
}

// window runs over the windows of lead's pixels in the image: begin starts one,
// given the pixel's offset and the window's first position, and gives what to do
// at each position and at the end, and ends the function.
func (s isa) window(lead, image string, begin func(i, window Register) (visit, finish func(Register))) {
	n, window := byteLen(lead, 2), base(image)
	rows, cols := Load(Param("rows"), GP64()), Load(Param("cols"), GP64())
	stride, step := Load(Param("stride"), GP64()), Load(Param("step"), GP64())
	SHLQ(Imm(6), cols)
	SHLQ(Imm(2), stride)
	SHLQ(Imm(2), step)
	SUBQ(cols, stride) // from the end of a row of the window to the next
	loop("pixel", n, pixelBytes, func(i Register) {
		visit, finish := begin(i, window)
		p, row, end := GP64(), GP64(), GP64()
		MOVQ(window, p)
		MOVQ(rows, row)
		Label("row")
		LEAQ(at(p, cols), end)
		Label("col")
		visit(p)
		ADDQ(Imm(pixelBytes), p)
		CMPQ(p, end)
		JNE(LabelRef("col"))
		ADDQ(stride, p)
		DECQ(row)
		JNZ(LabelRef("row"))
		finish(i)
		ADDQ(step, window)
	})
	end()
}

// max moves from to best where it is above best or NaN.
func (s isa) max(best VecVirtual, from Mem) {
	v := s.load(from)
	VMAXPS(best, v, best) // best where one is NaN
	if s.bytes == pixelBytes {
		k := K()
		VCMPPS(Imm(notOrdered), v, v, k)
		VMOVAPS(v, k, best)
		return
	}
	m := s.vec()
	VCMPPS(Imm(notOrdered), v, v, m)
	VBLENDVPS(m, v, best, best)
}

// pick adds left to dx and makes it zero, where not x < most.
func (s isa) pick(left, most VecVirtual, x, dx Mem) {
	v, taken := s.load(x), s.vec()
	if s.bytes == pixelBytes {
		k := K()
		VCMPPS(Imm(notLess), most, v, k)
		VMOVAPS_Z(left, k, taken)
		VPXORD(left, left, k, left)
	} else {
		m := s.vec()
		VCMPPS(Imm(notLess), most, v, m)
		VANDPS(left, m, taken)
		VANDNPS(left, m, left)
	}
	VADDPS(dx, taken, taken)
	VMOVUPS(taken, dx)
}

// filter3x3 is windowFilter for windows of 3x3 pixels that lie next to one another:
// the filter stays in registers, and a pixel of the image is read once for several
// results.
func (s isa) filter3x3() {
	const side, several = 3, 4
	s.function("filter3x3", "y, x, filter []float32, stride int")
	y, n, x, filter, stride := base("y"), byteLen("y", 2), base("x"), base("filter"), s.step("stride", 2)
	lines := [side]Register{x, GP64(), GP64()}
	for i := 1; i < side; i++ {
		LEAQ(at(lines[i-1], stride), lines[i])
	}
	s.each(func(part int) {
		var weights [side * side]VecVirtual
		for tap := range weights {
			weights[tap] = s.load(Mem{Base: filter, Disp: tap*pixelBytes + part})
		}
		results := func(i Register, count int) {
			sums := make([]VecVirtual, count)
			for o := range sums {
				sums[o] = s.zero()
			}
			for u, line := range lines {
				for c := range count + side - 1 {
					pixel := s.load(at(line, i).Offset(c*pixelBytes + part))
					for o := range sums {
						if v := c - o; v >= 0 && v < side {
							VFMADD231PS(weights[u*side+v], pixel, sums[o])
						}
					}
				}
			}
			for o, sum := range sums {
				VMOVUPS(sum, at(y, i).Offset(o*pixelBytes+part))
			}
		}
		label := func(name string) string { return fmt.Sprintf("%s%d", name, part) }
		i, last := GP64(), GP64()
		XORQ(i, i)
		LEAQ(Mem{Base: n, Disp: -several * pixelBytes}, last)
		JMP(LabelRef(label("severalTest")))
		Label(label("several"))
		results(i, several)
		ADDQ(U32(several*pixelBytes), i)
		Label(label("severalTest"))
		CMPQ(i, last)
		JLE(LabelRef(label("several")))
		JMP(LabelRef(label("oneTest")))
		Label(label("one"))
		results(i, 1)
		ADDQ(Imm(pixelBytes), i)
		Label(label("oneTest"))
		CMPQ(i, n)
		JLT(LabelRef(label("one")))
	})
	end()
}
