package kernel

import (
	"fmt"
	"testing"
	"time"

	"github.com/surrogaze/surrogaze/internal/op"
)

var benchConvs = []struct {
	name   string
	g      op.Conv
	planar bool
}{
	{"3x3/64@56", conv(8, 64, 56, 56, 64, 3, 1, 1), false},
	{"3x3/128@28", conv(8, 128, 28, 28, 128, 3, 1, 1), false},
	{"3x3/256@14", conv(8, 256, 14, 14, 256, 3, 1, 1), false},
	{"3x3/512@7", conv(8, 512, 7, 7, 512, 3, 1, 1), false},
	{"3x3s2/64-128@56", conv(8, 64, 56, 56, 128, 3, 2, 1), false},
	{"3x3s2/256-512@14", conv(8, 256, 14, 14, 512, 3, 2, 1), false},
	{"1x1/256-64@56", conv(8, 256, 56, 56, 64, 1, 1, 0), false},
	{"1x1/128-512@28", conv(8, 128, 28, 28, 512, 1, 1, 0), false},
	{"1x1/1024-256@14", conv(8, 1024, 14, 14, 256, 1, 1, 0), false},
	{"1x1/2048-512@7", conv(8, 2048, 7, 7, 512, 1, 1, 0), false},
	{"1x1s2/256-512@56", conv(8, 256, 56, 56, 512, 1, 2, 0), false},
	{"7x7s2/3-64@224", conv(8, 3, 224, 224, 64, 7, 2, 3), true},
	{"5x5s2/3-16@40", conv(16, 3, 40, 40, 16, 5, 2, 2), true},
	{"3x3/16@40", conv(16, 16, 40, 40, 16, 3, 1, 1), false},
	{"3x3/32@20", conv(16, 32, 20, 20, 32, 3, 1, 1), false},
	{"3x3/64@10", conv(16, 64, 10, 10, 64, 3, 1, 1), false},
	{"3x3 depthwise/728@19", with(conv(8, 728, 19, 19, 728, 3, 1, 1), func(g *op.Conv) { g.Groups = 728 }), false},
	{"3x3s2/32-64@20", conv(16, 32, 20, 20, 64, 3, 2, 1), false},
}

// BenchmarkConvolution reports GFLOP/s and the share of the element's peak, which is
// measured beside it, on one core. Times are the sums of every task's best, so
// that they mean something on a machine that does other things as well.
func BenchmarkConvolution(b *testing.B) {
	benchmarkConvolutions[float32](b, MeasureFMA)
}

// BenchmarkConvolutionBF16 is the same in bfloat16, where the machine multiplies it.
func BenchmarkConvolutionBF16(b *testing.B) {
	if !Detect().MultipliesBF16() {
		b.Skip("this machine does not multiply bfloat16")
	}
	benchmarkConvolutions[BF16](b, MeasureBF16)
}

func benchmarkConvolutions[T Element](b *testing.B, measure func(ISA) float64) {
	isa := Detect()
	for _, c := range benchConvs {
		b.Run(c.name, func(b *testing.B) {
			directions := bindDirections(NewEnv(isa, 1), chosen[T](), c.g, c.planar)
			peak := 0.0
			for b.Loop() {
				peak = max(peak, measure(isa))
				for _, d := range directions {
					d.run()
				}
			}
			var total time.Duration
			for _, d := range directions {
				t := d.time()
				total += t
				b.ReportMetric(100*c.g.FLOPs()/t.Seconds()/peak, "%peak-"+d.name)
			}
			flops := float64(len(directions)) * c.g.FLOPs() / total.Seconds()
			b.ReportMetric(flops/1e9, "GFLOP/s")
			b.ReportMetric(100*flops/peak, "%peak")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// direction is a pass of a convolution on one worker, and the best time of each
// of its tasks.
type direction struct {
	name   string
	phases []Phase
	best   []time.Duration
}

func bindDirections[T Element](e *Env, a algorithm[T], g op.Conv, planar bool) []*direction {
	d, out := newDraw(1), BlockedLen(g.OutShape())
	w, dw, dy, y := d.values(g.Weight().Len()), Alloc(g.Weight().Len()), elements[T](d.values(out)), make([]T, out)
	if planar {
		x := d.values(g.In.Len())
		return []*direction{
			{name: "forward", phases: ConvForwardPlanar(e, g, y, x, w, Epilogue[T]{})},
			{name: "weights", phases: ConvBackwardWeightsPlanar(e, g, dw, x, dy)},
		}
	}
	x := elements[T](d.values(BlockedLen(g.In)))
	return []*direction{
		{name: "forward", phases: a.forward(e, g, y, x, w, Epilogue[T]{})},
		{name: "weights", phases: a.weights(e, g, dw, x, dy)},
		{name: "data", phases: a.data(e, g, make([]T, len(x)), dy, w)},
	}
}

func (d *direction) run() {
	i := 0
	for _, p := range d.phases {
		for task := range p.Tasks {
			begin := time.Now()
			p.Run(task, 0)
			t := time.Since(begin)
			if i == len(d.best) {
				d.best = append(d.best, t)
			}
			d.best[i] = min(d.best[i], t)
			i++
		}
	}
}

func (d *direction) time() (total time.Duration) {
	for _, t := range d.best {
		total += t
	}
	return total
}

// BenchmarkWinograd reports what Winograd's convolutions take as a share of what the
// direct ones do, over geometries between which winogradPays decides.
func BenchmarkWinograd(b *testing.B) { benchmarkWinograd[float32](b) }

// BenchmarkWinogradBF16 compares Winograd's convolutions, which multiply float32, with
// direct ones, which multiply bfloat16.
func BenchmarkWinogradBF16(b *testing.B) {
	if !Detect().MultipliesBF16() {
		b.Skip("this machine does not multiply bfloat16")
	}
	benchmarkWinograd[BF16](b)
}

func benchmarkWinograd[T Element](b *testing.B) {
	for _, channels := range []int{16, 32, 64, 128, 256, 512} {
		for _, side := range []int{4, 5, 6, 7, 8, 10, 12, 14, 20, 28, 56} {
			if channels*side > 3600 {
				continue
			}
			g := conv(8, channels, side, side, channels, 3, 1, 1)
			b.Run(fmt.Sprintf("%d@%d", channels, side), func(b *testing.B) {
				e := NewEnv(Detect(), 1)
				ours, others := bindDirections(e, winogradOf[T](), g, false), bindDirections(e, directOf[T](), g, false)
				for b.Loop() {
					for i := range ours {
						others[i].run()
						ours[i].run()
					}
				}
				for i, d := range ours {
					b.ReportMetric(d.time().Seconds()/others[i].time().Seconds(), d.name)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
