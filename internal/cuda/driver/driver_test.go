//go:build gpu

package driver_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// These make the test binary a program: opening one that opens a device, misusing one
// that launches the example of that name, and says what came of it.
const (
	opening  = "SURROGAZE_TEST_OPENING"
	misusing = "SURROGAZE_TEST_MISUSING"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(opening) != "":
		_, err := driver.Open(0)
		var unavailable *driver.UnavailableError
		fmt.Println(errors.As(err, &unavailable), err)
	case os.Getenv(misusing) != "":
		fmt.Println(misuse(os.Getenv(misusing)))
	default:
		os.Exit(m.Run())
	}
}

func TestAProgramStartsAndSaysWhyThereIsNoGPU(t *testing.T) {
	library := cudatest.Mock(t)
	for _, c := range []struct{ library, setting, want string }{
		{"/nowhere/libcuda.so.1", "", "true no GPU can be used: NVIDIA's driver is not found: /nowhere/libcuda.so.1"},
		{library, "MOCK_CUDA_DRIVER=11080", "true no GPU can be used: NVIDIA's driver serves CUDA 11.8, want 12.1 or later"},
		{library, "MOCK_CUDA_DEVICES=0", "true no GPU can be used: NVIDIA's driver finds no device"},
		{library, "MOCK_CUDA_FAIL=cuInit:1:999", "true no GPU can be used: NVIDIA's driver does not start: Unknown"},
		{library, "", "false <nil>"},
	} {
		program := exec.Command(os.Args[0])
		program.Env = append(os.Environ(), opening+"=1", "SURROGAZE_LIBCUDA="+c.library, c.setting)
		said, err := program.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(said), c.want) {
			t.Errorf("library %s, %s: %v, said %q, want %q", c.library, c.setting, err, said, c.want)
		}
	}
}

// open takes the first device, which must be closed without anything left.
func open(t *testing.T) driver.Device {
	t.Helper()
	cudatest.Driver(t)
	d := must(driver.Open(0))(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing the device: %v", err)
		}
	})
	return d
}

// must ends the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pinned is pinned memory as numbers.
func pinned[T any](t *testing.T, d driver.Device, values ...T) ([]T, []byte) {
	t.Helper()
	var zero T
	b := must(d.AllocHost(len(values) * int(unsafe.Sizeof(zero))))(t)
	list := unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(values))
	copy(list, values)
	return list, b
}

func kernels(t *testing.T, d driver.Device) driver.Module {
	t.Helper()
	return must(d.Load(string(must(os.ReadFile("../mock/testdata/example.ptx"))(t))))(t)
}

// launch puts an example of the mock's into a stream.
func launch(t *testing.T, m driver.Module, s driver.Stream, l driver.Launch) error {
	t.Helper()
	l.Kernel = "example_" + l.Kernel
	return s.Launch(must(m.Function(l.Kernel))(t), l)
}

func TestAMissingDeviceIsAnErrorWithTheNumbersThereAre(t *testing.T) {
	cudatest.Mock(t)
	_, err := driver.Open(3)
	if err == nil || err.Error() != "device 3: want a number from 0 to 0" {
		t.Errorf("got %v", err)
	}
}

func TestTheListDescribesEveryDevice(t *testing.T) {
	cudatest.Mock(t)
	t.Setenv("MOCK_CUDA_DEVICES", "2")
	got := must(driver.List())(t)
	want := driver.Properties{
		Name: "Mock of a GPU", Major: 9, Multiprocessors: 132, Memory: 4 << 30, Driver: 12010,
		UUID: "GPU-00010203-0405-0607-0809-0a0b0c0d0e01",
	}
	if len(got) != 2 || got[1] != want {
		t.Errorf("got %+v, want the second %+v", got, want)
	}
}

func TestBytesGoToTheDeviceAndBack(t *testing.T) {
	d := open(t)
	s := must(d.NewStream())(t)
	before := must(d.Free())(t)
	a, b := must(d.Alloc(1000))(t), must(d.Alloc(1000))(t)
	if free := must(d.Free())(t); before-free < 2000 || a%256 != 0 {
		t.Errorf("%d bytes free, then %d; memory at %#x", before, free, a)
	}
	from, to := must(d.AllocHost(1000))(t), must(d.AllocHost(1000))(t)
	for i := range from {
		from[i] = byte(i)
	}
	check(t, s.CopyIn(a, from), s.Copy(b, a, 1000), s.Fill(b.Offset(10), 7, 3), s.CopyOut(to, b), s.Synchronize())
	copy(from[10:], []byte{7, 7, 7})
	if !slices.Equal(from, to) {
		t.Errorf("got %v, want %v", to, from)
	}
	check(t, d.Release(a), d.ReleaseHost(from))
	if err := d.Release(a); err == nil {
		t.Error("memory could be freed twice")
	}
}

func TestArgumentsOfEveryTypeReachTheKernel(t *testing.T) {
	d := open(t)
	s, m := must(d.NewStream())(t), kernels(t, d)
	out := must(d.Alloc(40))(t)
	check(t, launch(t, m, s, driver.Launch{Kernel: "types", Grid: [3]int{1, 1, 1}, Block: [3]int{1, 1, 1},
		Args: []any{out, int32(-3), uint32(1 << 31), int64(-1 << 40), uint64(1) << 63, float32(0.5)}}))
	got, bytes := pinned(t, d, make([]float64, 5)...)
	check(t, s.CopyOut(bytes, out), s.Synchronize())
	if want := []float64{-3, 1 << 31, -1 << 40, 1 << 63, 0.5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	err := launch(t, m, s, driver.Launch{Kernel: "overrun", Args: []any{out, 1}})
	if err == nil || !strings.Contains(err.Error(), "argument 1 is of type int") {
		t.Errorf("an int: %v", err)
	}
}

func TestKernelsHaveBarriersShufflesAndSharedMemory(t *testing.T) {
	d := open(t)
	s, m := must(d.NewStream())(t), kernels(t, d)
	const n, blocks, threads = 3000, 3, 96
	values, want := make([]float32, n), float32(0)
	for i := range values {
		values[i] = float32(i % 13)
		want += values[i]
	}
	_, in := pinned(t, d, values...)
	x, sum := must(d.Alloc(4*n))(t), must(d.Alloc(8))(t)
	check(t, s.CopyIn(x, in), s.Fill(sum, 0, 8),
		launch(t, m, s, driver.Launch{Kernel: "sum", Grid: [3]int{blocks, 1, 1}, Block: [3]int{threads, 1, 1},
			Args: []any{x, sum, sum.Offset(4), int32(n)}}),
		launch(t, m, s, driver.Launch{Kernel: "reverse", Grid: [3]int{n / 1000, 1, 1}, Block: [3]int{1000, 1, 1},
			Shared: 4000, Args: []any{x}}))
	out, count := must(d.AllocHost(8))(t), must(d.AllocHost(4*n))(t)
	check(t, s.CopyOut(out, sum), s.CopyOut(count, x), s.Synchronize())
	if got := math.Float32frombits(binary.LittleEndian.Uint32(out)); got != want || binary.LittleEndian.Uint32(out[4:]) != blocks {
		t.Errorf("sum %v, %d blocks, want %v, %d", got, out[4], want, blocks)
	}
	reversed := unsafe.Slice((*float32)(unsafe.Pointer(&count[0])), n)
	for i := range reversed {
		if from := i/1000*1000 + 999 - i%1000; reversed[i] != values[from] {
			t.Fatalf("element %d is %v, want %v", i, reversed[i], values[from])
		}
	}
}

func TestTheMockTurnsTheOrderOfThreadsAround(t *testing.T) {
	cudatest.Mock(t)
	d := open(t)
	s, m := must(d.NewStream())(t), kernels(t, d)
	x := must(d.Alloc(4))(t)
	got, bytes := pinned(t, d, int32(-1))
	for order, want := range map[string]int32{"": 63, "reverse": 0} {
		t.Setenv("MOCK_CUDA_ORDER", order)
		check(t, launch(t, m, s, driver.Launch{Kernel: "last", Grid: [3]int{2, 1, 1}, Block: [3]int{32, 1, 1}, Args: []any{x}}),
			s.CopyOut(bytes, x), s.Synchronize())
		if got[0] != want {
			t.Errorf("order %q: thread %d was last, want %d", order, got[0], want)
		}
	}
}

// misuse launches an example in two blocks of 32 threads, or for those that stay in a
// block in one of 64, on as many numbers.
func misuse(kernel string) error {
	d, err := driver.Open(0)
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	ptx, err := os.ReadFile("../mock/testdata/example.ptx")
	if err != nil {
		return err
	}
	m, err := d.Load(string(ptx))
	if err != nil {
		return err
	}
	f, err := m.Function(kernel)
	if err != nil {
		return err
	}
	const n = 64
	x, err := d.Alloc(4 * n)
	if err != nil {
		return err
	}
	l := driver.Launch{Kernel: kernel, Grid: [3]int{1, 1, 1}, Block: [3]int{n, 1, 1}, Shared: 4 * n, Args: []any{x, int32(n)}}
	if kernel == "example_shift_blocks" {
		l.Grid[0], l.Block[0] = 2, n/2
	}
	return errors.Join(s.Fill(x, 0, 4*n), s.Launch(f, l), s.Synchronize())
}

func TestTheMockFindsKernelsThatUseMemoryAsTheyMustNot(t *testing.T) {
	library := cudatest.Mock(t)
	const race = "(reads|writes) 4 bytes at 0x[0-9a-f]+ that another thread (reads|writes) meanwhile"
	for kernel, want := range map[string]string{
		"race":         race,
		"shift":        race,
		"shift_blocks": race,
		"hurry":        race + "|that its block did not write",
		"turn":         race + "|that its block did not write",
		"reuse":        race,
		"unwritten":    "reads 4 bytes at 0x[0-9a-f]+ that its block did not write",
		"overread":     "reads 4 bytes at 0x[0-9a-f]+ that no block of memory has",
		"overshare":    "writes 4 bytes at 0x[0-9a-f]+ that no block of memory has",
		"unaligned":    "example.cu:[0-9]+: thread .* uses an address that is not aligned",
		"short":        "example.cu:[0-9]+: thread .* uses an element that an array does not have",
	} {
		for _, order := range []string{"", "reverse"} {
			program := exec.Command(os.Args[0])
			program.Env = append(os.Environ(), misusing+"=example_"+kernel, "SURROGAZE_LIBCUDA="+library, "MOCK_CUDA_ORDER="+order)
			said, err := program.CombinedOutput()
			if ok, _ := regexp.Match("(?s)kernel example_"+kernel+": .*("+want+").*the device is lost", said); err != nil || !ok {
				t.Errorf("%s, order %q: %v, said %q, want %q", kernel, order, err, said, want)
			}
		}
	}
}

func TestThreadsOfAWarpMaySynchroniseAlone(t *testing.T) {
	d := open(t)
	s, m := must(d.NewStream())(t), kernels(t, d)
	x := must(d.Alloc(4 * 32))(t)
	check(t, s.Fill(x, 0, 4*32),
		launch(t, m, s, driver.Launch{Kernel: "turn", Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1}, Shared: 4 * 32, Args: []any{x, int32(32)}}),
		s.Synchronize())
}

// adding puts y += 2 x of four numbers into a stream.
func adding(t *testing.T, m driver.Module, s driver.Stream, y, x driver.Pointer) error {
	t.Helper()
	return launch(t, m, s, driver.Launch{Kernel: "add4", Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1},
		Args: []any{y, x, y, float32(2), int64(4)}})
}

func TestCapturedWorkRunsWhenTheGraphIsLaunchedAndOnlyThen(t *testing.T) {
	d := open(t)
	s, m := must(d.NewStream())(t), kernels(t, d)
	host, bytes := pinned(t, d, float32(1), 2, 3, 4)
	x, y := must(d.Alloc(16))(t), must(d.Alloc(16))(t)
	check(t, s.CopyIn(x, bytes), s.Fill(y, 0, 16))
	g := must(s.Capture(func() error {
		check(t, adding(t, m, s, y, x))
		return s.CopyOut(bytes, y)
	}))(t)
	check(t, s.Synchronize())
	if want := []float32{1, 2, 3, 4}; !slices.Equal(host, want) {
		t.Errorf("after the capture: %v, want %v", host, want)
	}
	check(t, g.Launch(s), g.Launch(s), g.Launch(s), s.Synchronize())
	if want := []float32{6, 12, 18, 24}; !slices.Equal(host, want) {
		t.Errorf("after three launches: %v, want %v", host, want)
	}
	check(t, g.Close())
}

func TestACaptureThatFailsLeavesTheStreamUsable(t *testing.T) {
	d := open(t)
	s := must(d.NewStream())(t)
	x := must(d.Alloc(16))(t)
	own := errors.New("no")
	if _, err := s.Capture(func() error { return errors.Join(s.Fill(x, 0, 16), own) }); !errors.Is(err, own) {
		t.Errorf("got %v, want the function's error", err)
	}
	if _, err := s.Capture(func() error { _, err := d.Alloc(16); return err }); err == nil {
		t.Error("memory could be allocated in a capture")
	}
	check(t, s.Fill(x, 0, 16), s.Synchronize())
}

func TestEventsMeasureAndOrderStreams(t *testing.T) {
	d := open(t)
	a, b := must(d.NewStream())(t), must(d.NewStream())(t)
	begin, end := must(d.NewEvent())(t), must(d.NewEvent())(t)
	x := must(d.Alloc(4))(t)
	out := must(d.AllocHost(4))(t)
	check(t, a.Record(begin), a.Fill(x, 5, 4), a.Record(end), b.Wait(end), b.CopyOut(out, x), b.Synchronize())
	if out[3] != 5 {
		t.Errorf("the second stream read %v before the first wrote", out)
	}
	check(t, end.Synchronize())
	if seconds := must(end.Since(begin))(t); seconds < 0 || seconds > 60 {
		t.Errorf("%v s passed", seconds)
	}
	check(t, begin.Close(), a.Close())
}

func TestABlockingEventEndsItsWorkAndHasNoTime(t *testing.T) {
	d := open(t)
	s := must(d.NewStream())(t)
	begin, end := must(d.NewEvent())(t), must(d.NewBlockingEvent())(t)
	x, out := must(d.Alloc(4))(t), must(d.AllocHost(4))(t)
	check(t, s.Record(begin), s.Fill(x, 5, 4), s.CopyOut(out, x), s.Record(end), end.Synchronize())
	if out[3] != 5 {
		t.Errorf("the work before the event left %v", out)
	}
	if _, err := end.Since(begin); err == nil {
		t.Error("got a time")
	}
}

func TestMethodsMayBeCalledFromAnyGoroutine(t *testing.T) {
	d := open(t)
	m := kernels(t, d)
	add := must(m.Function("example_add4"))(t)
	var group sync.WaitGroup
	for range 8 {
		s := must(d.NewStream())(t)
		x := must(d.Alloc(16))(t)
		host, bytes := pinned(t, d, make([]float32, 4)...)
		group.Go(func() {
			l := driver.Launch{Kernel: "example_add4", Grid: [3]int{1, 1, 1}, Block: [3]int{32, 1, 1},
				Args: []any{x, x, x, float32(1), int64(4)}} // x += x
			err := s.Fill(x, 0x40, 16)
			for range 3 {
				err = errors.Join(err, s.Launch(add, l))
				runtime.Gosched()
			}
			err = errors.Join(err, s.CopyOut(bytes, x), s.Synchronize())
			if want := 8 * math.Float32frombits(0x40404040); err != nil || host[3] != want {
				t.Errorf("%v, got %v, want %v", err, host, want)
			}
		})
	}
	group.Wait()
}

func TestAnAllocationThatDoesNotFitSaysWhatWasWantedAndWhatIsFree(t *testing.T) {
	cudatest.Mock(t)
	d := open(t)
	t.Setenv("MOCK_CUDA_MEMORY", fmt.Sprint(3<<20))
	_, err := d.Alloc(5 << 20)
	var memory *driver.MemoryError
	if !errors.As(err, &memory) || *memory != (driver.MemoryError{Wanted: 5 << 20, Free: 3 << 20}) {
		t.Fatalf("got %v", err)
	}
	if want := "the device has too little memory: 5.0 MiB wanted, 3.0 MiB free"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestRejectedPTXComesWithTheCompilersWords(t *testing.T) {
	cudatest.Mock(t)
	d := open(t)
	_, err := d.Load("nonsense")
	if want := "compiling kernels: InvalidPtx: line 1: no .version and .target"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := kernels(t, d).Function("none"); err == nil || err.Error() != `kernel "none": NotFound` {
		t.Errorf("a kernel that is not there: %v", err)
	}
}

func TestAnErrorOfAKernelLosesTheDevice(t *testing.T) {
	for name, l := range map[string]driver.Launch{
		"threads that wait in vain": {Kernel: "part", Block: [3]int{32, 1, 1}},
		"a write behind the memory": {Kernel: "overrun", Block: [3]int{1, 1, 1}},
		"no device memory":          {Kernel: "reverse", Block: [3]int{1, 1, 1}, Shared: 4},
	} {
		t.Run(name, func(t *testing.T) {
			cudatest.Mock(t)
			d := must(driver.Open(0))(t)
			s, m := must(d.NewStream())(t), kernels(t, d)
			x := must(d.Alloc(4))(t)
			l.Grid, l.Args = [3]int{1, 1, 1}, []any{x}
			switch l.Kernel {
			case "overrun":
				l.Args = append(l.Args, int32(1))
			case "reverse":
				l.Args = []any{driver.Pointer(1 << 40)}
			}
			check(t, launch(t, m, s, l))
			var lost *driver.LostError
			if err := s.Synchronize(); !errors.As(err, &lost) || lost.Doing != "waiting for the device" {
				t.Errorf("waiting: %v", err)
			}
			if _, err := d.Alloc(4); !errors.As(err, &lost) {
				t.Errorf("afterwards: %v", err)
			}
			if err := d.Close(); !errors.As(err, &lost) {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

// use makes and uses one of everything.
func use(d driver.Device, ptx string) error {
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	e, err := d.NewEvent()
	if err != nil {
		return err
	}
	m, err := d.Load(ptx)
	if err != nil {
		return err
	}
	f, err := m.Function("example_overrun")
	if err != nil {
		return err
	}
	x, err := d.Alloc(16)
	if err != nil {
		return err
	}
	host, err := d.AllocHost(16)
	if err != nil {
		return err
	}
	l := driver.Launch{Kernel: "example_overrun", Grid: [3]int{1, 1, 1}, Block: [3]int{1, 1, 1}, Args: []any{x, int32(0)}}
	g, err := s.Capture(func() error { return s.Launch(f, l) })
	if err != nil {
		return err
	}
	_, err = d.Free()
	return errors.Join(err, s.CopyIn(x, host), s.Copy(x, x, 16), s.Fill(x, 0, 16), g.Launch(s), s.Record(e), s.Wait(e),
		s.CopyOut(host, x), e.Synchronize(), s.Synchronize())
}

func TestEveryFailureIsReportedAndLeavesNothingBehind(t *testing.T) {
	cudatest.Mock(t)
	ptx := string(must(os.ReadFile("../mock/testdata/example.ptx"))(t))
	for _, function := range []string{
		"cuStreamCreate", "cuEventCreate", "cuModuleLoadDataEx", "cuModuleGetFunction", "cuMemAlloc_v2", "cuMemHostAlloc",
		"cuStreamBeginCapture_v2", "cuLaunchKernel", "cuGraphInstantiateWithFlags",
		"cuMemGetInfo_v2", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD8Async", "cuGraphLaunch",
		"cuEventRecord", "cuStreamWaitEvent", "cuMemcpyDtoHAsync_v2", "cuEventSynchronize", "cuStreamSynchronize",
	} {
		d := must(driver.Open(0))(t)
		const invalidValue = 1
		t.Setenv("MOCK_CUDA_FAIL", fmt.Sprintf("%s:1:%d", function, invalidValue))
		if err := use(d, ptx); err == nil || !strings.Contains(err.Error(), "InvalidValue") {
			t.Errorf("%s failed, and the caller got %v", function, err)
		}
		t.Setenv("MOCK_CUDA_FAIL", "")
		if err := use(d, ptx); err != nil {
			t.Errorf("after a failure of %s: %v", function, err)
		}
		if err := d.Close(); err != nil {
			t.Errorf("closing after a failure of %s: %v", function, err)
		}
	}
}
