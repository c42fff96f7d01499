//go:build gpu

package cudnn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

// driverVersion is of a driver for CUDA 12.2.
const driverVersion = 12020

// machine is the mock's device with a stream, and its library.
type machine struct {
	t       *testing.T
	device  driver.Device
	stream  driver.Stream
	library Library
}

// onGPU says that there is a GPU with NVIDIA's library, to test in place of the mocks.
var onGPU = os.Getenv("SURROGAZE_GPU") == "1"

// held keeps the GPU's context, which libraries do not expect to lose between tests.
var held = sync.OnceValues(func() (driver.Device, error) { return driver.Open(0) })

// mocked is for tests about the mocks.
func mocked(t *testing.T) *machine {
	t.Helper()
	if onGPU {
		t.Skip("is about a mock")
	}
	return start(t)
}

// start opens the device and the library, which must be closed without anything left.
func start(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t}
	var err error
	if onGPU {
		_, err = held()
		m.must(err)
	} else {
		t.Setenv(Folders, filepath.Dir(cudatest.Mock(t)))
	}
	m.library, err = Open(driverVersion, nil)
	m.must(err)
	m.device, err = driver.Open(0)
	m.must(err)
	m.stream, err = m.device.NewStream()
	m.must(err)
	m.must(m.library.SetStream(m.stream.Handle()))
	t.Cleanup(func() { m.must(errors.Join(m.library.Close(), m.device.Close())) })
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) alloc(bytes int) driver.Pointer {
	m.t.Helper()
	p, err := m.device.Alloc(int64(bytes))
	m.must(err)
	return p
}

// tensor is one on the device, with its values as they are there.
type tensor struct {
	shape  op.Shape
	kind   kernels.Type
	values []float64 // N, C, H, W
	at     driver.Pointer
}

// random makes a tensor on the device.
func (m *machine) random(rng *rand.Rand, s op.Shape, kind kernels.Type) *tensor {
	m.t.Helper()
	v := &tensor{shape: s, kind: kind, values: make([]float64, s.Len()), at: m.alloc(s.Len() * kind.Size())}
	host, err := m.device.AllocHost(s.Len() * kind.Size())
	m.must(err)
	for i := range v.values {
		bits := math.Float32bits(rng.Float32()*2 - 1)
		if kind == kernels.BF16 {
			bits &= 0xffff0000
			binary.LittleEndian.PutUint16(host[2*v.place(i):], uint16(bits>>16))
		} else {
			binary.LittleEndian.PutUint32(host[4*v.place(i):], bits)
		}
		v.values[i] = float64(math.Float32frombits(bits))
	}
	m.must(m.stream.CopyIn(v.at, host))
	m.must(m.stream.Synchronize())
	m.must(m.device.ReleaseHost(host))
	return v
}

// place is where the i-th value of N, C, H, W lies with channels last.
func (v *tensor) place(i int) int {
	s := v.shape
	plane := s.H * s.W
	n, c, pixel := i/(s.C*plane), i/plane%s.C, i%plane
	return (n*plane+pixel)*s.C + c
}

// read is what the device holds.
func (m *machine) read(v *tensor) []float64 {
	m.t.Helper()
	host, err := m.device.AllocHost(len(v.values) * v.kind.Size())
	m.must(err)
	m.must(m.stream.CopyOut(host, v.at))
	m.must(m.stream.Synchronize())
	got := make([]float64, len(v.values))
	for i := range got {
		if v.kind == kernels.BF16 {
			got[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(host[2*v.place(i):])) << 16))
		} else {
			got[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(host[4*v.place(i):])))
		}
	}
	m.must(m.device.ReleaseHost(host))
	return got
}

// trial is a convolution with its tensors, of random values, and the right result.
type trial struct {
	c       Convolution
	x, w, y *tensor
	want    []float64
}

func (m *machine) trial(c Convolution) *trial {
	m.t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	g, weights := c.Geometry, c.Type
	if c.Direction == BackwardWeights {
		weights = c.WeightGradient
	}
	v := &trial{c: c, x: m.random(rng, g.In, c.Type), w: m.random(rng, g.Weight(), weights), y: m.random(rng, g.OutShape(), c.Type)}
	v.want = make([]float64, len(v.result().values))
	switch c.Direction {
	case Forward:
		reference.Conv(g, v.want, v.x.values, v.w.values, nil)
	case BackwardData:
		reference.ConvBackwardData(g, v.want, v.y.values, v.w.values)
	case BackwardWeights:
		reference.ConvBackwardWeights(g, v.want, v.x.values, v.y.values)
	}
	return v
}

func (v *trial) result() *tensor { return [...]*tensor{v.y, v.x, v.w}[v.c.Direction] }

// check compares what the device holds with the right result. Sums in float32 of as
// many products as these are right to six digits of the largest.
func (m *machine) check(v *trial, name string) {
	m.t.Helper()
	largest, worst := 0.0, 0.0
	for i, got := range m.read(v.result()) {
		largest = max(largest, math.Abs(v.want[i]))
		worst = max(worst, math.Abs(got-v.want[i]))
		if math.IsNaN(got) {
			m.t.Fatalf("%v by %s: NaN at %d", v.c, name, i)
		}
	}
	tolerance := 2e-6
	switch {
	case v.result().kind == kernels.BF16:
		tolerance = 1.0 / 256
	case v.c.TF32:
		tolerance = 2e-3
	}
	if worst > tolerance*largest {
		m.t.Errorf("%v by %s: off by %g of %g", v.c, name, worst, largest)
	}
}

// run runs a plan with a workspace of its own.
func (m *machine) run(p Plan, v *trial) {
	m.t.Helper()
	var workspace driver.Pointer
	if p.Workspace() > 0 {
		workspace = m.alloc(int(p.Workspace()))
	}
	m.must(p.Run(v.x.at, v.w.at, v.y.at, workspace))
}

// geometries are odd in all ways that the networks know.
var geometries = []op.Conv{
	{In: op.Shape{N: 2, C: 5, H: 7, W: 6}, Out: 3, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 1},
	{In: op.Shape{N: 1, C: 4, H: 9, W: 8}, Out: 6, KernelH: 3, KernelW: 2, StrideH: 2, StrideW: 1, PadH: 1, PadW: 0, DilationH: 1, DilationW: 2, Groups: 2},
	{In: op.Shape{N: 3, C: 3, H: 5, W: 11}, Out: 7, KernelH: 1, KernelW: 7, StrideH: 1, StrideW: 3, PadH: 0, PadW: 3, DilationH: 1, DilationW: 1, Groups: 1},
	{In: op.Shape{N: 2, C: 6, H: 6, W: 6}, Out: 6, KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 6},
	{In: op.Shape{N: 1, C: 2, H: 8, W: 8}, Out: 2, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 4, PadW: 4, DilationH: 4, DilationW: 4, Groups: 1},
	{In: op.Shape{N: 1, C: 32, H: 8, W: 8}, Out: 32, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 1},
	{In: op.Shape{N: 2, C: 8, H: 1, W: 1}, Out: 4, KernelH: 1, KernelW: 1, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1},
}

// each calls f for every geometry, direction and precision.
func each(f func(c Convolution)) {
	for _, g := range geometries {
		for d := Forward; d <= BackwardWeights; d++ {
			f(Convolution{Geometry: g, Direction: d})
			f(Convolution{Geometry: g, Direction: d, TF32: true})
			f(Convolution{Geometry: g, Direction: d, Type: kernels.BF16, WeightGradient: kernels.BF16})
		}
	}
}

func TestEveryPlanComputesTheConvolution(t *testing.T) {
	m := start(t)
	each(func(c Convolution) {
		plans, err := m.library.Plans(c, 10)
		m.must(err)
		v := m.trial(c)
		for _, p := range plans {
			m.run(p, v)
			m.check(v, p.Name())
			m.must(p.Close())
		}
	})
}

func TestAPlanCanBeCapturedAndRunsWithEachLaunch(t *testing.T) {
	m := start(t)
	c := Convolution{Geometry: geometries[0]}
	v := m.trial(c)
	plans, err := m.library.Plans(c, 1)
	m.must(err)
	m.run(plans[0], v) // loads its code
	workspace := m.alloc(1 << 20)
	graph, err := m.stream.Capture(func() error { return plans[0].Run(v.x.at, v.w.at, v.y.at, workspace) })
	m.must(err)
	for range 2 {
		m.must(m.stream.Fill(v.y.at, 0xff, int64(4*len(v.want))))
		m.must(graph.Launch(m.stream))
		m.check(v, "a graph")
	}
	m.must(plans[0].Close())
}

func TestAPlanIsFoundByItsName(t *testing.T) {
	m := start(t)
	c := Convolution{Geometry: geometries[1], Direction: BackwardData, Type: kernels.BF16}
	plans, err := m.library.Plans(c, 10)
	m.must(err)
	names := map[string]bool{}
	for _, p := range plans {
		found, err := m.library.Plan(c, p.Name())
		m.must(err)
		if found.Name() != p.Name() || found.Workspace() != p.Workspace() || names[p.Name()] {
			t.Errorf("%q is found as %q; the names are %v", p.Name(), found.Name(), names)
		}
		names[p.Name()] = true
		m.must(errors.Join(p.Close(), found.Close()))
	}
	if _, err := m.library.Plan(c, "engine 99"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a name that nobody has: %v", err)
	}
}

// names are those of the plans of a convolution.
func (m *machine) names(c Convolution, n int) string {
	m.t.Helper()
	plans, err := m.library.Plans(c, n)
	m.must(err)
	var list []string
	for _, p := range plans {
		list = append(list, p.Name())
		m.must(p.Close())
	}
	return strings.Join(list, ", ")
}

// The mock's engines are listed in its source. Number 5 never fits.
func TestEnginesAreTakenByTheirPrecision(t *testing.T) {
	for _, v := range []struct {
		engines string // that there are
		c       Convolution
		n       int
		want    string
	}{
		{"0,1,2,3,4,5,6", Convolution{}, 10, "engine 0 12=0, engine 3 12=0"},
		{"0,1,2,3,4,5,6", Convolution{TF32: true}, 10, "engine 1 12=2, engine 1 12=1, engine 0 12=0"},
		{"0,1,2,3,4,5,6", Convolution{TF32: true}, 2, "engine 1 12=2, engine 1 12=1"},
		{"0,1,2,3,4,5,6", Convolution{Type: kernels.BF16}, 10, "engine 1 12=2, engine 1 12=1, engine 0 12=0"},
		{"0,2,3,5", Convolution{Type: kernels.BF16}, 10, "engine 0 12=0, engine 3 12=0"},
		{"2,5,6", Convolution{Type: kernels.BF16}, 10, "engine 6 12=0"},
	} {
		t.Setenv("MOCK_CUDNN_ENGINES", v.engines)
		m := mocked(t)
		v.c.Geometry = geometries[0]
		if got := m.names(v.c, v.n); got != v.want {
			t.Errorf("of engines %s, %v: plans %s; want %s", v.engines, v.c, got, v.want)
		}
	}
}

func TestWhatTheDeviceCannotComputeIsErrUnsupported(t *testing.T) {
	for name, v := range map[string]struct {
		engines string
		c       Convolution
	}{
		"no engine in float32":  {"1,2,6", Convolution{Geometry: geometries[0]}},
		"none that fits":        {"5", Convolution{Geometry: geometries[0], Type: kernels.BF16}},
		"a gradient in float32": {"0,1", Convolution{Geometry: geometries[0], Direction: BackwardWeights, Type: kernels.BF16}},
	} {
		t.Setenv("MOCK_CUDNN_ENGINES", v.engines)
		m := mocked(t)
		if _, err := m.library.Plans(v.c, 3); !errors.Is(err, ErrUnsupported) || !strings.Contains(fmt.Sprint(err), v.c.String()) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAGeometryThatIsNoneIsAnError(t *testing.T) {
	m := start(t)
	g := geometries[0]
	g.Groups = 2
	if _, err := m.library.Plans(Convolution{Geometry: g}, 1); err == nil || errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func TestARunWithoutItsWorkspaceSaysWhatTheLibraryMisses(t *testing.T) {
	m := mocked(t)
	c := Convolution{Geometry: geometries[0], TF32: true}
	v := m.trial(c)
	plans, err := m.library.Plans(c, 1)
	m.must(err)
	err = plans[0].Run(v.x.at, v.w.at, v.y.at, 0)
	if want := "convolution by engine 1 12=2: execute: CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT (no workspace)"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	m.must(plans[0].Close())
}

func TestWithoutAStreamThereAreNoPlans(t *testing.T) {
	mocked(t)
	l, err := Open(driverVersion, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Plans(Convolution{Geometry: geometries[0]}, 1); err == nil {
		t.Error("got plans")
	}
	if err := l.Close(); err == nil {
		t.Error("closed what never began")
	}
}

func TestALibraryThatIsMissingIsLookedForByName(t *testing.T) {
	clean(t)
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "libcudnn.so.9"), []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, all := range map[string][]string{
		"/nowhere": {"libcudnn.so.9 or libcudnn.so.8", "/nowhere", Folders, "pip install"},
		broken:     {broken, "file too short"},
	} {
		_, err := load(driverVersion, []string{dir}, nil)
		for _, want := range all {
			if text := fmt.Sprint(err); !strings.Contains(text, want) || strings.Contains(text, "\n") {
				t.Errorf("%v: want %q in it, on one line", err, want)
			}
		}
	}
}

// install puts the mock's libraries into a folder of an installation of Python, as a
// version.
func install(t *testing.T, mock, python, minor string) string {
	t.Helper()
	dir := wheel(t, python, minor)
	library, err := os.ReadFile(filepath.Join(mock, "libcudnn.so.9"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "libcudnn.so.9"), library, 0o755)
	}
	if err == nil {
		err = os.Symlink(filepath.Join(mock, "libcuda.so.1"), filepath.Join(dir, "libcuda.so.1"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "libcudnn.so.9")
}

func TestTheNewestLibraryThatCanBeOpenedIsOpenedUnlessAnotherIsNamed(t *testing.T) {
	mock := filepath.Dir(cudatest.Mock(t))
	clean(t)
	venv, conda, home := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("VIRTUAL_ENV", venv)
	t.Setenv("CONDA_PREFIX", conda)
	t.Setenv("HOME", home)
	install(t, mock, venv, "9")
	newest := install(t, mock, conda, "14")
	broken := filepath.Join(wheel(t, filepath.Join(home, ".local"), "19"), "libcudnn.so.9")
	write(t, broken)
	for named, want := range map[string]string{"": newest, mock: filepath.Join(mock, "libcudnn.so.9")} {
		t.Setenv(Folders, named)
		l, err := Open(driverVersion, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.File() != want {
			t.Errorf("with %q named opened %s, want %s", named, l.File(), want)
		}
	}
}

// rebuilt says that an installed mock was built for another CUDA, and returns its file.
func rebuilt(t *testing.T, file, cuda string) string {
	t.Helper()
	library, err := os.ReadFile(file)
	if err == nil {
		library = bytes.Replace(library, []byte("built for CUDA 12010"), []byte("built for CUDA "+cuda), 1)
		err = os.WriteFile(file, library, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestALibraryForALaterCUDAThanTheDriversIsPassedOver(t *testing.T) {
	mock := filepath.Dir(cudatest.Mock(t))
	clean(t)
	venv, conda := t.TempDir(), t.TempDir()
	t.Setenv("VIRTUAL_ENV", venv)
	t.Setenv("CONDA_PREFIX", conda)
	older := install(t, mock, venv, "9")
	newer := rebuilt(t, install(t, mock, conda, "14"), "13020")
	for driver, want := range map[int]string{12020: older, 13000: newer} {
		l, err := Open(driver, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.File() != want {
			t.Errorf("with a driver for %d opened %s, want %s", driver, l.File(), want)
		}
	}
}

func TestWhereNoLibraryCanBeUsedTheErrorSaysOfEachWhy(t *testing.T) {
	mock := filepath.Dir(cudatest.Mock(t))
	newer := rebuilt(t, install(t, mock, t.TempDir(), "14"), "13020")
	broken := filepath.Join(wheel(t, t.TempDir(), "19"), "libcudnn.so.9")
	write(t, broken)
	_, err := load(driverVersion, nil, []string{filepath.Dir(newer), filepath.Dir(broken)})
	for _, want := range []string{newer + " was built for CUDA 13, and the driver serves CUDA 12.2", broken + ": file too short"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
}

func TestTheChooserTakesAPlanThatRuns(t *testing.T) {
	m := start(t)
	caches(t)
	c, err := NewChooser(m.library, m.device, m.stream)
	m.must(err)
	v := m.trial(Convolution{Geometry: geometries[1], Direction: BackwardWeights, TF32: true})
	buffers := Buffers{X: v.x.at, W: v.w.at, Y: v.y.at, Workspace: m.alloc(1 << 20), WorkspaceBytes: 1 << 20}
	for range 2 { // by the clock, then by memory
		p, err := c.Choose(v.c, buffers)
		m.must(err)
		if p.Workspace() > buffers.WorkspaceBytes {
			t.Errorf("%s wants a workspace of %d bytes", p.Name(), p.Workspace())
		}
		m.check(v, p.Name())
		m.must(p.Close())
	}
	m.must(c.Close())
}
