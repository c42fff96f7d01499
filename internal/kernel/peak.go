package kernel

import "time"

// MeasureFMA is the number of float32 operations per second, two a fused
// multiply-add, that one core reaches in a loop of independent multiply-adds of
// an instruction set that the machine has: the best of some short rounds, about
// 10 ms in all.
func MeasureFMA(isa ISA) (flops float64) {
	p, ok := peaks[isa]
	if !ok {
		p = peak{peakGeneric, 8 * 2}
	}
	return p.measure()
}

// MeasureBF16 is the same for bfloat16, whose instruction multiplies and adds two
// pairs: 0 where there is none.
func MeasureBF16(isa ISA) (flops float64) {
	if p, ok := pairPeaks[isa]; ok {
		return p.measure()
	}
	return 0
}

func (p peak) measure() (flops float64) {
	const rounds = 40_000
	for range 10 {
		begin := time.Now()
		p.run(rounds)
		flops = max(flops, rounds*p.operations/time.Since(begin).Seconds())
	}
	return flops
}

// peak is a loop and the operations in one of its rounds.
type peak struct {
	run        func(rounds int)
	operations float64
}

var peakSink float32

func peakGeneric(rounds int) {
	var a, b, c, d, e, f, g, h float32
	x, y := peakSink, peakSink
	for range rounds {
		a = a*x + y
		b = b*x + y
		c = c*x + y
		d = d*x + y
		e = e*x + y
		f = f*x + y
		g = g*x + y
		h = h*x + y
	}
	peakSink = a + b + c + d + e + f + g + h
}
