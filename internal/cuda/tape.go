package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// Tape is work on fixed memory. Its methods record in order, [Tape.Finish] makes it one
// graph, and [Tape.Run] computes it as often as wanted. The first error of recording
// sticks and is that of Finish. The memory that is worked on must live as long as the
// tape: [Tape.Keep] sees to it.
type Tape struct {
	device    *Device
	entries   []entry
	kept      []any
	current   int     // operation
	workspace int64   // bytes that convolutions want
	trials    *Memory // that convolutions are tried in while the tape is recorded
	graph     driver.Graph
	err       error
}

// entry is a piece of work.
type entry struct {
	operation int // counted from 0
	put       func() error
}

// NewTape starts a tape.
func (d *Device) NewTape() *Tape { return &Tape{device: d} }

// Keep keeps memory alive as long as the tape.
func (t *Tape) Keep(memory ...any) { t.kept = append(t.kept, memory...) }

// Fail records an error.
func (t *Tape) Fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *Tape) put(f func() error) { t.entries = append(t.entries, entry{t.current, f}) }

// Operation begins the next of the operations that [Tape.Time] tells apart.
func (t *Tape) Operation() { t.current++ }

// Scratch is memory that launches may use until the next operation.
func (t *Tape) Scratch() kernels.Pointer { return t.device.scratch.at }

// Launch records kernels.
func (t *Tape) Launch(launches []kernels.Launch) {
	for _, l := range launches {
		if err := kernels.Check(l); err != nil {
			t.Fail(err)
		}
		t.put(func() error { return t.device.launch(l) })
	}
}

// CopyIn records a copy to the device.
func (t *Tape) CopyIn(to kernels.Pointer, from []byte) {
	t.put(func() error { return t.device.stream.CopyIn(to, from) })
}

// CopyOut records a copy from the device.
func (t *Tape) CopyOut(to []byte, from kernels.Pointer) {
	t.put(func() error { return t.device.stream.CopyOut(to, from) })
}

// Copy records a copy within the device.
func (t *Tape) Copy(to, from kernels.Pointer, bytes int64) {
	t.put(func() error { return t.device.stream.Copy(to, from, bytes) })
}

// Finish makes the tape ready to run.
func (t *Tape) Finish() error {
	t.endTrials()
	if t.err != nil {
		return t.err
	}
	d := t.device
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err := d.reserve(t.workspace); err != nil {
		return fmt.Errorf("workspace of convolutions: %w", err)
	}
	t.Keep(d.workspace)
	graph, err := d.stream.Capture(t.putAll)
	if err != nil {
		return fmt.Errorf("record the program: %w", d.cause(err))
	}
	t.graph = graph
	runtime.AddCleanup(t, func(g driver.Graph) { _ = g.Close() }, graph)
	return nil
}

func (t *Tape) putAll() error {
	for _, e := range t.entries {
		if err := e.put(); err != nil {
			return err
		}
	}
	return nil
}

// Run computes everything once and waits for it.
func (t *Tape) Run() error {
	if t.graph == nil {
		return errors.New("the tape is not finished")
	}
	defer runtime.KeepAlive(t)
	return t.device.now(func() error { return t.graph.Launch(t.device.stream) })
}

// Time computes everything once, one launch after another, and tells how many seconds
// each operation took; the first of them is what was recorded before the first call of
// [Tape.Operation].
func (t *Tape) Time() ([]float64, error) {
	d := t.device
	d.mutex.Lock()
	defer d.mutex.Unlock()
	marks := make([]driver.Event, t.current+2)
	defer func() {
		for _, e := range marks {
			if e != nil {
				_ = e.Close()
			}
		}
	}()
	for i := range marks {
		var err error
		if marks[i], err = d.device.NewEvent(); err != nil {
			return nil, err
		}
	}
	at := 0
	for i := range marks {
		for ; at < len(t.entries) && t.entries[at].operation < i; at++ {
			if err := t.entries[at].put(); err != nil {
				return nil, err
			}
		}
		if err := d.stream.Record(marks[i]); err != nil {
			return nil, err
		}
	}
	if err := d.stream.Synchronize(); err != nil {
		return nil, err
	}
	seconds := make([]float64, t.current+1)
	for i := range seconds {
		var err error
		if seconds[i], err = marks[i+1].Since(marks[i]); err != nil {
			return nil, err
		}
	}
	return seconds, nil
}
