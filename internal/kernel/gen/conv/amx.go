package main

import (
	"fmt"
	"strings"
)

// Tiles of a matrix unit (Intel AMX) are 16 rows of a cache line. Two of the left
// operand, of a kernel.tiles' height each, meet one for every channel block of the
// right one. Go's assembler knows none of the instructions: they are written as bytes.
const (
	matrixRows = 16
	matrixSize = matrixRows * block * size // bytes of a tile
	matrixTall = 2                         // tiles of the left operand
)

// Tile registers: the sums first.
const (
	rightTile = 4 // of the first channel block
	leftTile  = 6 // of the upper rows
)

func sumTile(blocks, tall, b int) int { return tall*blocks + b }

// matrixTiles writes the product of a kernel.tiles whose rows and steps lie as a
// matrix unit wants them, blocks channel blocks at a time. An adding one adds it to y, of
// which every tile's rows follow one another, and does nothing else.
func (p *printer) matrixTiles(blocks int, adding bool) {
	const (
		frame = 63 + 4*matrixSize + 64 // the sums, from a cache line on, and the configuration

		rowsList, outsList = "R8", "R9"
		remaining          = "R10"
		upper, lower       = "R11", "R12" // rows of the left operand
		stepList           = "R13"
		count              = "R14"
		next               = "R15" // from a channel block of the right operand to the next
		right              = "BX"
		line               = "CX" // a cache line
		pitch              = "DX"
		source             = "SI"
		scratch            = "DI"
	)
	p.line("")
	name := fmt.Sprintf("tilesAMX%d", blocks)
	if adding {
		name = fmt.Sprintf("tilesAMXAdd%d", blocks)
	}
	p.line("// func %s(t *tiles)", name)
	p.line("TEXT ·%s(SB), $%d-8", name, frame+1)
	p.line("NO_LOCAL_POINTERS")
	p.line("MOVQ t+0(FP), %s", args)
	p.line("LEAQ 63(SP), %s", scratch)
	p.line("ANDQ $~63, %s", scratch)
	p.configure(scratch)
	p.line("MOVQ %d(%s), %s", fieldRows, args, rowsList)
	p.line("MOVQ %d(%s), %s", fieldOuts, args, outsList)
	p.line("MOVQ %d(%s), %s", fieldRows+length, args, remaining)

	p.line("")
	p.line("tile:")
	p.line("MOVQ    t+0(FP), %s", args)
	p.line("MOVQ    %d(%s), %s", fieldX, args, source)
	p.line("MOVQ    %d(%s), %s", fieldHeight, args, count)
	p.line("MOVLQSX (%s), %s", rowsList, index)
	p.line("LEAQ    (%s)(%s*4), %s", source, index, upper)
	p.line("MOVLQSX (%s)(%s*4), %s", rowsList, count, index)
	p.line("LEAQ    (%s)(%s*4), %s", source, index, lower)
	p.line("LEAQ    (%s)(%s*8), %s", rowsList, count, rowsList)
	p.line("MOVQ    %d(%s), %s", fieldPitch, args, pitch)
	p.line("SHLQ    $2, %s", pitch)
	p.line("MOVQ    $%d, %s", block*size, line)
	p.line("MOVQ    %d(%s), %s", fieldWBlock, args, next)
	p.line("SHLQ    $2, %s", next)
	p.line("MOVQ    %d(%s), %s", fieldW, args, right)
	p.line("MOVQ    %d(%s), %s", fieldSteps, args, stepList)
	p.line("MOVQ    %d(%s), %s", fieldSteps+length, args, count)
	if adding {
		p.sumTiles(blocks, p.loadTile)
		p.line("MOVQ t+0(FP), %s", args)
		p.line("MOVQ %d(%s), %s", fieldSteps+length, args, count)
	} else {
		for i := range matrixTall * blocks {
			p.instruction(fmt.Sprintf("TILEZERO T%d", i), 0xc4, 0xe2, 0x7b, 0x49, 0xc0|i<<3)
		}
	}
	p.line("SHRQ $4, %s", count)
	p.line("JZ   finish")
	p.line("")
	p.line("steps:")
	p.line("MOVLQSX (%s), %s", stepList, args)
	p.line("LEAQ    (%s)(%s*4), %s", upper, args, source)
	p.line("LEAQ    (%s)(%s*4), %s", lower, args, args)
	p.loadTile(leftTile, source, pitch)
	p.loadTile(rightTile, right, line)
	p.multiplyTiles(sumTile(blocks, 0, 0), leftTile, rightTile)
	if blocks > 1 {
		p.line("LEAQ (%s)(%s*1), %s", right, next, source)
		p.loadTile(rightTile+1, source, line)
		p.multiplyTiles(sumTile(blocks, 0, 1), leftTile, rightTile+1)
	}
	p.loadTile(leftTile+1, args, pitch)
	for b := range blocks {
		p.multiplyTiles(sumTile(blocks, 1, b), leftTile+1, rightTile+b)
	}
	p.line("ADDQ $%d, %s", matrixRows*size, stepList)
	p.line("ADDQ $%d, %s", matrixSize, right)
	p.line("DECQ %s", count)
	p.line("JNZ  steps")
	p.line("")
	p.line("finish:")
	if adding {
		p.line("MOVQ t+0(FP), %s", args)
		p.sumTiles(blocks, p.storeTile)
		p.line("MOVQ t+0(FP), %s", args)
		p.line("MOVQ %d(%s), %s", fieldHeight, args, count)
		p.line("LEAQ (%s)(%s*8), %s", outsList, count, outsList)
	} else {
		for i := range matrixTall * blocks {
			p.line("LEAQ %d(%s), %s", i*matrixSize, scratch, source)
			p.storeTile(i, source, line)
		}
		p.matrixEpilogue(blocks, scratch, outsList)
		p.line("MOVQ t+0(FP), %s", args)
		p.line("MOVQ %d(%s), %s", fieldHeight, args, count)
	}
	p.line("SHLQ $1, %s", count)
	p.line("SUBQ %s, %s", count, remaining)
	p.line("JGT  tile")
	p.instruction("TILERELEASE", 0xc4, 0xe2, 0x78, 0x49, 0xc0)
	p.line("VZEROUPPER")
	p.line("RET")
}

// sumTiles moves the sums between y and their registers. It changes some of the
// others: args, the count, source and index.
func (p *printer) sumTiles(blocks int, move func(tile int, base, pitch string)) {
	const (
		outs, line = "R9", "CX"
		result     = "SI"
		further    = "R14"
		index      = "DI"
	)
	p.line("MOVQ %d(%s), %s", fieldY, args, result)
	p.line("MOVQ %d(%s), %s", fieldHeight, args, further)
	p.line("MOVLQSX (%s)(%s*4), %s", outs, further, index)
	p.line("MOVQ %d(%s), %s", fieldYBlock, args, further)
	p.line("SHLQ $2, %s", further)
	p.line("LEAQ (%s)(%s*4), %s", result, index, index)
	p.line("MOVLQSX (%s), %s", outs, args)
	p.line("LEAQ (%s)(%s*4), %s", result, args, result)
	for b := range blocks {
		if b > 0 {
			p.line("ADDQ %s, %s", further, result)
			p.line("ADDQ %s, %s", further, index)
		}
		move(sumTile(blocks, 0, b), result, line)
		move(sumTile(blocks, 1, b), index, line)
	}
}

// configure says how large the tiles are: those of the right operand are full, the
// others have the height's rows.
func (p *printer) configure(scratch string) {
	const config, full = 4 * matrixSize, matrixRows<<32 | matrixRows<<40
	p.line("VPXORQ  Z0, Z0, Z0")
	p.line("VMOVDQU64 Z0, %d(%s)", config, scratch)
	p.line("MOVB    $1, %d(%s)", config, scratch)
	p.line("MOVQ    $%#x, CX", 0x0040_0040_0040_0040) // bytes of a row, of four tiles
	p.line("MOVQ    CX, %d(%s)", config+16, scratch)
	p.line("MOVQ    CX, %d(%s)", config+24, scratch)
	p.line("MOVQ    $%#x, CX", 0x0101_0000_0101_0101)
	p.line("IMULQ   %d(%s), CX", fieldHeight, args)
	p.line("MOVQ    $%#x, DX", full)
	p.line("ADDQ    DX, CX")
	p.line("MOVQ    CX, %d(%s)", config+48, scratch)
	p.line("LEAQ    %d(%s), CX", config, scratch)
	p.instruction("LDTILECFG (CX)", 0xc4, 0xe2, 0x78, 0x49, number["CX"])
}

// matrixEpilogue stores the sums' rows, but those that have no place.
func (p *printer) matrixEpilogue(blocks int, scratch, outs string) {
	const (
		sums         = "R11"
		result       = "SI"
		added        = "CX"
		further      = "R12" // from a block of the result to the next
		left         = "R14"
		narrow       = "R13"
		bias, lowest = 4, 6 // registers
	)
	p.line("MOVQ t+0(FP), %s", args)
	p.line("MOVQ %d(%s), %s", fieldY, args, result)
	p.line("MOVQ %d(%s), %s", fieldAdd, args, added)
	p.line("MOVQ %d(%s), %s", fieldYBlock, args, further)
	p.line("SHLQ $2, %s", further)
	p.line("MOVBLZX %d(%s), %s", fieldNarrow, args, narrow)
	p.line("MOVL $0x80000000, BX") // adding -0 changes nothing
	for b := range blocks {
		p.line("VPBROADCASTD BX, Z%d", bias+b)
	}
	p.line("MOVL $0xff800000, BX") // nothing is below -Inf
	p.line("VPBROADCASTD BX, Z%d", lowest)
	p.line("CMPB %d(%s), $0", fieldReLU, args)
	p.line("JEQ  bias")
	p.line("VPXORQ Z%d, Z%d, Z%d", lowest, lowest, lowest)
	p.line("")
	p.line("bias:")
	p.line("MOVQ  %d(%s), BX", fieldBias, args)
	p.line("TESTQ BX, BX")
	p.line("JZ    store")
	for b := range blocks {
		p.line("VMOVUPS %d(BX), Z%d", b*block*size, bias+b)
	}
	p.line("")
	p.line("store:")
	p.line("MOVQ %s, %s", scratch, sums)
	for tall := range matrixTall {
		label := [...]string{"upper", "lower"}[tall]
		p.line("MOVQ %d(%s), %s", fieldHeight, args, left)
		p.line("")
		p.line("%s:", label)
		p.line("MOVLQSX (%s), BX", outs)
		p.line("ADDQ $%d, %s", size, outs)
		p.line("TESTQ BX, BX")
		p.line("JLT %sNext", label)
		for b := range blocks {
			p.line("VMOVUPS %d(%s), Z%d", b*matrixSize, sums, b)
		}
		p.line("TESTQ %s, %s", added, added)
		p.line("JZ %sBias", label)
		p.line("LEAQ (%s)(BX*4), DX", added)
		for b := range blocks {
			p.line("VADDPS (DX), Z%d, Z%d", b, b)
			if b+1 < blocks {
				p.line("ADDQ %s, DX", further)
			}
		}
		p.line("")
		p.line("%sBias:", label)
		for b := range blocks {
			p.line("VADDPS Z%d, Z%d, Z%d", bias+b, b, b)
			p.line("VMAXPS Z%d, Z%d, Z%d", b, lowest, b) // NaN stays
		}
		p.line("LEAQ (%s)(BX*4), DX", result)
		p.line("TESTQ %s, %s", narrow, narrow)
		p.line("JNZ %sNarrow", label)
		for b := range blocks {
			p.line("VMOVUPS Z%d, (DX)", b)
			if b+1 < blocks {
				p.line("ADDQ %s, DX", further)
			}
		}
		p.line("JMP %sNext", label)
		p.line("")
		p.line("%sNarrow:", label)
		for b := range blocks {
			p.line("// VCVTNEPS2BF16 Z%d, Y%d", b, b)
			p.line("%s", roundBF16(b, b))
			p.line("VMOVDQU32 Y%d, (DX)", b)
			if b+1 < blocks {
				p.line("ADDQ %s, DX", further)
			}
		}
		p.line("")
		p.line("%sNext:", label)
		p.line("ADDQ $%d, %s", block*size, sums)
		p.line("DECQ %s", left)
		p.line("JNZ %s", label)
		if tall+1 < matrixTall {
			p.line("LEAQ %d(%s), %s", blocks*matrixSize, scratch, sums)
		}
	}
}

// matrixTranspose writes the transposition of squares that follow one another.
func (p *printer) matrixTranspose() {
	p.line("")
	p.line("// func transposeSquaresAVX512(dst, src *float32, n int)")
	p.line("TEXT ·transposeSquaresAVX512(SB), NOSPLIT, $0-24")
	p.line("MOVQ dst+0(FP), AX")
	p.line("MOVQ src+8(FP), BX")
	p.line("MOVQ n+16(FP), CX")
	p.line("")
	p.line("tile:")
	for i := range block {
		p.line("VMOVUPS %d(BX), Z%d", i*block*size, i)
	}
	for i := 0; i < block; i += 2 { // lanes of two rows
		p.line("VUNPCKLPS Z%d, Z%d, Z%d", i+1, i, block+i)
		p.line("VUNPCKHPS Z%d, Z%d, Z%d", i+1, i, block+i+1)
	}
	for i := 0; i < block; i += 4 { // of four: register i+j has lanes j, 4+j, 8+j and 12+j
		for half := range 2 {
			p.line("VUNPCKLPD Z%d, Z%d, Z%d", block+i+2+half, block+i+half, i+2*half)
			p.line("VUNPCKHPD Z%d, Z%d, Z%d", block+i+2+half, block+i+half, i+2*half+1)
		}
	}
	for j := range 4 { // of eight
		for half := range 2 {
			first, to := 8*half+j, block+8*half+2*j
			p.line("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", first+4, first, to)   // lanes j and 8+j
			p.line("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", first+4, first, to+1) // 4+j and 12+j
		}
	}
	for j := range 4 {
		for odd := range 2 {
			upper := block + 2*j + odd
			p.line("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", upper+8, upper, 4*odd+j)
			p.line("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", upper+8, upper, 8+4*odd+j)
		}
	}
	for i := range block {
		p.line("VMOVUPS Z%d, %d(AX)", i, i*block*size)
	}
	p.line("ADDQ $%d, BX", block*block*size)
	p.line("ADDQ $%d, AX", block*block*size)
	p.line("DECQ CX")
	p.line("JNZ  tile")
	p.line("VZEROUPPER")
	p.line("RET")
}

// matrixSpread writes lanes of pixels, of up to 32, from elements a step apart.
func (p *printer) matrixSpread() {
	p.line("")
	p.line("// func spreadAVX512(dst, src *BF16, n, lanes, step int, taken, written uint32)")
	p.line("TEXT ·spreadAVX512(SB), NOSPLIT, $0-48")
	for _, r := range [...]string{"dst+0(FP), AX", "src+8(FP), BX", "n+16(FP), CX", "lanes+24(FP), SI", "step+32(FP), DI"} {
		p.line("MOVQ %s", r)
	}
	p.line("ADDQ  SI, SI")
	p.line("ADDQ  DI, DI")
	p.line("MOVL  taken+40(FP), DX")
	p.line("KMOVD DX, K1")
	p.line("MOVL  written+44(FP), DX")
	p.line("KMOVD DX, K2")
	p.line("")
	p.line("pixel:")
	p.line("VMOVDQU16.Z (BX), K1, Z0")
	p.line("VMOVDQU16 Z0, K2, (AX)")
	p.line("ADDQ DI, BX")
	p.line("ADDQ SI, AX")
	p.line("DECQ CX")
	p.line("JNZ  pixel")
	p.line("VZEROUPPER")
	p.line("RET")
}

// matrixPeak writes a loop of products of tiles.
func (p *printer) matrixPeak() {
	p.line("")
	p.line("// func peakAMX(t *tiles, rounds int)")
	p.line("TEXT ·peakAMX(SB), $%d-16", 63+4*matrixSize+64+1)
	p.line("NO_LOCAL_POINTERS")
	p.line("MOVQ t+0(FP), %s", args)
	p.line("LEAQ 63(SP), DI")
	p.line("ANDQ $~63, DI")
	p.configure("DI")
	for i := range 8 {
		p.instruction(fmt.Sprintf("TILEZERO T%d", i), 0xc4, 0xe2, 0x7b, 0x49, 0xc0|i<<3)
	}
	p.line("MOVQ rounds+8(FP), CX")
	p.line("")
	p.line("round:")
	for i := range 2 * rightTile {
		p.multiplyTiles(i%rightTile, leftTile+i/2%2, rightTile+i%2)
	}
	p.line("DECQ CX")
	p.line("JNZ  round")
	p.instruction("TILERELEASE", 0xc4, 0xe2, 0x78, 0x49, 0xc0)
	p.line("VZEROUPPER")
	p.line("RET")
}

// Prefixes of VEX.
const (
	f3 = 2
	f2 = 3
)

// number is how instructions name the general registers.
var number = map[string]int{
	"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SI": 6, "DI": 7,
	"R8": 8, "R9": 9, "R10": 10, "R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15,
}

func (p *printer) loadTile(tile int, base, pitch string) {
	p.tileMemory("TILELOADD", f2, tile, base, pitch)
}

func (p *printer) storeTile(tile int, base, pitch string) {
	p.tileMemory("TILESTORED", f3, tile, base, pitch)
}

// tileMemory is VEX.128.prefix.0F38.W0 4B /r of a tile in memory, whose rows lie a
// pitch in bytes apart.
func (p *printer) tileMemory(name string, prefix, tile int, base, pitch string) {
	b, x := number[base], number[pitch]
	p.instruction(fmt.Sprintf("%s T%d, (%s)(%s*1)", name, tile, base, pitch),
		0xc4, 0x82|^x>>3&1<<6|^b>>3&1<<5, 0x78|prefix, 0x4b, 1<<6|tile<<3|4, x&7<<3|b&7, 0)
}

// multiplyTiles adds the products of rows of words of two bfloat16: TDPBF16PS.
func (p *printer) multiplyTiles(sum, left, right int) {
	p.instruction(fmt.Sprintf("TDPBF16PS T%d, T%d, T%d", sum, left, right), 0xc4, 0xe2, ^right&15<<3|f3, 0x5c, 0xc0|sum<<3|left)
}

// instruction writes one that Go's assembler does not know.
func (p *printer) instruction(name string, encoded ...int) {
	p.line("// %s", name)
	p.line("%s", bytes(encoded))
}

func bytes(encoded []int) string {
	var text []string
	for _, b := range encoded {
		text = append(text, fmt.Sprintf("BYTE $%#04x", b))
	}
	return strings.Join(text, "; ")
}
