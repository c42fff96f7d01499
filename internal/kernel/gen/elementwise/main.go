// Command elementwise writes the assembly of internal/kernel's vector loops for
// AVX2 and AVX-512, and of those over bfloat16 for AVX-512 with BF16.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// pixelBytes are the 16 lanes of a pixel; stretchBytes are what is summed in
// float32 at a time (kernel.sumStretch).
const (
	pixelBytes   = 64
	stretchBytes = 64 * pixelBytes
)

// Predicates of VCMPPS that hold for NaN.
const (
	notOrdered      = 3
	notLess         = 5
	notGreaterEqual = 9
)

func main() {
	ConstraintExpr("!noasm")
	for _, set := range []isa{{name: "AVX2", bytes: 32}, {name: "AVX512", bytes: 64}} {
		set.maps()
		set.blockwise()
		set.reductions()
		set.windows()
		set.taps()
		set.transforms()
		set.optimisers()
	}
	half := isa{name: "AVX512BF16", bytes: 64, half: true}
	half.blockwise()
	half.conversions()
	generate()
}

// isa is an instruction set whose registers hold so many bytes, and the type that
// blocked tensors are made of. Pixels are worked on in parts of one register.
type isa struct {
	name  string
	bytes int
	half  bool // bfloat16
}

// element is the type's name.
func (s isa) element() string {
	if s.half {
		return "uint16"
	}
	return "float32"
}

// scale is how much the elements take in whose place float32 take so many bytes.
func (s isa) scale(bytes int) int {
	if s.half {
		return bytes / 2
	}
	return bytes
}

// shift is the logarithm of an element's size in bytes.
func (s isa) shift() int {
	if s.half {
		return 1
	}
	return 2
}

// loadElements loads a register of float32 from the tensor's elements.
func (s isa) loadElements(from Mem) VecVirtual {
	if !s.half {
		return s.load(from)
	}
	v := s.vec()
	VPMOVZXWD(from, v)
	VPSLLD(Imm(16), v, v)
	return v
}

// storeElements is loadElements' inverse.
func (s isa) storeElements(v VecVirtual, to Mem) {
	if !s.half {
		VMOVUPS(v, to)
		return
	}
	rounded := YMM()
	roundBF16(v, rounded)
	VMOVDQU(rounded, to)
}

func (s isa) vec() VecVirtual {
	if s.bytes == pixelBytes {
		return ZMM()
	}
	return YMM()
}

// each runs body for every part of a pixel, at its offset.
func (s isa) each(body func(part int)) {
	for part := 0; part < pixelBytes; part += s.bytes {
		body(part)
	}
}

// function begins a function of a pixel loop.
func (s isa) function(name, signature string) {
	TEXT(name+s.name, NOSPLIT, "func("+signature+")")
	Pragma("noescape")
}

func end() {
	VZEROUPPER()
	RET()
}

func base(slice string) Register { return Load(Param(slice).Base(), GP64()) }

// byteLen is the length of a slice in bytes, whose elements take 1<<shift.
func byteLen(slice string, shift int) Register {
	n := Load(Param(slice).Len(), GP64())
	SHLQ(Imm(uint64(shift)), n)
	return n
}

func (s isa) load(from Mem) VecVirtual {
	v := s.vec()
	VMOVUPS(from, v)
	return v
}

func (s isa) zero() VecVirtual {
	v := s.vec()
	if s.bytes == pixelBytes {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

// broadcast is one float32 in all lanes.
func (s isa) broadcast(from Mem) VecVirtual {
	v := s.vec()
	VBROADCASTSS(from, v)
	return v
}

// factor is a float32 argument in all lanes.
func (s isa) factor(name string) VecVirtual {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return s.broadcast(b.Addr)
}

// lanes are the parts of one pixel's worth of parameters.
type lanes map[int]VecVirtual

func (s isa) lanes(from Mem) lanes {
	p := lanes{}
	s.each(func(part int) { p[part] = s.load(from.Offset(part)) })
	return p
}

// masked is dy where not y <= 0, and zero elsewhere.
func (s isa) masked(dy, y Mem, zero VecVirtual) VecVirtual {
	if s.bytes == pixelBytes {
		k, d := K(), s.loadElements(dy)
		VCMPPS(Imm(notGreaterEqual), s.loadElements(y), zero, k)
		VMOVAPS_Z(d, k, d)
		return d
	}
	d := s.vec()
	VCMPPS(Imm(notGreaterEqual), y, zero, d)
	VANDPS(dy, d, d)
	return d
}

// loop runs body on i = 0, step, ... below n; n may be 0.
func loop(label string, n Op, step int, body func(i Register)) {
	i := GP64()
	XORQ(i, i)
	JMP(LabelRef(label + "Test"))
	Label(label)
	body(i)
	ADDQ(Imm(uint64(step)), i)
	Label(label + "Test")
	CMPQ(i, n)
	JLT(LabelRef(label))
}

func at(base, index Register) Mem { return Mem{Base: base, Index: index, Scale: 1} }

// operands are the slices of a loop, at its pixel's part.
type operands func(slice string) Mem

// pixelwise is a function that writes every pixel of its slice to from the same
// pixel of slices: prepare loads what is constant and gives the value of a part.
func (s isa) pixelwise(name, signature, to string, slices []string, prepare func() func(at operands, part int) VecVirtual) {
	s.function(name, signature)
	bases := map[string]Register{to: base(to)}
	for _, slice := range slices {
		bases[slice] = base(slice)
	}
	n := byteLen(to, s.shift())
	value := prepare()
	loop("pixel", n, s.scale(pixelBytes), func(i Register) {
		s.each(func(part int) {
			in := func(slice string) Mem { return at(bases[slice], i).Offset(s.scale(part)) }
			s.storeElements(value(in, part), in(to))
		})
	})
	end()
}

// blockwise are the functions of kernel.blockwise.
func (s isa) blockwise() {
	s.pixelwise("relu", "y, x []"+s.element(), "y", []string{"x"}, func() func(operands, int) VecVirtual {
		zero := s.zero()
		return func(at operands, _ int) VecVirtual {
			v := s.loadElements(at("x"))
			VMAXPS(v, zero, v) // NaN stays
			return v
		}
	})
	s.pixelwise("reluBackward", "dx, dy, y []"+s.element(), "dx", []string{"dy", "y"}, func() func(operands, int) VecVirtual {
		zero := s.zero()
		return func(at operands, _ int) VecVirtual { return s.masked(at("dy"), at("y"), zero) }
	})
	s.pixelwise("add", "y, a, b []"+s.element(), "y", []string{"a", "b"}, func() func(operands, int) VecVirtual {
		return func(at operands, _ int) VecVirtual {
			v := s.loadElements(at("a"))
			VADDPS(s.loadElements(at("b")), v, v)
			return v
		}
	})
	s.pixelwise("fill", "y []"+s.element()+", value []float32", "y", nil, func() func(operands, int) VecVirtual {
		value := s.lanes(Mem{Base: base("value")})
		return func(_ operands, part int) VecVirtual { return value[part] }
	})
	s.normalisers()
	s.gradients()
	s.sums()
}

// maps are the functions that work pixel by pixel on float32 only.
func (s isa) maps() {
	s.pixelwise("axpy", "y, x []float32, factor float32", "y", []string{"x"}, func() func(operands, int) VecVirtual {
		factor := s.factor("factor")
		return func(at operands, _ int) VecVirtual {
			v := s.load(at("y"))
			VFMADD231PS(at("x"), factor, v)
			return v
		}
	})
	s.pixelwise("blend", "y, a, b []float32, factorA, factorB float32", "y", []string{"a", "b"}, func() func(operands, int) VecVirtual {
		a, b := s.factor("factorA"), s.factor("factorB")
		return func(at operands, _ int) VecVirtual {
			v := s.vec()
			VMULPS(at("a"), a, v)
			VFMADD231PS(at("b"), b, v)
			return v
		}
	})
	s.outer()
}

func (s isa) normalisers() {
	for _, kind := range []struct {
		name      string
		add, relu bool
	}{{"normalise", false, false}, {"normReLU", false, true}, {"normAdd", true, false}, {"normAddReLU", true, true}} {
		operand, slices := "y, x", []string{"x"}
		if kind.add {
			operand, slices = "y, x, residual", []string{"x", "residual"}
		}
		signature := operand + " []" + s.element() + ", params []float32"
		s.pixelwise(kind.name, signature, "y", slices, func() func(operands, int) VecVirtual {
			params := Mem{Base: base("params")}
			mean, scale, offset, zero := s.lanes(params), s.lanes(params.Offset(pixelBytes)), s.lanes(params.Offset(2*pixelBytes)), s.zero()
			return func(at operands, part int) VecVirtual {
				v := s.loadElements(at("x"))
				VSUBPS(mean[part], v, v)
				VFMADD213PS(offset[part], scale[part], v)
				if kind.add {
					VADDPS(s.loadElements(at("residual")), v, v)
				}
				if kind.relu {
					VMAXPS(v, zero, v)
				}
				return v
			}
		})
	}
}

func (s isa) gradients() {
	for _, mask := range []bool{false, true} {
		suffix, y, slices := "", "", []string{"dy", "x"}
		if mask {
			suffix, y, slices = "Mask", ", y", []string{"dy", "x", "y"}
		}
		dy := func(at operands, zero VecVirtual) VecVirtual {
			if mask {
				return s.masked(at("dy"), at("y"), zero)
			}
			return s.loadElements(at("dy"))
		}
		s.pixelwise("gradApply"+suffix, "dx, dy, x"+y+" []"+s.element()+", params []float32", "dx", slices, func() func(operands, int) VecVirtual {
			params := Mem{Base: base("params")}
			mean, a := s.lanes(params), s.lanes(params.Offset(pixelBytes))
			b, c, zero := s.lanes(params.Offset(2*pixelBytes)), s.lanes(params.Offset(3*pixelBytes)), s.zero()
			return func(at operands, part int) VecVirtual {
				v, d := s.loadElements(at("x")), dy(at, zero)
				VSUBPS(mean[part], v, v)
				VFMADD213PS(c[part], b[part], v)
				VFMADD231PS(a[part], d, v)
				return v
			}
		})
		name := map[bool]string{false: "scaleLanes", true: "scaleMask"}[mask]
		s.pixelwise(name, "dx, dy"+y+" []"+s.element()+", factors []float32", "dx", append([]string{"dy"}, slices[2:]...), func() func(operands, int) VecVirtual {
			factors, zero := s.lanes(Mem{Base: base("factors")}), s.zero()
			return func(at operands, part int) VecVirtual {
				d := dy(at, zero)
				VMULPS(factors[part], d, d)
				return d
			}
		})
	}
}

func (s isa) outer() {
	s.function("outer", "y, value, factors []float32")
	y, n, value, factors := base("y"), byteLen("y", 2), s.lanes(Mem{Base: base("value")}), base("factors")
	loop("pixel", n, pixelBytes, func(i Register) {
		factor := s.broadcast(Mem{Base: factors})
		ADDQ(Imm(4), factors)
		s.each(func(part int) {
			v := s.vec()
			VMULPS(value[part], factor, v)
			VMOVUPS(v, at(y, i).Offset(part))
		})
	})
	end()
}

// taps sums weighted pixels into each pixel.
func (s isa) taps() {
	s.function("taps", "y, x []float32, offsets []int32, weights []float32")
	n := byteLen("y", 2)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	// offsets a pixel, in bytes: 4*len(offsets)/(n/64)
	Load(Param("offsets").Len(), RAX)
	SHLQ(Imm(8), RAX)
	XORL(EDX, EDX)
	DIVQ(n)
	size := GP64()
	MOVQ(RAX, size)
	y, x, offsets, weights := base("y"), base("x"), base("offsets"), base("weights")
	loop("pixel", n, pixelBytes, func(i Register) {
		sum := lanes{}
		s.each(func(part int) { sum[part] = s.zero() })
		loop("tap", size, 4, func(t Register) {
			pixel := GP64()
			MOVLQSX(at(offsets, t), pixel)
			weight := s.broadcast(at(weights, t))
			s.each(func(part int) {
				VFMADD231PS(Mem{Base: x, Index: pixel, Scale: 4, Disp: part}, weight, sum[part])
			})
		})
		ADDQ(size, offsets)
		ADDQ(size, weights)
		s.each(func(part int) { VMOVUPS(sum[part], at(y, i).Offset(part)) })
	})
	Label("done")
	end()
}

func (s isa) optimisers() {
	// The order of factors is that of kernel.sgdFactors and kernel.adamFactors.
	factors := func(count int) []VecVirtual {
		from := Mem{Base: base("factors")}
		var list []VecVirtual
		for i := range count {
			list = append(list, s.broadcast(from.Offset(4*i)))
		}
		return list
	}
	s.pixelwise("sgd", "param, grad, velocity, factors []float32", "param", []string{"grad", "velocity"}, func() func(operands, int) VecVirtual {
		f := factors(5)
		decay, momentum, gradient, velocity, rate := f[0], f[1], f[2], f[3], f[4]
		return func(at operands, _ int) VecVirtual {
			p, g, v := s.load(at("param")), s.load(at("grad")), s.load(at("velocity"))
			VFMADD231PS(decay, p, g)
			VFMADD213PS(g, momentum, v)
			VMOVUPS(v, at("velocity"))
			VMULPS(gradient, g, g)
			VFMADD231PS(velocity, v, g)
			VFNMADD231PS(rate, g, p)
			return p
		}
	})
	s.pixelwise("adam", "param, grad, first, second, factors []float32", "param", []string{"grad", "first", "second"}, func() func(operands, int) VecVirtual {
		f := factors(9)
		decay, shrink, keep1, new1, keep2, new2, root, eps, rate := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]
		return func(at operands, _ int) VecVirtual {
			p, g, moment := s.load(at("param")), s.load(at("grad")), s.vec()
			VFMADD231PS(decay, p, g)
			VMULPS(at("first"), keep1, moment)
			VFMADD231PS(new1, g, moment)
			VMOVUPS(moment, at("first"))
			VMULPS(g, g, g)
			VMULPS(new2, g, g)
			VFMADD231PS(at("second"), keep2, g)
			VMOVUPS(g, at("second"))
			VSQRTPS(g, g)
			VFMADD213PS(eps, root, g)
			VMULPS(rate, moment, moment)
			VDIVPS(g, moment, moment)
			VFMSUB213PS(moment, shrink, p)
			return p
		}
	})
}
