//go:build gpu

package kernels

import "math"

// rounding is how far float32 arithmetic may be from float64, relative to the largest
// number of a result.
const rounding = 5e-6

// planar uploads numbers of float32.
func (g *gpu) planar(x []float64) Pointer {
	g.t.Helper()
	return g.numbers(F32, x...)
}

// uniform is n numbers of a type between two bounds.
func (g *gpu) uniform(n int, t Type, low, high float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = t.round(low + (high-low)*g.rng.Float64())
	}
	return x
}

// compare computes n planar numbers by launches and by the reference.
func (g *gpu) compare(what string, n int, launches func(to Pointer) []Launch, reference func(to []float64)) {
	g.t.Helper()
	to, want := g.bytes(4*n), make([]float64, n)
	g.run(launches(to))
	reference(want)
	g.within(what, g.readNumbers(to, F32, n), want, rounding*largest(want))
}

// within compares results with what they should be, to a tolerance.
func (g *gpu) within(what string, got, want []float64, tolerance float64) {
	g.t.Helper()
	for i, v := range want {
		if !(math.Abs(got[i]-v) <= tolerance) {
			g.t.Errorf("%s: element %d of %d is %v, want %v within %v", what, i, len(want), got[i], v, tolerance)
			return
		}
	}
}

// largest is that of the numbers' sizes.
func largest(x []float64) float64 {
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(v))
	}
	return most
}
