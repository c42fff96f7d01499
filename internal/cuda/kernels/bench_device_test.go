//go:build gpu

package kernels

import (
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/op"
)

// BenchmarkFeatureMaps says how fast the kernels are on maps larger than a GPU's cache, in
// bytes that they cannot do without a second; it makes sense on a GPU alone.
func BenchmarkFeatureMaps(b *testing.B) {
	s := op.Shape{N: 64, C: 64, H: 112, W: 112}
	for _, typ := range []Type{F32, BF16} {
		g := open(b)
		c := g.numbers(F32, g.random(9*s.C, F32)...) // what channels have one value of
		bytes := s.Len() * typ.Size()
		x, y, z, w, most := g.bytes(4*bytes), g.bytes(4*bytes), g.bytes(bytes), g.bytes(bytes), g.bytes(bytes)
		g.must(g.stream.Fill(x, 0, int64(4*bytes)))
		const block = 1 << 16
		some := g.numbers(typ, g.random(block/typ.Size(), typ)...)
		for from := 0; from+block <= bytes; from += block {
			g.must(g.stream.Copy(x.Offset(int64(from)), some, block))
		}
		n, planar := int64(s.Len()), 4/float64(typ.Size())
		norm := op.BatchNorm{In: s, Eps: 1e-5, Momentum: 0.1}
		pool := op.Pool{In: s, Kernel: 3, Stride: 2, Pad: 1}
		g.run(MaxPool(pool, typ, y, most, x))
		up := op.Upsample{In: s, Scale: 2, Bilinear: true}
		conv := op.Conv{In: s, Out: s.C, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: s.C}
		for _, o := range []struct {
			name     string
			maps     float64 // read and written, of the size of s
			launches []Launch
		}{
			{"ReLU", 2, ReLU(n, typ, y, x)},
			{"Add", 3, Add(n, typ, z, x, y)},
			{"ToNHWC", 1 + planar, ToNHWC(s, typ, y, x)},
			{"ToNCHW", 1 + planar, ToNCHW(s, typ, y, x)},
			{"CopyChannels", 2, CopyChannels(s.Pixels(), s.C, typ, y, 2*s.C, s.C, x, s.C, 0)},
			{"ConvEpilogue", 2, ConvEpilogue(s, typ, y, c, 0, true)},
			{"BiasGradient", 1, BiasGradient(s, typ, c, x, g.scratch)},
			{"BatchNormEval", 2, BatchNormEval(norm, typ, y, x, 0, true, c, c, c, c)},
			{"BatchNormTrain", 3, BatchNormTrain(norm, typ, y, x, 0, true, c, c, c, c, c, c, g.scratch)},
			{"BatchNormTrain/residual", 4, BatchNormTrain(norm, typ, y, x, z, true, c, c, c, c, c, c, g.scratch)},
			{"BatchNormBackward/again", 5, BatchNormBackward(norm, typ, y, 0, c, c, z, x, 0, c, c, c, c, g.scratch)},
			{"BatchNormBackward/residual", 7, BatchNormBackward(norm, typ, y, w, c, c, z, x, y, c, 0, c, c, g.scratch)},
			{"MaxPool", 1.25, MaxPool(pool, typ, y, most, x)},
			{"MaxPoolBackward", 1.25, MaxPoolBackward(pool, typ, w, z, most)},
			{"AvgPool", 1.25, AvgPool(pool, typ, y, x)},
			{"AvgPoolBackward", 1.25, AvgPoolBackward(pool, typ, y, x)},
			{"GlobalAvgPool", 1, GlobalAvgPool(s, typ, y, x)},
			{"GlobalAvgPoolBackward", 1, GlobalAvgPoolBackward(s, typ, y, x)},
			{"Upsample", 5, Upsample(up, typ, y, x)},
			{"UpsampleBackward", 5, UpsampleBackward(up, typ, y, x)},
			{"Dropout", 2, Dropout(s, typ, y, x, 0.5, 1, c)},
			{"DepthwiseForward", 2, DepthwiseForward(conv, typ, y, x, c)},
			{"DepthwiseBackwardData", 2, DepthwiseBackwardData(conv, typ, y, x, c)},
			{"DepthwiseBackwardWeights", 2, DepthwiseBackwardWeights(conv, typ, c, x, y, g.scratch)},
		} {
			b.Run(o.name+"/"+typ.String(), func(b *testing.B) {
				seconds := g.time(b.N, o.launches)
				b.ReportMetric(seconds*1e6/float64(b.N), "us/op")
				b.ReportMetric(o.maps*float64(s.Len()*typ.Size())*float64(b.N)/seconds/1e9, "GB/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// time is how long the device takes for launches some times, in seconds.
func (g *gpu) time(times int, launches []Launch) float64 {
	g.run(launches)
	functions := make([]driver.Function, len(launches))
	for i, l := range launches {
		functions[i] = g.function(l.Kernel)
	}
	start, err := g.device.NewEvent()
	g.must(err)
	end, err := g.device.NewEvent()
	g.must(err)
	g.must(g.stream.Record(start))
	for range times {
		for i, l := range launches {
			g.must(g.stream.Launch(functions[i], l))
		}
	}
	g.must(g.stream.Record(end))
	g.must(end.Synchronize())
	seconds, err := end.Since(start)
	g.must(err)
	return seconds
}
