package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

var le = binary.LittleEndian

// decoders turn the little-endian elements in src into float32. Integers beyond
// 2^24 and float64 are rounded to the nearest float32.
var decoders = map[DType]func(dst []float32, src []byte){
	F32:  each(4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }),
	F64:  each(8, func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }),
	F16:  each(2, func(b []byte) float32 { return fromHalf(le.Uint16(b)) }),
	BF16: each(2, func(b []byte) float32 { return math.Float32frombits(uint32(le.Uint16(b)) << 16) }),
	I64:  each(8, func(b []byte) float32 { return float32(int64(le.Uint64(b))) }),
	I32:  each(4, func(b []byte) float32 { return float32(int32(le.Uint32(b))) }),
	I16:  each(2, func(b []byte) float32 { return float32(int16(le.Uint16(b))) }),
	I8:   each(1, func(b []byte) float32 { return float32(int8(b[0])) }),
	U64:  each(8, func(b []byte) float32 { return float32(le.Uint64(b)) }),
	U32:  each(4, func(b []byte) float32 { return float32(le.Uint32(b)) }),
	U16:  each(2, func(b []byte) float32 { return float32(le.Uint16(b)) }),
	U8:   each(1, func(b []byte) float32 { return float32(b[0]) }),
	Bool: each(1, func(b []byte) float32 { return float32(b[0]) }),
}

func each(size int, element func([]byte) float32) func([]float32, []byte) {
	return func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = element(src[i*size : i*size+size])
		}
	}
}

// NonFinite is the index of the first value that is NaN or infinite, -1 if there is
// none.
func NonFinite(values []float32) int {
	for i, v := range values {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// CheckFinite is an error if a value of the tensor of that name is NaN or infinite.
func CheckFinite(name string, values []float32) error {
	if i := NonFinite(values); i >= 0 {
		return fmt.Errorf("tensor %q: found %v at index %d, want finite numbers", name, values[i], i)
	}
	return nil
}

// appendAs appends v, rounded to the nearest (ties to even) value of d.
func appendAs(b []byte, d DType, v float32) ([]byte, error) {
	switch d {
	case F32:
		return le.AppendUint32(b, math.Float32bits(v)), nil
	case BF16:
		return le.AppendUint16(b, toBrain(v)), nil
	case F16:
		return le.AppendUint16(b, toHalf(v)), nil
	}
	return nil, fmt.Errorf("cannot write float32 data as %s, want F32, F16 or BF16", d)
}

// fromHalf is exact: IEEE 754 binary16 has 5 exponent and 10 fraction bits.
func fromHalf(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0:
		v := float32(fraction) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// toHalf overflows to infinity and keeps NaN.
func toHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, magnitude := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00
	case magnitude >= 0x477ff000: // 65520 rounds to 65536, past the largest, 65504
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2^-14: multiples of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(magnitude))*0x1p24))
	}
	return sign | uint16((magnitude-(127-15)<<23+0xfff+magnitude>>13&1)>>13)
}

// toBrain keeps the upper half of a float32.
func toBrain(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
