package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// conversions are the functions between float32 and bfloat16.
func (s isa) conversions() {
	s.function("widen", "y []float32, x []uint16")
	y, n, x := base("y"), byteLen("y", 1), base("x") // bytes of x
	loop("pixel", n, pixelBytes/2, func(i Register) {
		VMOVUPS(s.loadElements(at(x, i)), Mem{Base: y, Index: i, Scale: 2})
	})
	end()

	s.function("narrow", "y []uint16, x []float32, step int")
	y, n, x = base("y"), byteLen("x", 2), base("x")
	step := s.step("step", 1)
	loop("pixel", n, pixelBytes, func(i Register) {
		s.storeElements(s.load(at(x, i)), Mem{Base: y})
		ADDQ(step, y)
	})
	end()

	s.pairs("pairs", "y []float32, first, second []uint16, step int", 1, s.loadElements)
	s.pairs("pairFloats", "y, first, second []float32, step int", 2, func(from Mem) VecVirtual {
		v, rounded := s.load(from), YMM()
		roundBF16(v, rounded)
		VPMOVZXWD(rounded, v)
		VPSLLD(Imm(16), v, v)
		return v
	})
	s.join()
}

// join writes pixels of two blocks of bfloat16, a cache line each.
func (s isa) join() {
	s.function("join", "y, first, second []float32, step int")
	y, n, first, second, step := base("y"), byteLen("y", 2), base("first"), base("second"), s.step("step", 2)
	loop("pixel", n, pixelBytes, func(i Register) {
		PREFETCHT0(Mem{Base: first, Disp: ahead})
		PREFETCHT0(Mem{Base: second, Disp: ahead})
		low, both := YMM(), ZMM()
		VMOVUPS(Mem{Base: first}, low)
		VINSERTF64X4(Imm(1), Mem{Base: second}, low.AsZ(), both)
		VMOVUPS(both, at(y, i))
		ADDQ(step, first)
		ADDQ(step, second)
	})
	end()
}

// ahead is how many bytes before they are needed pixels are fetched: what is paired
// comes from memory in short stretches.
const ahead = 1024

// pairs writes words of two bfloat16 each, which load gives as float32.
func (s isa) pairs(name, signature string, shift int, load func(Mem) VecVirtual) {
	s.function(name, signature)
	y, n, first, second, step := base("y"), byteLen("y", 2), base("first"), base("second"), s.step("step", shift)
	loop("pixel", n, pixelBytes, func(i Register) {
		PREFETCHT0(Mem{Base: first, Disp: ahead})
		low, high := load(Mem{Base: first}), load(Mem{Base: second})
		VPSRLD(Imm(16), low, low)
		VPORD(low, high, high)
		VMOVUPS(high, at(y, i))
		ADDQ(step, first)
		ADDQ(step, second)
	})
	end()
}

// step is an argument in bytes.
func (s isa) step(name string, shift int) Register {
	step := Load(Param(name), GP64())
	SHLQ(Imm(uint64(shift)), step)
	return step
}

// roundBF16 stands for VCVTNEPS2BF16, which avo and Go's assembler do not know: an
// instruction with the same operands that no function here uses, which [encode]
// replaces once registers are chosen.
func roundBF16(from, to Op) { VPMOVDW(from, to) }

var placeholder = regexp.MustCompile(`VPMOVDW +Z(\d+), Y(\d+)`)

// encode writes the bytes of VCVTNEPS2BF16 from a Z to a Y register,
// EVEX.512.F3.0F38.W0 72 /r.
func encode(match []byte) []byte {
	operand := placeholder.FindSubmatch(match)
	from, _ := strconv.Atoi(string(operand[1]))
	to, _ := strconv.Atoi(string(operand[2]))
	inverted := func(register, bit int) int { return ^register >> bit & 1 }
	return fmt.Appendf(nil, "// VCVTNEPS2BF16 Z%d, Y%d\n\tBYTE $0x62; BYTE $%#04x; BYTE $0x7e; BYTE $0x48; BYTE $0x72; BYTE $%#04x", from, to,
		inverted(to, 3)<<7|inverted(from, 4)<<6|inverted(from, 3)<<5|inverted(to, 4)<<4|2, 0xc0|to&7<<3|from&7)
}

// generate writes the files that avo's flags name, and into them what avo does not
// know: the instruction and the type of bfloat16.
func generate() {
	Generate()
	rewrite("out", func(text []byte) []byte { return placeholder.ReplaceAllFunc(text, encode) })
	rewrite("stubs", func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("[]uint16"), []byte("[]BF16")) })
}

// rewrite changes the file that a flag names.
func rewrite(name string, change func([]byte) []byte) {
	path := flag.Lookup(name).Value.String()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
