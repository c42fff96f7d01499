package kernel

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// ISA is an instruction set that kernels are written for.
type ISA uint8

// The instruction sets, each including those before it.
const (
	Generic    ISA = iota // plain Go
	AVX2                  // AVX2 and FMA
	AVX512                // AVX-512 F, BW, DQ and VL
	AVX512BF16            // AVX-512 BF16: products of bfloat16
	AMX                   // AMX BF16: products of tiles of bfloat16
)

// Best is the last of them.
const Best = AMX

var isaNames = [...]string{"generic", "avx2", "avx512", "avx512bf16", "amx"}

func (i ISA) String() string { return isaNames[i] }

// MultipliesBF16 reports whether products of bfloat16 are faster than those of
// float32.
func (i ISA) MultipliesBF16() bool { return i >= AVX512BF16 }

// Supported is the best instruction set that this machine and its operating
// system offer, whatever the build.
func Supported() ISA {
	x := cpu.X86
	avx512 := x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
	bf16 := avx512 && x.HasAVX512BF16
	switch {
	case bf16 && offersTiles() && tilesPermitted():
		return AMX
	case bf16 && !offersTiles(): // processors with AMX multiply pairs at half the rate of float32
		return AVX512BF16
	case avx512:
		return AVX512
	case x.HasAVX2 && x.HasFMA:
		return AVX2
	}
	return Generic
}

func offersTiles() bool { return cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 }

// TilesRefused reports that the processor has AMX, which the operating system does not
// let this process use.
func TilesRefused() bool { return offersTiles() && !tilesPermitted() }

// Detect is the best supported instruction set of which this build has kernels.
// SURROGAZE_ISA (generic, avx2, avx512, avx512bf16 or amx) can lower it.
func Detect() ISA {
	best := Generic
	if vectorised {
		best = Supported()
	}
	if limit, err := ParseISA(os.Getenv("SURROGAZE_ISA")); err == nil {
		best = min(best, limit)
	}
	return best
}

// ParseISA finds an instruction set by its name.
func ParseISA(name string) (ISA, error) {
	for i, s := range isaNames {
		if s == name {
			return ISA(i), nil
		}
	}
	return Generic, fmt.Errorf("instruction set %q: want one of %q", name, isaNames)
}

// Alloc makes a zeroed slice that begins at a cache line.
func Alloc(n int) []float32 {
	const line = 64
	s := make([]float32, n+line/4)
	skip := (line - int(uintptr(unsafe.Pointer(&s[0]))%line)) % line / 4
	return s[skip : skip+n : skip+n]
}
