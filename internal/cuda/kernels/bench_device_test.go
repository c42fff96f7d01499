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
			{"BatchNormEval", 2, BatchNormEval(norm, typ, y, Slice{x, s.C}, 0, true, c, c, c, c)},
			{"BatchNormTrain", 3, BatchNormTrain(norm, typ, y, Slice{x, s.C}, 0, true, c, c, c, c, c, c, g.scratch)},
			{"BatchNormTrain/residual", 4, BatchNormTrain(norm, typ, y, Slice{x, s.C}, z, true, c, c, c, c, c, c, g.scratch)},
			{"BatchNormBackward/again", 5, BatchNormBackward(norm, typ, y, 0, c, c, z, Slice{x, s.C}, 0, c, c, c, c, Slice{}, Slice{}, g.scratch)},
			{"BatchNormBackward/residual", 7, BatchNormBackward(norm, typ, y, w, c, c, z, Slice{x, s.C}, y, c, 0, c, c, Slice{}, Slice{}, g.scratch)},
			{"MaxPool", 1.25, MaxPool(pool, typ, y, most, x)},
			{"MaxPoolBackward", 1.25, MaxPoolBackward(pool, typ, w, z, most)},
			{"AvgPool", 1.25, AvgPool(pool, typ, y, x)},
			{"AvgPoolBackward", 1.25, AvgPoolBackward(pool, typ, y, x)},
			{"GlobalAvgPool", 1, GlobalAvgPool(s, typ, y, x)},
			{"GlobalAvgPoolBackward", 1, GlobalAvgPoolBackward(s, typ, y, x)},
			{"Upsample", 5, Upsample(up, typ, Slice{y, s.C}, x)},
			{"UpsampleBackward", 5, UpsampleBackward(up, typ, y, Slice{x, s.C})},
			{"Dropout", 2, Dropout(s, typ, y, x, 0.5, 1, c)},
			{"DepthwiseForward", 2, DepthwiseForward(conv, typ, y, x, c)},
			{"DepthwiseBackwardData", 2, DepthwiseBackwardData(conv, typ, y, x, c)},
			{"DepthwiseBackwardWeights", 2, DepthwiseBackwardWeights(conv, typ, c, x, y, g.scratch)},
		} {
			b.Run(o.name+"/"+typ.String(), func(b *testing.B) {
				on := *g
				on.t = b
				on.report(b, int(o.maps*float64(s.Len()*typ.Size())), o.launches)
			})
		}
	}
}

// BenchmarkNetworks says the same of bfloat16 maps as the largest steps of networks have
// them: ResNet-50, DenseNet-121, Xception and Inception-v3 of 128 images, U-Net of 64.
func BenchmarkNetworks(b *testing.B) {
	const t = BF16
	g := open(b)
	largest := op.Shape{N: 128, C: 128, H: 147, W: 147}
	x, dy, y, dx, dr := g.noise(largest), g.noise(largest), g.noise(largest), g.room(largest, t), g.room(largest, t)
	c := g.numbers(F32, g.random(1<<16, F32)...) // weights, and what channels have one value of
	mask, sums := g.bytes(largest.Len()), g.bytes(1<<20)
	run := func(name string, s op.Shape, bytes int, launches []Launch) {
		b.Run(name+"/"+s.String(), func(b *testing.B) {
			on := *g
			on.t = b
			on.report(b, bytes, launches)
		})
	}

	for _, s := range []op.Shape{{N: 128, C: 256, H: 56, W: 56}, {N: 128, C: 512, H: 28, W: 28}, {N: 128, C: 1024, H: 14, W: 14}, {N: 128, C: 2048, H: 7, W: 7}} {
		n := op.BatchNorm{In: s, Eps: 1e-5, Momentum: 0.1}
		run("BatchNormTrain/residual", s, 4*2*s.Len(), BatchNormTrain(n, t, y, Slice{x, s.C}, dr, true, c, c, sums, sums, sums, sums, g.scratch))
		run("BatchNormBackward/residual", s, 7*2*s.Len(), BatchNormBackward(n, t, dx, dr, sums, sums, dy, Slice{x, s.C}, y, c, 0, c, c, Slice{}, Slice{}, g.scratch))
		run("BatchNormBackward/residual, dy added", s, 8*2*s.Len(), BatchNormBackward(n, t, dx, dr, sums, sums, dy, Slice{x, s.C}, y, c, 0, c, c, Slice{}, Slice{y, s.C}, g.scratch))
		run("BatchNormBackward/again, dx added", s, 6*2*s.Len(), BatchNormBackward(n, t, dx, 0, sums, sums, dy, Slice{x, s.C}, 0, c, c, c, c, Slice{y, s.C}, Slice{}, g.scratch))
		run("Add", s, 3*2*s.Len(), Add(int64(s.Len()), t, dx, x, dy))
	}
	for _, s := range []op.Shape{
		{N: 128, C: 64, H: 56, W: 56}, {N: 128, C: 128, H: 28, W: 28}, {N: 64, C: 32, H: 256, W: 256}, {N: 128, C: 128, H: 56, W: 56},
		{N: 128, C: 128, H: 14, W: 14}, {N: 128, C: 192, H: 17, W: 17}, {N: 128, C: 512, H: 7, W: 7},
	} {
		n := op.BatchNorm{In: s, Eps: 1e-5, Momentum: 0.1}
		run("BatchNormTrain", s, 3*2*s.Len(), BatchNormTrain(n, t, y, Slice{x, s.C}, 0, true, c, c, sums, sums, sums, sums, g.scratch))
		run("BatchNormBackward/again", s, 5*2*s.Len(), BatchNormBackward(n, t, dx, 0, sums, sums, dy, Slice{x, s.C}, 0, c, c, c, c, Slice{}, Slice{}, g.scratch))
	}
	for _, p := range []op.Pool{
		{In: op.Shape{N: 128, C: 64, H: 112, W: 112}, Kernel: 3, Stride: 2, Pad: 1}, {In: op.Shape{N: 128, C: 128, H: 147, W: 147}, Kernel: 3, Stride: 2, Pad: 1},
		{In: op.Shape{N: 128, C: 64, H: 147, W: 147}, Kernel: 3, Stride: 2}, {In: op.Shape{N: 128, C: 192, H: 71, W: 71}, Kernel: 3, Stride: 2},
		{In: op.Shape{N: 64, C: 32, H: 256, W: 256}, Kernel: 2, Stride: 2},
	} {
		s, bytes := p.In, 2*p.In.Len()+3*p.OutShape().Len()
		run("MaxPool", s, bytes, MaxPool(p, t, y, mask, x))
		run("MaxPoolBackward", s, bytes, MaxPoolBackward(p, t, dx, dy, mask))
	}
	for _, s := range []op.Shape{{N: 128, C: 192, H: 35, W: 35}, {N: 128, C: 768, H: 17, W: 17}, {N: 128, C: 2048, H: 8, W: 8}} {
		p := op.Pool{In: s, Kernel: 3, Stride: 1, Pad: 1, CountPad: true}
		run("AvgPool", s, 2*2*s.Len(), AvgPool(p, t, y, x))
		run("AvgPoolBackward", s, 2*2*s.Len(), AvgPoolBackward(p, t, dx, dy))
	}
	for _, s := range []op.Shape{{N: 128, C: 64, H: 147, W: 147}, {N: 128, C: 128, H: 147, W: 147}, {N: 128, C: 256, H: 74, W: 74}, {N: 128, C: 728, H: 19, W: 19}} {
		d := op.Conv{In: s, Out: s.C, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: s.C}
		run("DepthwiseForward", s, 2*2*s.Len(), DepthwiseForward(d, t, y, x, c))
		run("DepthwiseBackwardData", s, 2*2*s.Len(), DepthwiseBackwardData(d, t, dx, dy, c))
		run("DepthwiseBackwardWeights", s, 2*2*s.Len(), DepthwiseBackwardWeights(d, t, sums, x, dy, g.scratch))
	}
	for _, h := range []op.Conv{
		{In: op.Shape{N: 64, C: 32, H: 256, W: 256}, KernelH: 1, KernelW: 1}, {In: op.Shape{N: 64, C: 16, H: 256, W: 256}, KernelH: 3, KernelW: 3, PadH: 1, PadW: 1},
	} {
		s := h.In
		h.Out, h.Groups, h.StrideH, h.StrideW, h.DilationH, h.DilationW = 1, 1, 1, 1, 1, 1
		bytes := 2*s.Len() + 4*s.Pixels()
		run("HeadForward", s, bytes, HeadForward(h, t, y, x, c, c))
		run("HeadBackwardData", s, bytes, HeadBackwardData(h, t, dx, dy, c))
		run("HeadBackwardWeights", s, bytes, HeadBackwardWeights(h, t, sums, x, dy, g.scratch))
	}
	for _, s := range []op.Shape{{N: 128, C: 256, H: 28, W: 28}, {N: 128, C: 512, H: 14, W: 14}} {
		run("CopyChannels", s, 2*2*s.Len(), CopyChannels(s.Pixels(), s.C, t, y, s.C+32, 0, x, s.C, 0))
	}
	up := op.Upsample{In: op.Shape{N: 64, C: 32, H: 128, W: 128}, Scale: 2, Bilinear: true}
	run("Upsample", up.In, 5*2*up.In.Len(), Upsample(up, t, Slice{y, up.In.C}, x))
	run("UpsampleBackward", up.In, 5*2*up.In.Len(), UpsampleBackward(up, t, dx, Slice{dy, up.In.C}))
	image := op.Shape{N: 128, C: 3, H: 224, W: 224}
	run("ToNHWC", image, 6*image.Len(), ToNHWC(image, t, y, x))
	run("ImageToNHWC", image, 4*image.Len()+2*ImageChannels*image.Pixels(), ImageToNHWC(image, y, x))
}

// noise is a bfloat16 map of random values, which repeat.
func (g *gpu) noise(s op.Shape) Pointer {
	const block = 1 << 20
	bytes := s.Len() * BF16.Size()
	p, some := g.bytes(bytes+block), g.numbers(BF16, g.random(block/BF16.Size(), BF16)...)
	for from := 0; from < bytes; from += block {
		g.must(g.stream.Copy(p.Offset(int64(from)), some, block))
	}
	return p
}

// report measures launches that move a number of bytes.
func (g *gpu) report(b *testing.B, bytes int, launches []Launch) {
	seconds := g.time(b.N, launches)
	b.ReportMetric(seconds*1e6/float64(b.N), "us/op")
	b.ReportMetric(float64(bytes)*float64(b.N)/seconds/1e9, "GB/s")
	b.ReportMetric(0, "ns/op")
}

// time is how long the device takes for launches some times, in seconds. They are one
// graph, as in programs.
func (g *gpu) time(times int, launches []Launch) float64 {
	g.run(launches)
	functions := make([]driver.Function, len(launches))
	for i, l := range launches {
		functions[i] = g.function(l.Kernel)
	}
	graph, err := g.stream.Capture(func() error {
		for range times {
			for i, l := range launches {
				if err := g.stream.Launch(functions[i], l); err != nil {
					return err
				}
			}
		}
		return nil
	})
	g.must(err)
	start, err := g.device.NewEvent()
	g.must(err)
	end, err := g.device.NewEvent()
	g.must(err)
	g.must(g.stream.Record(start))
	g.must(graph.Launch(g.stream))
	g.must(g.stream.Record(end))
	g.must(end.Synchronize())
	seconds, err := end.Since(start)
	g.must(err)
	for _, c := range []interface{ Close() error }{graph, start, end} {
		g.must(c.Close())
	}
	return seconds
}
