package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// reductions are the functions on float32 only that add to float64 sums.
func (s isa) reductions() {
	s.reduction("sumProducts", "acc []float64, a, b []float32", "a", []string{"b"}, 1, func() func(operands, int, []VecVirtual) {
		return func(at operands, _ int, sum []VecVirtual) { VFMADD231PS(at("a"), s.load(at("b")), sum[0]) }
	})
	s.weightedSum()
	s.dots()
}

// sums are the functions of kernel.blockwise that add to float64 sums.
func (s isa) sums() {
	s.reduction("sum", "acc []float64, x []"+s.element(), "x", nil, 1, func() func(operands, int, []VecVirtual) {
		return func(at operands, _ int, sum []VecVirtual) { VADDPS(s.loadElements(at("x")), sum[0], sum[0]) }
	})
	s.reduction("moments", "acc []float64, x []"+s.element()+", shift []float32", "x", nil, 2, func() func(operands, int, []VecVirtual) {
		shift := s.lanes(Mem{Base: base("shift")})
		return func(at operands, part int, sum []VecVirtual) {
			d := s.loadElements(at("x"))
			VSUBPS(shift[part], d, d)
			VADDPS(d, sum[0], sum[0])
			VFMADD231PS(d, d, sum[1])
		}
	})
	for _, kind := range []struct{ name, kept, y string }{{"gradSums", "", ""}, {"gradSumsMask", "", ", y"}, {"gradSumsKeep", "kept, ", ", y"}} {
		slices := []string{"x"}
		if kind.y != "" {
			slices = append(slices, "y")
		}
		if kind.kept != "" {
			slices = append(slices, "kept")
		}
		s.reduction(kind.name, "acc []float64, "+kind.kept+"dy, x"+kind.y+" []"+s.element()+", mean []float32", "dy", slices, 2, func() func(operands, int, []VecVirtual) {
			mean, zero := s.lanes(Mem{Base: base("mean")}), s.zero()
			return func(at operands, part int, sum []VecVirtual) {
				x := s.loadElements(at("x"))
				VSUBPS(mean[part], x, x)
				var d VecVirtual
				if kind.y != "" {
					d = s.masked(at("dy"), at("y"), zero)
				} else {
					d = s.loadElements(at("dy"))
				}
				if kind.kept != "" {
					s.storeElements(d, at("kept"))
				}
				VADDPS(d, sum[0], sum[0])
				VFMADD231PS(x, d, sum[1])
			}
		})
	}
}

// reduction is a function that adds so many sums over the pixels of lead, each
// Block lanes, to acc: prepare loads what is constant and gives what a part adds
// to each sum.
func (s isa) reduction(name, signature, lead string, slices []string, count int, prepare func() func(at operands, part int, sum []VecVirtual)) {
	s.function(name, signature)
	bases := map[string]Register{lead: base(lead)}
	for _, slice := range slices {
		bases[slice] = base(slice)
	}
	add := prepare()
	s.stretches(lead, count, func(i Register, pixel int, list []lanes) {
		s.each(func(part int) {
			var sum []VecVirtual
			for _, l := range list {
				sum = append(sum, l[part])
			}
			add(func(slice string) Mem { return at(bases[slice], i).Offset(s.scale(pixel + part)) }, part, sum)
		})
	})
	end()
}

// stretches runs add over the pixels of lead and adds the sums of every stretch
// to acc. Pixels go to two accumulators in turn; one without a pair, the last of
// all, goes to the first.
func (s isa) stretches(lead string, count int, add func(i Register, pixel int, sums []lanes)) {
	pixel := s.scale(pixelBytes)
	acc, left, i := base("acc"), byteLen(lead, s.shift()), GP64()
	XORQ(i, i)
	JMP(LabelRef("stretchTest"))
	Label("stretch")
	var accumulators [2][]lanes
	for a := range accumulators {
		for range count {
			l := lanes{}
			s.each(func(part int) { l[part] = s.zero() })
			accumulators[a] = append(accumulators[a], l)
		}
	}
	size := GP64()
	MOVQ(U32(uint32(s.scale(stretchBytes))), size)
	CMPQ(left, size)
	CMOVQLT(left, size)
	SUBQ(size, left)
	SUBQ(Imm(uint64(2*pixel)), size)
	JLT(LabelRef("odd"))
	Label("pair")
	add(i, 0, accumulators[0])
	add(i, pixelBytes, accumulators[1])
	ADDQ(U32(uint32(2*pixel)), i)
	SUBQ(U32(uint32(2*pixel)), size)
	JGE(LabelRef("pair"))
	Label("odd")
	CMPQ(size, I32(int32(-2*pixel)))
	JEQ(LabelRef("flush"))
	add(i, 0, accumulators[0])
	Label("flush")
	for k := range count {
		s.each(func(part int) {
			sum := accumulators[0][k][part]
			VADDPS(accumulators[1][k][part], sum, sum)
			s.addWide(sum, Mem{Base: acc, Disp: 2 * (k*pixelBytes + part)})
		})
	}
	Label("stretchTest")
	TESTQ(left, left)
	JNZ(LabelRef("stretch"))
}

// addWide adds a register of float32 to as many float64.
func (s isa) addWide(v VecVirtual, to Mem) {
	low, high := s.vec(), s.vec()
	if s.bytes == pixelBytes {
		VEXTRACTF64X4(Imm(1), v, high.AsY())
		VCVTPS2PD(v.AsY(), low)
		VCVTPS2PD(high.AsY(), high)
	} else {
		VEXTRACTF128(Imm(1), v, high.AsX())
		VCVTPS2PD(v.AsX(), low)
		VCVTPS2PD(high.AsX(), high)
	}
	VADDPD(to, low, low)
	VMOVUPD(low, to)
	VADDPD(to.Offset(s.bytes), high, high)
	VMOVUPD(high, to.Offset(s.bytes))
}

func (s isa) weightedSum() {
	s.function("weightedSum", "acc []float64, x, factors []float32")
	x, factors := base("x"), base("factors")
	s.stretches("x", 1, func(i Register, pixel int, sum []lanes) {
		factor := s.broadcast(Mem{Base: factors})
		ADDQ(Imm(4), factors)
		s.each(func(part int) { VFMADD231PS(at(x, i).Offset(pixel+part), factor, sum[0][part]) })
	})
	end()
}

func (s isa) dots() {
	s.function("dots", "acc []float64, x, weights []float32")
	acc, n, x, weights := base("acc"), byteLen("acc", 3), base("x"), s.lanes(Mem{Base: base("weights")})
	loop("pixel", n, 8, func(i Register) {
		// A pixel takes 8 times the bytes of its sum.
		from := Mem{Base: x, Index: i, Scale: 8}
		sum, high := s.vec(), s.vec()
		VMULPS(from, weights[0], sum)
		if s.bytes == pixelBytes {
			VEXTRACTF64X4(Imm(1), sum, high.AsY())
			VADDPS(high.AsY(), sum.AsY(), sum.AsY())
		} else {
			VFMADD231PS(from.Offset(s.bytes), weights[s.bytes], sum)
		}
		VEXTRACTF128(Imm(1), sum.AsY(), high.AsX())
		VADDPS(high.AsX(), sum.AsX(), sum.AsX())
		VHADDPS(sum.AsX(), sum.AsX(), sum.AsX())
		VHADDPS(sum.AsX(), sum.AsX(), sum.AsX())
		VCVTSS2SD(sum.AsX(), sum.AsX(), sum.AsX())
		VADDSD(at(acc, i), sum.AsX(), sum.AsX())
		VMOVSD(sum.AsX(), at(acc, i))
	})
	end()
}
