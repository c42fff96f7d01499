package reference

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// ReLU is max(x, 0); NaN passes.
func ReLU[T Float](y, x []T) {
	for i, v := range x {
		y[i] = v
		if v < 0 {
			y[i] = 0
		}
	}
}

// ReLUBackward is dy where the result y of [ReLU] is not zero.
func ReLUBackward[T Float](dx, dy, y []T) {
	for i := range dx {
		dx[i] = T(maskedAt(dy, y, i))
	}
}

// Sigmoid is 1/(1+exp(-x)).
func Sigmoid[T Float](y, x []T) {
	for i, v := range x {
		y[i] = T(sigmoid(float64(v)))
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// SigmoidBackward is dy*y*(1-y) with y the result of [Sigmoid].
func SigmoidBackward[T Float](dx, dy, y []T) {
	for i, v := range y {
		dx[i] = dy[i] * v * (1 - v)
	}
}

// Add is a + b.
func Add[T Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// Concat joins parts, which differ in C alone, along the channels.
func Concat[T Float](parts []op.Shape, y []T, x [][]T) {
	at := 0
	for n := range parts[0].N {
		for i, p := range parts {
			image := p.C * p.H * p.W
			at += copy(y[at:], x[i][n*image:(n+1)*image])
		}
	}
}

// Channels cuts count channels out of x (N, C, H, W), the first being from. It
// is the gradient of [Concat] by one part.
func Channels[T Float](s op.Shape, from, count int, y, x []T) {
	at, plane := 0, s.H*s.W
	for n := range s.N {
		at += copy(y[at:], x[(n*s.C+from)*plane:(n*s.C+from+count)*plane])
	}
}

// Dropout zeroes elements at a rate in [0, 1) and scales the others by
// 1/(1-rate). Whether an element is kept depends on the seed and on its planar
// index alone.
func Dropout[T Float](s op.Shape, y, x []T, rate float32, seed uint64) {
	for i := range s.Len() {
		y[i] = 0
		if Kept(seed, uint64(i), rate) {
			y[i] = x[i] / T(1-rate)
		}
	}
}

// DropoutBackward is the gradient of [Dropout] with the same rate and seed.
func DropoutBackward[T Float](s op.Shape, dx, dy []T, rate float32, seed uint64) {
	Dropout(s, dx, dy, rate, seed)
}

// Kept reports whether dropout keeps the element with a planar index: the top
// 24 bits of a SplitMix64 hash of seed and index, read as a fraction, are at
// least the rate. Source of the hash: Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", OOPSLA 2014.
func Kept(seed, index uint64, rate float32) bool {
	z := seed + (index+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float32(z>>40)/(1<<24) >= rate
}
