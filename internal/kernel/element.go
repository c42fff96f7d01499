package kernel

import (
	"math"
	"unsafe"
)

// BF16 is a bfloat16: the upper half of a float32.
type BF16 uint16

// Element is what blocked tensors are made of. Kernels compute in float32 whatever
// it is, and round what they store to the nearest, ties to even.
type Element interface{ float32 | BF16 }

// roundBF16 is the bfloat16 nearest to v. NaN stays NaN.
func roundBF16(v float32) BF16 {
	bits := math.Float32bits(v)
	if v != v {
		return BF16(bits>>16) | 0x40
	}
	return BF16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 is b's value.
func (b BF16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// BF16s is the memory of x as twice as many bfloat16.
func BF16s(x []float32) []BF16 {
	return unsafe.Slice((*BF16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// words is the memory of x as half as many float32, which are to be moved only.
func words(x []BF16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}

// pixel is the lanes of one pixel.
type pixel = [Block]float32

func at(x []float32, i int) *pixel { return (*pixel)(x[i:]) }

// load is the pixel of x from an index on.
func load[T Element](x []T, i int) (p pixel) {
	switch x := any(x).(type) {
	case []float32:
		p = *at(x, i)
	case []BF16:
		for l, v := range x[i:][:Block] {
			p[l] = v.Float32()
		}
	}
	return p
}

// store is load's inverse.
func store[T Element](y []T, i int, p *pixel) {
	switch y := any(y).(type) {
	case []float32:
		*at(y, i) = *p
	case []BF16:
		for l := range y[i:][:Block] {
			y[i+l] = roundBF16(p[l])
		}
	}
}

// value is v as float32, and element its inverse.
func value[T Element](v T) float32 {
	if b, ok := any(v).(BF16); ok {
		return b.Float32()
	}
	return float32(v)
}

func element[T Element](v float32) T {
	var e T
	switch e := any(&e).(type) {
	case *float32:
		*e = v
	case *BF16:
		*e = roundBF16(v)
	}
	return e
}
