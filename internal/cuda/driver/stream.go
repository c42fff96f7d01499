//go:build gpu

package driver

import (
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"
)

type stream struct {
	d      *device
	stream cu.Stream
}

type event struct {
	d     *device
	event cu.Event
}

func (d *device) NewStream() (Stream, error) {
	s := &stream{d: d}
	err := d.in("making a stream", func() (err error) {
		s.stream, err = cu.MakeStream(cu.NonBlocking)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.own(s, s.stream.Destroy)
	return s, nil
}

func (s *stream) Handle() uintptr { return uintptr(unsafe.Pointer(s.stream.C())) }

func (s *stream) Close() error { return s.d.free("closing a stream", s) }

func (s *stream) Launch(f Function, l Launch) error {
	fn, ok := f.(cu.Function)
	if !ok {
		return fmt.Errorf("launching %q: %w", l.Kernel, errForeign)
	}
	words := make([]uint64, len(l.Args))
	pointers := make([]unsafe.Pointer, len(l.Args))
	for i, a := range l.Args {
		if words[i], ok = word(a); !ok {
			return fmt.Errorf("launching %q: argument %d is of type %T", l.Kernel, i, a)
		}
		pointers[i] = unsafe.Pointer(&words[i])
	}
	return s.d.in("launching "+l.Kernel, func() error {
		return fn.Launch(l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0], l.Block[1], l.Block[2],
			l.Shared, s.stream, pointers)
	})
}

// word holds an argument of a kernel in its first bytes, as the driver reads it.
func word(argument any) (uint64, bool) {
	switch a := argument.(type) {
	case Pointer:
		return uint64(a), true
	case int32:
		return uint64(uint32(a)), true
	case uint32:
		return uint64(a), true
	case int64:
		return uint64(a), true
	case uint64:
		return a, true
	case float32:
		return uint64(math.Float32bits(a)), true
	default:
		return 0, false
	}
}

func (s *stream) CopyIn(to Pointer, from []byte) error {
	return s.d.in("copying to the device", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(to), unsafe.Pointer(unsafe.SliceData(from)), int64(len(from)), s.stream)
	})
}

func (s *stream) CopyOut(to []byte, from Pointer) error {
	return s.d.in("copying from the device", func() error {
		return cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(to)), cu.DevicePtr(from), int64(len(to)), s.stream)
	})
}

func (s *stream) Copy(to, from Pointer, bytes int64) error {
	return s.d.in("copying on the device", func() error {
		return cu.MemcpyDtoDAsync(cu.DevicePtr(to), cu.DevicePtr(from), bytes, s.stream)
	})
}

func (s *stream) Fill(to Pointer, value byte, bytes int64) error {
	return s.d.in("filling memory", func() error {
		return cu.MemsetD8Async(cu.DevicePtr(to), value, bytes, s.stream)
	})
}

func (s *stream) Record(e Event) error {
	ev, ok := e.(*event)
	if !ok {
		return fmt.Errorf("recording an event: %w", errForeign)
	}
	return s.d.in("recording an event", func() error { return ev.event.Record(s.stream) })
}

func (s *stream) Wait(e Event) error {
	ev, ok := e.(*event)
	if !ok {
		return fmt.Errorf("waiting for an event: %w", errForeign)
	}
	return s.d.in("waiting for an event", func() error { return s.stream.Wait(ev.event, 0) })
}

func (s *stream) Synchronize() error {
	return s.d.in("waiting for the device", s.stream.Synchronize)
}

func (d *device) NewEvent() (Event, error) { return d.newEvent(cu.DefaultEvent) }

func (d *device) NewBlockingEvent() (Event, error) {
	return d.newEvent(cu.BlockingSyncEvent | cu.DisableTiming)
}

func (d *device) newEvent(flags cu.EventFlags) (Event, error) {
	e := &event{d: d}
	err := d.in("making an event", func() (err error) {
		e.event, err = cu.MakeEvent(flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.own(e, func() error { return cu.DestroyEvent(&e.event) })
	return e, nil
}

func (e *event) Since(earlier Event) (float64, error) {
	from, ok := earlier.(*event)
	if !ok {
		return 0, fmt.Errorf("measuring time: %w", errForeign)
	}
	var milliseconds float64
	err := e.d.in("measuring time", func() (err error) {
		milliseconds, err = from.event.Elapsed(e.event)
		return err
	})
	return milliseconds / 1e3, err
}

func (e *event) Synchronize() error {
	return e.d.in("waiting for an event", e.event.Synchronize)
}

func (e *event) Close() error { return e.d.free("closing an event", e) }
