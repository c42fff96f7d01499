package nn

import (
	"fmt"
	"slices"
	"sync"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// gpuLane is a lane of a GPU's program: a batch and outputs of its own in pinned memory,
// and a tape of its own over the memory that all lanes share.
type gpuLane struct {
	*gpuFeed
	turn    *sync.Mutex // of the shared memory
	tape    *cuda.Tape
	outputs Batch
}

func newGPULanes(n int, g *Graph, options Options, target Target) ([]Lane, error) {
	m, err := newGPU(g, options, target)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	lanes, turn := make([]Lane, n), new(sync.Mutex)
	for i := range lanes {
		if lanes[i], err = m.newLane(turn); err != nil {
			return nil, fmt.Errorf("lane %d of %d: %w", i+1, n, err)
		}
	}
	return lanes, nil
}

func (m *gpu) newLane(turn *sync.Mutex) (*gpuLane, error) {
	l := &gpuLane{turn: turn, outputs: Batch{}}
	var err error
	if l.gpuFeed, err = m.newFeed(); err != nil {
		return nil, err
	}
	results := map[*value]*cuda.Host{}
	for name, v := range m.list.outputs {
		if results[v] == nil { // else it is another name's as well
			if results[v], err = m.device.Host(4 * v.shape.Len()); err != nil {
				return nil, fmt.Errorf("output %q: %w", name, err)
			}
		}
		l.outputs[name] = results[v].Floats()
	}
	l.tape, err = m.record(func(t *cuda.Tape) { t.Keep(results) }, func(t *cuda.Tape) {
		for v, host := range results {
			t.CopyOut(host.Bytes(), m.address(v))
		}
	})
	return l, err
}

func (l *gpuLane) Begin() ImageBatch { return l.buffers() }

func (l *gpuLane) Mirror(input string) {
	if x := l.batch.Batch[input]; x != nil {
		mirrorRows(x, l.list.inputs[input].shape.W)
	}
	for _, d := range l.drawings {
		if d.name == input {
			d.mirror()
		}
	}
}

// mirror turns the views, along the axis of the pixels that becomes the result's.
func (d *drawing) mirror() {
	for i := range d.views {
		turned := &d.views[i].X
		if d.views[i].Transpose {
			turned = &d.views[i].Y
		}
		turned.Backwards = !turned.Backwards
	}
}

func (l *gpuLane) Output(name string) []float32 { return l.outputs[name] }

func (l *gpuLane) Run() error {
	for _, d := range l.drawings {
		if !d.complete() {
			return nil // there is nothing to be seen
		}
	}
	if err := l.send(); err != nil {
		return err
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if err := l.load(); err != nil {
		return err
	}
	return l.play(l.tape.Run)
}

// complete shows something in place of what has not been shown, if anything has.
func (d *drawing) complete() bool {
	missing := func(v kernels.View) bool { return v.Pixels == 0 }
	shown := slices.IndexFunc(d.views, func(v kernels.View) bool { return !missing(v) })
	if shown < 0 {
		return false
	}
	for i, v := range d.views {
		if missing(v) {
			d.views[i] = d.views[shown]
		}
	}
	return true
}
