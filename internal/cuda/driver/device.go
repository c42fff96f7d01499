//go:build gpu

package driver

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

// Open takes the n-th device.
func Open(n int) (Device, error) {
	if err := load(); err != nil {
		return nil, err
	}
	number, err := find(n)
	if err != nil {
		return nil, err
	}
	properties, err := describe(number)
	if err != nil {
		return nil, fmt.Errorf("device %d: %w", n, err)
	}
	if properties.Major < 8 {
		return nil, &UnavailableError{fmt.Sprintf("device %d (%s) has compute capability %d.%d, want 8.0 or later",
			n, properties.Name, properties.Major, properties.Minor)}
	}
	context, err := number.RetainPrimaryCtx()
	if err != nil {
		return nil, failure(fmt.Sprintf("taking device %d", n), err)
	}
	return &device{number: number, properties: properties, context: context, owned: map[any]resource{}}, nil
}

// List describes the devices in the order of their numbers.
func List() ([]Properties, error) {
	if err := load(); err != nil {
		return nil, err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, failure("counting devices", err)
	}
	all := make([]Properties, n)
	for i := range all {
		number, err := find(i)
		if err != nil {
			return nil, err
		}
		if all[i], err = describe(number); err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
	}
	return all, nil
}

func find(n int) (cu.Device, error) {
	count, err := cu.NumDevices()
	if err != nil {
		return 0, failure("counting devices", err)
	}
	if n < 0 || n >= count {
		return 0, fmt.Errorf("device %d: want a number from 0 to %d", n, count-1)
	}
	number, err := cu.GetDevice(n)
	return number, failure(fmt.Sprintf("device %d", n), err)
}

func describe(d cu.Device) (p Properties, err error) {
	p.Driver = cu.Version()
	if p.Name, err = d.Name(); err != nil {
		return p, failure("its name", err)
	}
	if p.Major, p.Minor, err = d.ComputeCapability(); err != nil {
		return p, failure("its compute capability", err)
	}
	if p.Multiprocessors, err = d.Attribute(cu.MultiprocessorCount); err != nil {
		return p, failure("its multiprocessors", err)
	}
	if p.Memory, err = d.TotalMem(); err != nil {
		return p, failure("its memory", err)
	}
	id, err := d.UUID()
	p.UUID = "GPU-" + id.String()
	return p, failure("its UUID", err)
}

// device holds a device's primary context, which libraries such as cuDNN use too.
type device struct {
	number     cu.Device
	properties Properties
	context    cu.CUContext

	mu    sync.Mutex
	made  int // resources, since the beginning
	owned map[any]resource
}

// resource is something to free at the end, unless that happens before.
type resource struct {
	order int
	free  func() error
}

// errForeign says that an object was not made by this package, or has been freed.
var errForeign = errors.New("the object is none of this device's, or has been freed")

func (d *device) Properties() Properties { return d.properties }

func (d *device) Free() (free int64, err error) {
	err = d.in("asking for free memory", func() (err error) {
		free, _, err = cu.MemInfo()
		return err
	})
	return free, err
}

func (d *device) Alloc(bytes int64) (Pointer, error) {
	var p cu.DevicePtr
	err := d.in("allocating memory", func() (err error) {
		p, err = cu.MemAlloc(bytes)
		return err
	})
	if errors.Is(err, cu.OutOfMemory) {
		free, err := d.Free()
		if err != nil {
			return 0, err
		}
		return 0, &MemoryError{Wanted: bytes, Free: free}
	}
	if err != nil {
		return 0, err
	}
	d.own(Pointer(p), func() error { return cu.MemFree(p) })
	return Pointer(p), nil
}

func (d *device) Release(p Pointer) error { return d.free("freeing memory", p) }

func (d *device) AllocHost(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	err := d.in(fmt.Sprintf("allocating %d bytes of pinned memory", bytes), func() (err error) {
		p, err = allocPinned(bytes)
		return err
	})
	if errors.Is(err, cu.OutOfMemory) {
		return nil, &MemoryError{Wanted: int64(bytes), Pinned: true}
	}
	if err != nil {
		return nil, err
	}
	d.own((*byte)(p), func() error { return cu.MemFreeHost(p) })
	return unsafe.Slice((*byte)(p), bytes), nil
}

func (d *device) ReleaseHost(b []byte) error {
	return d.free("freeing pinned memory", unsafe.SliceData(b))
}

// own remembers how something made on the device is freed.
func (d *device) own(key any, free func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made++
	d.owned[key] = resource{d.made, free}
}

// free frees something that the device owns.
func (d *device) free(doing string, key any) error {
	d.mu.Lock()
	r, ok := d.owned[key]
	delete(d.owned, key)
	d.mu.Unlock()
	if !ok {
		return fmt.Errorf("%s: %w", doing, errForeign)
	}
	return d.in(doing, r.free)
}

func (d *device) Close() error {
	d.mu.Lock()
	var rest []resource
	for _, r := range d.owned {
		rest = append(rest, r)
	}
	clear(d.owned)
	d.mu.Unlock()
	slices.SortFunc(rest, func(a, b resource) int { return b.order - a.order })
	err := d.in("closing the device", func() (first error) {
		for _, r := range rest {
			if err := r.free(); first == nil {
				first = err
			}
		}
		return first
	})
	released := failure("giving the device back", d.number.ReleasePrimaryCtx())
	if err != nil {
		return err
	}
	return released
}

// in calls f on a thread that has the device's context.
func (d *device) in(doing string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.context); err != nil {
		return failure(doing, err)
	}
	return failure(doing, f())
}

// failure says what was done when the driver reported an error.
func failure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case lost(err):
		return &LostError{Doing: doing, Cause: err}
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// lost reports whether the driver does nothing more after an error.
func lost(err error) bool {
	return slices.ContainsFunc([]error{
		cu.EccUncorrectable, cu.NvlinkUncorrectable, cu.IllegalAddress, cu.LaunchTimeout, cu.Assert,
		cu.HardwareStackError, cu.IllegalInstruction, cu.MisalignedAddress, cu.InvalidAddressSpace,
		cu.InvalidPc, cu.LaunchFailed, cu.ContextIsDestroyed, cu.Deinitialized, cu.Unknown,
	}, func(e error) bool { return errors.Is(err, e) })
}
