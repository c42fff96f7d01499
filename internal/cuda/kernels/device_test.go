//go:build cuda

package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// mocked builds the mock of the driver once and lets the driver be found there.
var mocked = sync.OnceValue(func() error {
	dir := filepath.Join(os.TempDir(), "surrogaze-cuda-mock")
	build := exec.Command("../mock/build", dir)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	return os.Setenv(driver.LibraryVariable, filepath.Join(dir, "libcuda.so.1"))
})

// gpu runs launches on the mock.
type gpu struct {
	*testing.T
	device driver.Device
	stream driver.Stream
	loaded []driver.Module
}

func newGPU(t *testing.T) *gpu {
	t.Helper()
	if err := mocked(); err != nil {
		t.Fatalf("mock of the driver: %v", err)
	}
	device, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := device.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &gpu{T: t, device: device}
	if g.stream, err = device.NewStream(); err != nil {
		t.Fatal(err)
	}
	for _, ptx := range PTX() {
		m, err := device.Load(ptx)
		if err != nil {
			t.Fatal(err)
		}
		g.loaded = append(g.loaded, m)
	}
	return g
}

// must ends the test on an error.
func (g *gpu) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *gpu) function(name string) driver.Function {
	g.Helper()
	for _, m := range g.loaded {
		if f, err := m.Function(name); err == nil {
			return f
		}
	}
	g.Fatalf("no kernel %q", name)
	return nil
}

// room is memory for bytes, filled with NaN.
func (g *gpu) room(bytes int) Pointer {
	g.Helper()
	p, err := g.device.Alloc(int64(bytes))
	g.must(err)
	g.must(g.stream.Fill(p, 0xff, int64(bytes)))
	return p
}

// put brings bytes into new memory.
func (g *gpu) put(b []byte) Pointer {
	g.Helper()
	host, err := g.device.AllocHost(len(b))
	g.must(err)
	copy(host, b)
	p := g.room(len(b))
	g.must(g.stream.CopyIn(p, host))
	return p
}

// numbers brings numbers of a type into new memory.
func (g *gpu) numbers(t Type, x []float64) Pointer {
	g.Helper()
	return g.put(encode(t, x))
}

// planar is numbers of float32.
func (g *gpu) planar(x []float64) Pointer { g.Helper(); return g.numbers(F32, x) }

func encode(t Type, x []float64) []byte {
	var b []byte
	for _, v := range x {
		bits := math.Float32bits(float32(v))
		if t == BF16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(bits>>16))
		} else {
			b = binary.LittleEndian.AppendUint32(b, bits)
		}
	}
	return b
}

// run does launches, each of which fits its kernel.
func (g *gpu) run(launches []Launch) {
	g.Helper()
	for _, l := range launches {
		g.must(Check(l))
		g.must(g.stream.Launch(g.function(l.Kernel), l))
	}
	g.must(g.stream.Synchronize())
}

// read brings n numbers of a type back.
func (g *gpu) read(t Type, p Pointer, n int) []float64 {
	g.Helper()
	host, err := g.device.AllocHost(n * t.Size())
	g.must(err)
	g.must(g.stream.CopyOut(host, p))
	g.must(g.stream.Synchronize())
	x := make([]float64, n)
	for i := range x {
		if t == BF16 {
			x[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(host[2*i:])) << 16))
		} else {
			x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(host[4*i:])))
		}
	}
	return x
}

// near compares results with what they should be, to a tolerance.
func (g *gpu) near(what string, got, want []float64, tolerance float64) {
	g.Helper()
	for i, v := range want {
		if !(math.Abs(got[i]-v) <= tolerance) {
			g.Errorf("%s: element %d of %d is %v, want %v within %v", what, i, len(want), got[i], v, tolerance)
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

// uniform is n numbers of a type between two bounds.
func uniform(rng *rand.Rand, t Type, n int, low, high float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(low + (high-low)*rng.Float64()))
		if t == BF16 {
			x[i] = float64(math.Float32frombits(math.Float32bits(float32(x[i])) &^ 0xffff))
		}
	}
	return x
}
