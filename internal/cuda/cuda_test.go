package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/cuda/cudnn"
	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

// counting is a device that counts what was made on it and not given back.
type counting struct {
	driver.Device
	alive  atomic.Int64
	spins  atomic.Int64  // waits that take a core
	paused chan struct{} // what waits for events goes on when it is closed; nil does not wait
}

type countingEvent struct {
	driver.Event
	d        *counting
	blocking bool
}

type countingGraph struct {
	driver.Graph
	d *counting
}

type countingStream struct {
	driver.Stream
	d *counting
}

func counted[T any](d *counting, made T, err error) (T, error) {
	if err == nil {
		d.alive.Add(1)
	}
	return made, err
}

func (d *counting) gone(err error) error {
	if err == nil {
		d.alive.Add(-1)
	}
	return err
}

func (d *counting) Alloc(bytes int64) (driver.Pointer, error) {
	p, err := d.Device.Alloc(bytes)
	return counted(d, p, err)
}

func (d *counting) AllocHost(bytes int) ([]byte, error) {
	b, err := d.Device.AllocHost(bytes)
	return counted(d, b, err)
}

func (d *counting) NewEvent() (driver.Event, error) {
	e, err := d.Device.NewEvent()
	return counted[driver.Event](d, countingEvent{e, d, false}, err)
}

func (d *counting) NewBlockingEvent() (driver.Event, error) {
	e, err := d.Device.NewBlockingEvent()
	return counted[driver.Event](d, countingEvent{e, d, true}, err)
}

func (d *counting) Release(p driver.Pointer) error { return d.gone(d.Device.Release(p)) }

func (d *counting) ReleaseHost(b []byte) error { return d.gone(d.Device.ReleaseHost(b)) }

func (e countingEvent) Close() error { return e.d.gone(e.Event.Close()) }

func (e countingEvent) Synchronize() error {
	if !e.blocking {
		e.d.spins.Add(1)
	}
	if e.d.paused != nil {
		<-e.d.paused
	}
	return e.Event.Synchronize()
}

func (e countingEvent) Since(earlier driver.Event) (float64, error) {
	return e.Event.Since(earlier.(countingEvent).Event)
}

func (g countingGraph) Close() error { return g.d.gone(g.Graph.Close()) }

func (g countingGraph) Launch(s driver.Stream) error {
	return g.Graph.Launch(s.(countingStream).Stream)
}

func (s countingStream) Record(e driver.Event) error {
	return s.Stream.Record(e.(countingEvent).Event)
}

func (s countingStream) Wait(e driver.Event) error { return s.Stream.Wait(e.(countingEvent).Event) }

func (s countingStream) Capture(f func() error) (driver.Graph, error) {
	g, err := s.Stream.Capture(f)
	return counted[driver.Graph](s.d, countingGraph{g, s.d}, err)
}

// device opens one of the test's own, which is closed without anything left.
func device(t *testing.T) (*Device, *counting) {
	t.Helper()
	cudatest.GPU(t)
	d, err := open(0)
	must(t, err)
	c := &counting{Device: d.device}
	d.device, d.stream, d.copies = c, countingStream{d.stream, c}, countingStream{d.copies, c}
	t.Cleanup(func() {
		var errs []error
		for _, p := range d.plans {
			errs = append(errs, p.Close())
		}
		must(t, errors.Join(append(errs, d.chooser.Close(), d.library.Close(), c.Device.Close())...))
	})
	return d, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// floats is pinned memory that begins as some values.
func floats(t *testing.T, d *Device, values ...float32) *Host {
	t.Helper()
	h, err := d.Host(4 * len(values))
	must(t, err)
	copy(h.Floats(), values)
	return h
}

// tensor is memory of n float32 on the device, zeros at first.
func tensor(t *testing.T, d *Device, n int) *Memory {
	t.Helper()
	m, err := d.Alloc(int64(4 * n))
	must(t, err)
	must(t, d.Fill(m, 0))
	return m
}

// adding is a tape that adds to a tensor of two what the host has, and copies it to the
// host.
type adding struct {
	*Tape
	from, to *Host
	sum      *Memory
}

func newAdding(t *testing.T, d *Device) *adding {
	t.Helper()
	a := &adding{d.NewTape(), floats(t, d, 1, 2), floats(t, d, 0, 0), tensor(t, d, 2)}
	term := tensor(t, d, 2)
	a.Keep(a.from, a.to, a.sum, term)
	a.CopyIn(term.At(0), a.from.Bytes())
	a.Operation()
	a.Launch(kernels.Add(2, kernels.F32, a.sum.At(0), a.sum.At(0), term.At(0)))
	a.Operation()
	a.CopyOut(a.to.Bytes(), a.sum.At(0))
	return a
}

// holds fails unless the host has got some values.
func holds(t *testing.T, h *Host, want ...float32) {
	t.Helper()
	for i, w := range want {
		if got := h.Floats()[i]; got != w {
			t.Errorf("value %d is %v, want %v", i, got, w)
		}
	}
}

func TestATapeDoesItsWorkInOrderAsOftenAsWanted(t *testing.T) {
	d, _ := device(t)
	a := newAdding(t, d)
	must(t, a.Finish())
	must(t, a.Run())
	holds(t, a.to, 1, 2)
	copy(a.from.Floats(), []float32{10, 20})
	must(t, a.Run())
	holds(t, a.to, 11, 22)
}

func TestATimedTapeDoesItsWorkAndTellsOfEveryOperation(t *testing.T) {
	d, _ := device(t)
	a := newAdding(t, d)
	must(t, a.Finish())
	seconds, err := a.Time()
	must(t, err)
	if len(seconds) != 3 {
		t.Errorf("%d operations, want 3", len(seconds))
	}
	for i, s := range seconds {
		if !(s >= 0 && s < 60) {
			t.Errorf("operation %d took %v s", i, s)
		}
	}
	holds(t, a.to, 1, 2)
}

func TestTheFirstErrorOfRecordingIsThatOfTheTape(t *testing.T) {
	d, _ := device(t)
	a := newAdding(t, d)
	if err := a.Run(); err == nil {
		t.Error("a tape ran that was not finished")
	}
	first := errors.New("first")
	a.Fail(first)
	a.Fail(errors.New("second"))
	a.Launch(kernels.ReLU(2, kernels.F32, a.sum.At(0), a.sum.At(0)))
	if err := a.Finish(); !errors.Is(err, first) {
		t.Errorf("finished with %v, want the first error", err)
	}
	b := newAdding(t, d)
	l := kernels.ReLU(2, kernels.F32, b.sum.At(0), b.sum.At(0))
	l[0].Args = l[0].Args[1:]
	b.Launch(l)
	if err := b.Finish(); err == nil {
		t.Error("a kernel without all of its arguments was recorded")
	}
}

// fail makes the n-th call of a function of the driver from now on fail.
func fail(t *testing.T, function string, n int) {
	const invalidValue = 1
	t.Setenv("MOCK_CUDA_FAIL", fmt.Sprintf("%s:%d:%d", function, n, invalidValue))
}

func TestAfterAFailureTheDeviceGoesOn(t *testing.T) {
	for _, function := range []string{"cuStreamBeginCapture_v2", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuEventRecord", "cuEventSynchronize"} {
		t.Run(function, func(t *testing.T) {
			cudatest.Mock(t)
			d, c := device(t)
			a := newAdding(t, d)
			must(t, d.reserve(1))
			before := c.alive.Load()
			fail(t, function, 1)
			err := a.Finish()
			if after := c.alive.Load(); err != nil && after != before {
				t.Errorf("%d things were left", after-before)
			}
			if err == nil {
				err = a.Run()
			}
			if err == nil || !strings.Contains(err.Error(), "InvalidValue") {
				t.Errorf("error %v, want the driver's", err)
			}
			b := newAdding(t, d)
			must(t, b.Finish())
			must(t, b.Run())
			holds(t, b.to, 1, 2)
		})
	}
}

// useAndForget makes and uses one of everything.
func useAndForget(t *testing.T, d *Device) {
	t.Helper()
	a := newAdding(t, d)
	must(t, a.Finish())
	must(t, a.Run())
	transfer, err := d.NewTransfer()
	must(t, err)
	_, err = transfer.Add(a.sum.At(0), 8)
	must(t, err)
	must(t, transfer.Send())
	must(t, transfer.Load())
	must(t, a.Run())
}

func TestWhatIsNoLongerUsedIsGivenBack(t *testing.T) {
	d, c := device(t)
	useAndForget(t, d) // a workspace and an event stay
	settled := func() int64 {
		for range 20 {
			collect()
		}
		return c.alive.Load()
	}
	before := settled()
	useAndForget(t, d)
	if c.alive.Load() == before {
		t.Fatal("nothing was made")
	}
	if after := settled(); after != before {
		t.Errorf("%d things were not given back", after-before)
	}
}

// limit leaves so much of the mock's memory free.
func limit(t *testing.T, d *Device, free int64) {
	t.Helper()
	now, err := d.device.Free()
	must(t, err)
	const all = 4 << 30 // the mock's
	t.Setenv("MOCK_CUDA_MEMORY", strconv.FormatInt(all-now+free, 10))
}

const mib = 1 << 20

func TestAFullDeviceGivesWhatIsNoLongerUsed(t *testing.T) {
	cudatest.Mock(t)
	d, _ := device(t)
	limit(t, d, 10*mib)
	for range 5 {
		m, err := d.Alloc(6 * mib)
		must(t, err)
		runtime.KeepAlive(m)
	}
}

func TestAHostThatCanPinNoMoreGivesWhatIsNoLongerUsed(t *testing.T) {
	cudatest.Mock(t)
	d, _ := device(t)
	t.Setenv("MOCK_CUDA_PINNED", strconv.Itoa(10*mib))
	for range 5 {
		h, err := d.Host(6 * mib)
		must(t, err)
		runtime.KeepAlive(h)
	}
}

func TestPinnedMemoryThatTheHostLacksIsErrMemory(t *testing.T) {
	cudatest.Mock(t)
	d, _ := device(t)
	t.Setenv("MOCK_CUDA_PINNED", strconv.Itoa(10*mib))
	_, err := d.Host(11 * mib)
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "the host cannot pin 11.0 MiB") {
		t.Errorf("error %v, want one that says what the host lacks", err)
	}
}

func TestAnAllocationThatDoesNotFitSaysWhatIsWantedAndFree(t *testing.T) {
	cudatest.Mock(t)
	d, _ := device(t)
	limit(t, d, 10*mib)
	m, err := d.Alloc(6 * mib)
	must(t, err)
	_, err = d.Alloc(6 * mib)
	runtime.KeepAlive(m)
	var full *driver.MemoryError
	if !errors.As(err, &full) || full.Wanted != 6*mib || full.Free != 4*mib {
		t.Errorf("error %v, want one of 6 MiB with 4 MiB free", err)
	}
}

func TestTransfersReachTheirPlacesInTheOrderOfTheirLoads(t *testing.T) {
	d, _ := device(t)
	a := newAdding(t, d)
	must(t, a.Finish())
	var transfers []*Transfer
	var hosts []*Host
	for i := range 3 {
		transfer, err := d.NewTransfer()
		must(t, err)
		h, err := transfer.Add(a.sum.At(0), 8)
		must(t, err)
		copy(h.Floats(), []float32{float32(100 * i), float32(100*i + 50)})
		transfers, hosts = append(transfers, transfer), append(hosts, h)
		must(t, transfer.Send())
	}
	for _, i := range []int{1, 0, 2} { // all are on the device already, or on their way
		must(t, transfers[i].Load())
		must(t, a.Run())
		holds(t, a.to, float32(100*i+1), float32(100*i+52))
	}
	copy(hosts[0].Floats(), []float32{7, 8})
	must(t, transfers[0].Send())
	must(t, a.Run()) // what is sent changes nothing yet
	holds(t, a.to, 202, 254)
	must(t, transfers[0].Load())
	must(t, a.Run())
	holds(t, a.to, 8, 10)
}

func TestKernelsReadWhatWasPackedForTheirBatch(t *testing.T) {
	d, _ := device(t)
	transfer, err := d.NewTransfer()
	must(t, err)
	sum, got := tensor(t, d, 2), floats(t, d, 0, 0)
	for round := range 3 {
		transfer.Unpack()
		var group sync.WaitGroup
		pieces, places := make([][]byte, 4), make([]kernels.Pointer, 4)
		for i, size := range []int{8, 17 << 20, 13, 8} { // the second is larger than a chunk
			group.Go(func() {
				var err error
				if pieces[i], places[i], err = transfer.Pack(size); err != nil || len(pieces[i]) != size || places[i]%256 != 0 {
					t.Errorf("%d bytes of %d at %#x, %v", len(pieces[i]), size, places[i], err)
				}
			})
		}
		group.Wait()
		for i, piece := range pieces {
			for k := range piece {
				piece[k] = byte(100*round + i)
			}
		}
		for k, x := range []float32{float32(round), 10} {
			binary.LittleEndian.PutUint32(pieces[0][4*k:], math.Float32bits(x))
			binary.LittleEndian.PutUint32(pieces[3][4*k:], math.Float32bits(2*x))
		}
		must(t, transfer.Send())
		must(t, transfer.Load(kernels.AddPlanar(2, sum.At(0), places[0], places[3])...))
		must(t, d.CopyOut(got, sum, 0))
		holds(t, got, 3*float32(round), 30)
	}
}

// convolved is a convolution on a tape, with its result.
func convolved(t *testing.T, d *Device, c cudnn.Convolution, x, w *Host) *Host {
	t.Helper()
	n := c.Geometry.OutShape().Len()
	tape, y := d.NewTape(), tensor(t, d, n)
	dx, dw := tensor(t, d, len(x.Floats())), tensor(t, d, len(w.Floats()))
	got := floats(t, d, make([]float32, n)...)
	tape.Keep(x, w, dx, dw, y, got)
	tape.CopyIn(dx.At(0), x.Bytes())
	tape.CopyIn(dw.At(0), w.Bytes())
	tape.Convolve(c, dx.At(0), dw.At(0), y.At(0))
	tape.CopyOut(got.Bytes(), y.At(0))
	must(t, tape.Finish())
	must(t, tape.Run())
	return got
}

func TestAConvolutionIsChosenOnceAndRemembered(t *testing.T) {
	d, _ := device(t)
	// One channel: the layouts of host and device are the same.
	g := op.Conv{In: op.Shape{N: 2, C: 1, H: 5, W: 6}, Out: 1, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 1}
	c := cudnn.Convolution{Geometry: g, Direction: cudnn.Forward, Type: kernels.F32}
	x, w := floats(t, d, make([]float32, g.In.Len())...), floats(t, d, make([]float32, 9)...)
	values := func(h *Host) []float64 {
		list := make([]float64, len(h.Floats()))
		for i := range list {
			list[i] = math.Sin(float64(i + len(list)))
			h.Floats()[i] = float32(list[i])
		}
		return list
	}
	want := make([]float64, g.OutShape().Len())
	reference.Conv(g, want, values(x), values(w), nil)
	var plan cudnn.Plan
	for range 2 {
		got := convolved(t, d, c, x, w)
		for i, v := range want {
			if diff := math.Abs(v - float64(got.Floats()[i])); !(diff < 1e-5) {
				t.Fatalf("value %d is %v, want %v", i, got.Floats()[i], v)
			}
		}
		if plan != nil && d.plans[c] != plan {
			t.Error("chosen again")
		}
		plan = d.plans[c]
	}
	dir, err := os.UserCacheDir()
	must(t, err)
	if kept, err := filepath.Glob(filepath.Join(dir, "surrogaze", "cuda", "*.json")); err != nil || len(kept) == 0 {
		t.Errorf("the choice is not kept for other processes (%v)", err)
	}
}

func TestAFinishedTapeHoldsNoMemoryInWhichConvolutionsWereTried(t *testing.T) {
	cudatest.Mock(t)
	d, _ := device(t)
	g := op.Conv{In: op.Shape{N: 1, C: 1, H: 5, W: 6}, Out: 1, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1}
	before, err := d.device.Free()
	must(t, err)
	convolved(t, d, cudnn.Convolution{Geometry: g, Direction: cudnn.Forward}, floats(t, d, make([]float32, 30)...), floats(t, d, make([]float32, 9)...))
	after, err := d.device.Free()
	must(t, err)
	if before-after > mib {
		t.Errorf("%d bytes are held", before-after)
	}
}

func TestATapeKeepsItsWorkspaceWhenAnotherWantsMore(t *testing.T) {
	d, _ := device(t)
	must(t, d.reserve(64))
	a := newAdding(t, d)
	a.workspace = 64
	must(t, a.Finish())
	d.mutex.Lock()
	err := d.reserve(d.workspace.Len() + 1)
	d.mutex.Unlock()
	must(t, err)
	collect()
	must(t, a.Run())
	holds(t, a.to, 1, 2)
}

func TestTapesOfManyGoroutinesRunOnOneDevice(t *testing.T) {
	d, _ := device(t)
	var group sync.WaitGroup
	for i := range 8 {
		a, host, memory := newAdding(t, d), floats(t, d, 0), tensor(t, d, 1)
		group.Go(func() {
			if err := a.Finish(); err != nil {
				t.Error(err)
				return
			}
			total := float32(0)
			for step := range 20 {
				term := float32(i + step)
				total += term
				a.from.Floats()[0], host.Floats()[0] = term, term
				err := errors.Join(d.CopyIn(memory, host), a.Run())
				host.Floats()[0] = 0
				if err = errors.Join(err, d.CopyOut(host, memory, 0)); err != nil {
					t.Error(err)
					return
				}
				holds(t, a.to, total)
				holds(t, host, term)
			}
		})
	}
	group.Wait()
}

func TestWhileOneWaitsForTheDeviceOthersPutWorkThere(t *testing.T) {
	d, c := device(t)
	a := newAdding(t, d)
	must(t, a.Finish())
	transfer, err := d.NewTransfer()
	must(t, err)
	h, err := transfer.Add(a.sum.At(0), 8)
	must(t, err)
	copy(h.Floats(), []float32{5, 6})
	c.paused = make(chan struct{})
	ran := make(chan error)
	go func() { ran <- a.Run() }()
	must(t, transfer.Send())
	must(t, transfer.Load()) // does not wait for the end of the run
	close(c.paused)
	must(t, <-ran)
	c.paused = nil
	must(t, a.Run())
	if got := a.to.Floats()[0]; got != 6 && got != 7 { // the transfer came second, or first
		t.Errorf("sum %v, want 6 or 7", got)
	}
}

func TestWhoWaitsForADeviceSleeps(t *testing.T) {
	d, c := device(t)
	useAndForget(t, d)
	if n := c.spins.Load(); n > 0 {
		t.Errorf("%d waits take a core", n)
	}
}

func TestADeviceDescribesItself(t *testing.T) {
	library := cudatest.Mock(t)
	d, _ := device(t)
	want := "Mock of a GPU, 4.0 GiB, compute capability 9.0, driver for CUDA 12.1, cuDNN 9.1.0 of " + filepath.Join(filepath.Dir(library), "libcudnn.so.9")
	if got := d.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestADeviceIsOpenedOnce(t *testing.T) {
	cudatest.GPU(t)
	first, err := Open(0)
	must(t, err)
	second, err := Open(0)
	must(t, err)
	if first != second {
		t.Error("opened twice")
	}
}
