// Package cuda computes on NVIDIA GPUs: a [Device] with its memory, and [Tape]s, which
// are work recorded once and replayed as one CUDA graph.
//
// It joins package driver (the GPU), package kernels (what we wrote) and package cudnn
// (convolutions). Without the build tag gpu it compiles, and [Open] says why it cannot
// go on.
package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/surrogaze/surrogaze/internal/cuda/cudnn"
	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

var (
	// ErrNotBuilt says that the program was built without the tag gpu.
	ErrNotBuilt = driver.ErrNotBuilt
	// ErrMemory says that an allocation did not fit the device's memory, or the host's.
	ErrMemory = driver.ErrMemory
	// ErrLost says that the device has failed for good, with what its memory held.
	ErrLost = driver.ErrLost
)

// Device is a GPU, opened once for the whole program. All of its work runs in one
// stream, in the order in which it is asked for. Methods may be called from any
// goroutine.
type Device struct {
	device     driver.Device
	properties driver.Properties
	stream     driver.Stream
	copies     driver.Stream // of batches
	functions  map[string]driver.Function
	library    cudnn.Library
	chooser    *cudnn.Chooser
	scratch    *Memory

	mutex     sync.Mutex // of the stream, the library's as well
	plans     map[cudnn.Convolution]cudnn.Plan
	workspace *Memory // of convolutions
	idle      []driver.Event
}

var opened struct {
	sync.Mutex
	devices map[int]*Device
}

// Open makes the n-th GPU ready, which takes a moment at first.
func Open(n int) (*Device, error) {
	opened.Lock()
	defer opened.Unlock()
	if d := opened.devices[n]; d != nil {
		return d, nil
	}
	d, err := open(n)
	if err != nil {
		return nil, err
	}
	if opened.devices == nil {
		opened.devices = map[int]*Device{}
	}
	opened.devices[n] = d
	return d, nil
}

func open(n int) (*Device, error) {
	raw, err := driver.Open(n)
	if err != nil {
		return nil, err
	}
	library, err := cudnn.Open(raw.Properties().Driver, nil)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	d := &Device{device: raw, library: library, properties: raw.Properties(), functions: map[string]driver.Function{}, plans: map[cudnn.Convolution]cudnn.Plan{}}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return d, nil
}

func (d *Device) prepare() error {
	if p := d.properties; p.Major < oldest {
		return fmt.Errorf("%s has compute capability %d.%d: want at least %d.0", p.Name, p.Major, p.Minor, oldest)
	}
	if err := d.load(); err != nil {
		return err
	}
	var err error
	if d.stream, err = d.device.NewStream(); err != nil {
		return err
	}
	if d.copies, err = d.device.NewStream(); err != nil {
		return err
	}
	if d.chooser, err = cudnn.NewChooser(d.library, d.device, d.stream); err != nil {
		return err
	}
	if d.scratch, err = d.Alloc(kernels.Scratch); err != nil {
		return fmt.Errorf("scratch of the kernels: %w", err)
	}
	return nil
}

// oldest is the compute capability (major) that the kernels are compiled for.
const oldest = 8

// load compiles the kernels.
func (d *Device) load() error {
	for name, text := range kernels.PTX() {
		module, err := d.device.Load(text)
		if err != nil {
			return fmt.Errorf("kernels of %s: %w", name, err)
		}
		for _, kernel := range kernels.Names(text) {
			if d.functions[kernel], err = module.Function(kernel); err != nil {
				return fmt.Errorf("kernels of %s: %w", name, err)
			}
		}
	}
	return nil
}

// List describes the GPUs in the order of their numbers, also those that cannot be used.
func List() ([]driver.Properties, error) { return driver.List() }

// String is the device and what it works with in a line.
func (d *Device) String() string {
	p, v := d.properties, d.library.Version()
	return fmt.Sprintf("%s, %.1f GiB, compute capability %d.%d, driver for CUDA %d.%d, cuDNN %d.%d.%d of %s",
		p.Name, float64(p.Memory)/(1<<30), p.Major, p.Minor, p.Driver/1000, p.Driver%1000/10, v/major(v), v%major(v)/100, v%100, d.library.File())
}

// major is what the first number of a version of cuDNN counts for.
func major(version int) int {
	if version < 10000 {
		return 1000 // until 8
	}
	return 10000
}

// Name is the model.
func (d *Device) Name() string { return d.properties.Name }

// MultipliesBF16 reports whether the device multiplies bfloat16 faster than float32.
func (d *Device) MultipliesBF16() bool { return d.properties.Major >= oldest }

// Memory is a piece of a device's memory. It is given back when nothing refers to it any
// more.
type Memory struct {
	at      kernels.Pointer
	length  int64
	cleanup runtime.Cleanup
}

// At is the address some bytes into the memory.
func (m *Memory) At(offset int64) kernels.Pointer { return m.at.Offset(offset) }

// Len is the number of bytes.
func (m *Memory) Len() int64 { return m.length }

// Alloc allocates device memory.
func (d *Device) Alloc(bytes int64) (*Memory, error) {
	bytes = max(bytes, 1)
	at, err := insist(func() (kernels.Pointer, error) { return d.device.Alloc(bytes) })
	if err != nil {
		return nil, err
	}
	m := &Memory{at: at, length: bytes}
	m.cleanup = runtime.AddCleanup(m, func(p kernels.Pointer) { _ = d.device.Release(p) }, at)
	return m, nil
}

// free gives memory back that nothing refers to any more, at once.
func (d *Device) free(m *Memory) error {
	m.cleanup.Stop()
	return d.device.Release(m.at)
}

// collections is how often memory that is no longer used is looked for before an
// allocation fails: cleanups run when they like.
const collections = 3

// insist allocates again, where memory is wanting, after memory has come back that is no
// longer used.
func insist[T any](allocate func() (T, error)) (T, error) {
	made, err := allocate()
	for range collections {
		if !errors.Is(err, ErrMemory) {
			break
		}
		collect()
		made, err = allocate()
	}
	return made, err
}

// collect gives memory back that is no longer used, or waits a moment where there is none.
func collect() {
	last := new(*Memory)
	ran := make(chan struct{})
	runtime.AddCleanup(last, func(ran chan struct{}) { close(ran) }, ran)
	runtime.GC()
	select {
	case <-ran:
	case <-time.After(time.Second):
	}
}

// Host is pinned memory of the host. It is given back when nothing refers to it any more.
type Host struct{ bytes []byte }

// Bytes is the memory, valid as long as the Host is referred to.
func (h *Host) Bytes() []byte { return h.bytes }

// Floats is the memory as float32, as long.
func (h *Host) Floats() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h.bytes))), len(h.bytes)/4)
}

// Host allocates pinned memory.
func (d *Device) Host(bytes int) (*Host, error) {
	b, err := insist(func() ([]byte, error) { return d.device.AllocHost(max(bytes, 1)) })
	if err != nil {
		return nil, err
	}
	h := &Host{b}
	runtime.AddCleanup(h, func(b []byte) { _ = d.device.ReleaseHost(b) }, b)
	return h, nil
}

// CopyIn copies to the device, behind all work so far, and waits for it.
func (d *Device) CopyIn(to *Memory, from *Host) error {
	defer runtime.KeepAlive(to)
	defer runtime.KeepAlive(from)
	return d.now(func() error { return d.stream.CopyIn(to.at, from.bytes) })
}

// CopyOut copies from the device, behind all work so far, and waits for it. offset is in
// the device's memory.
func (d *Device) CopyOut(to *Host, from *Memory, offset int64) error {
	defer runtime.KeepAlive(to)
	defer runtime.KeepAlive(from)
	return d.now(func() error { return d.stream.CopyOut(to.bytes, from.At(offset)) })
}

// Copy copies within the device, behind all work so far, and waits for it.
func (d *Device) Copy(to, from *Memory) error {
	defer runtime.KeepAlive(to)
	defer runtime.KeepAlive(from)
	return d.now(func() error { return d.stream.Copy(to.at, from.at, from.length) })
}

// cause is that of a failure: the device's own, where it has one. Libraries on a device
// that is lost have words of theirs for it.
func (d *Device) cause(err error) error {
	if lost := d.stream.Synchronize(); lost != nil {
		return lost
	}
	return err
}

// Fill sets every byte of some memory.
func (d *Device) Fill(m *Memory, value byte) error {
	defer runtime.KeepAlive(m)
	return d.now(func() error { return d.stream.Fill(m.at, value, m.length) })
}

// Do runs some launches behind all work so far and waits for them. The caller keeps the
// memory alive that they use.
func (d *Device) Do(launches []kernels.Launch) error {
	return d.now(func() error {
		for _, l := range launches {
			if err := d.launch(l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *Device) launch(l kernels.Launch) error { return d.stream.Launch(d.functions[l.Kernel], l) }

// now does some work in the stream and waits for it. Others may put work there meanwhile.
func (d *Device) now(work func() error) error {
	done, err := d.put(work)
	if err != nil {
		return err
	}
	err = done.Synchronize()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.idle = append(d.idle, done)
	return err
}

// put puts some work into the stream and returns the event of its end.
func (d *Device) put(work func() error) (driver.Event, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(d.idle) == 0 {
		e, err := d.device.NewBlockingEvent()
		if err != nil {
			return nil, err
		}
		d.idle = append(d.idle, e)
	}
	if err := work(); err != nil {
		return nil, err
	}
	last := len(d.idle) - 1
	done := d.idle[last]
	if err := d.stream.Record(done); err != nil {
		return nil, err
	}
	d.idle = d.idle[:last]
	return done, nil
}
