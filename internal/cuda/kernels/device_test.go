//go:build gpu

package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/op"
)

// gpu is a device with the kernels, for one test. Values are float64 here, in the order
// of planar tensors, and what the type of a map holds of them on the device.
type gpu struct {
	t       *testing.T
	device  driver.Device
	modules []driver.Module
	stream  driver.Stream
	scratch Pointer
	rng     *rand.Rand
}

func open(t *testing.T) *gpu {
	t.Helper()
	cudatest.Driver(t)
	device, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := device.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &gpu{t: t, device: device, rng: rand.New(rand.NewPCG(1, 2))}
	for name, text := range PTX() {
		m, err := device.Load(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g.modules = append(g.modules, m)
	}
	g.stream, err = device.NewStream()
	g.must(err)
	g.scratch = g.bytes(Scratch)
	return g
}

func (g *gpu) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gpu) bytes(n int) Pointer {
	g.t.Helper()
	p, err := g.device.Alloc(int64(n))
	g.must(err)
	return p
}

// run computes launches after a check of each.
func (g *gpu) run(launches []Launch) {
	g.t.Helper()
	for _, l := range launches {
		g.must(Check(l))
		var f driver.Function
		var err error
		for _, m := range g.modules {
			if f, err = m.Function(l.Kernel); err == nil {
				break
			}
		}
		g.must(err)
		g.must(g.stream.Launch(f, l))
	}
	g.must(g.stream.Synchronize())
}

func (g *gpu) upload(b []byte) Pointer {
	g.t.Helper()
	host, err := g.device.AllocHost(len(b))
	g.must(err)
	copy(host, b)
	p := g.bytes(len(b))
	g.must(g.stream.CopyIn(p, host))
	g.must(g.stream.Synchronize())
	return p
}

func (g *gpu) download(p Pointer, bytes int) []byte {
	g.t.Helper()
	host, err := g.device.AllocHost(bytes)
	g.must(err)
	g.must(g.stream.CopyOut(host, p))
	g.must(g.stream.Synchronize())
	return host
}

// random is n values from -1 to 1 that a type holds.
func (g *gpu) random(n int, t Type) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = t.round(g.rng.Float64()*2 - 1)
	}
	return x
}

// round is the nearest value of a type.
func (t Type) round(x float64) float64 { return t.value(t.bits(x)) }

func (t Type) bits(x float64) uint32 {
	bits := math.Float32bits(float32(x))
	if t == BF16 {
		return (bits + 0x7fff + bits>>16&1) >> 16
	}
	return bits
}

func (t Type) value(bits uint32) float64 {
	if t == BF16 {
		bits <<= 16
	}
	return float64(math.Float32frombits(bits))
}

// numbers uploads values as they lie.
func (g *gpu) numbers(t Type, x ...float64) Pointer {
	g.t.Helper()
	var b []byte
	for _, v := range x {
		if t == BF16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(t.bits(v)))
		} else {
			b = binary.LittleEndian.AppendUint32(b, t.bits(v))
		}
	}
	return g.upload(b)
}

func (g *gpu) readNumbers(p Pointer, t Type, n int) []float64 {
	g.t.Helper()
	b, x := g.download(p, n*t.Size()), make([]float64, n)
	for i := range x {
		if t == BF16 {
			x[i] = t.value(uint32(binary.LittleEndian.Uint16(b[2*i:])))
		} else {
			x[i] = t.value(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
	return x
}

// maps uploads planar values as a feature map; readMaps does the contrary.
func (g *gpu) maps(s op.Shape, t Type, planar []float64) Pointer {
	g.t.Helper()
	x := make([]float64, len(planar))
	for i, at := range nhwc(s) {
		x[at] = planar[i]
	}
	return g.numbers(t, x...)
}

func (g *gpu) readMaps(p Pointer, s op.Shape, t Type) []float64 {
	g.t.Helper()
	x, planar := g.readNumbers(p, t, s.Len()), make([]float64, s.Len())
	for i, at := range nhwc(s) {
		planar[i] = x[at]
	}
	return planar
}

// nhwc is where each element of a planar tensor is in a feature map.
func nhwc(s op.Shape) []int {
	at := make([]int, s.Len())
	for i := range at {
		pixel, channel, image := i%(s.H*s.W), i/(s.H*s.W)%s.C, i/(s.C*s.H*s.W)
		at[i] = (image*s.H*s.W+pixel)*s.C + channel
	}
	return at
}

// room is memory for a feature map.
func (g *gpu) room(s op.Shape, t Type) Pointer {
	g.t.Helper()
	return g.bytes(s.Len() * t.Size())
}

// near compares with the reference: a rounding of the type is allowed, and float32's
// errors relative to the largest value.
func (g *gpu) near(what string, t Type, got, want []float64) {
	g.t.Helper()
	g.close(what, t, got, want, largest(want))
}

// nearSums is [gpu.near] for float32 sums of terms of about 1, which may cancel.
func (g *gpu) nearSums(what string, got, want []float64) {
	g.t.Helper()
	g.close(what, F32, got, want, max(largest(want), 1))
}

func (g *gpu) close(what string, t Type, got, want []float64, scale float64) {
	g.t.Helper()
	if len(got) != len(want) {
		g.t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	ulp := 1e-6
	if t == BF16 {
		ulp = 1.0 / 128
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= ulp*math.Abs(w)+3e-6*scale) && !(math.IsNaN(w) && math.IsNaN(got[i])) {
			g.t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], w)
		}
	}
}

// onEach runs a test for both types on shapes that fill vectors and blocks, and that do
// not.
func onEach(t *testing.T, f func(g *gpu, s op.Shape, typ Type)) {
	g := open(t)
	for _, typ := range []Type{F32, BF16} {
		for _, s := range []op.Shape{
			{N: 1, C: 1, H: 1, W: 1}, {N: 2, C: 1, H: 9, W: 14}, {N: 2, C: 3, H: 13, W: 11}, {N: 3, C: 5, H: 8, W: 6},
			{N: 2, C: 8, H: 16, W: 16}, {N: 1, C: 24, H: 7, W: 9}, {N: 2, C: 33, H: 5, W: 5}, {N: 1, C: 64, H: 12, W: 10}, {N: 2, C: 264, H: 4, W: 3},
		} {
			t.Run(typ.String()+s.String(), func(t *testing.T) {
				on := *g
				on.t = t
				f(&on, s, typ)
			})
		}
	}
}

// equal asks for the same values.
func (g *gpu) equal(what string, got, want []float64) {
	g.t.Helper()
	for i, w := range want {
		if got[i] != w {
			g.t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], w)
		}
	}
}
