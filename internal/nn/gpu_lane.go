package nn

import (
	"fmt"
	"sync"

	"github.com/surrogaze/surrogaze/internal/cuda"
)

// gpuLane is a lane of a GPU's program: with inputs and outputs of its own in pinned
// memory, and a tape of its own over the memory that all lanes share.
type gpuLane struct {
	*gpu
	turn            *sync.Mutex // of the shared memory
	tape            *cuda.Tape
	transfer        *cuda.Transfer
	inputs, outputs Batch
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
	l := &gpuLane{gpu: m, turn: turn, inputs: Batch{}, outputs: Batch{}}
	var err error
	if l.transfer, err = m.device.NewTransfer(); err != nil {
		return nil, err
	}
	for name, v := range m.list.inputs {
		host, err := l.transfer.Add(m.at[v], 4*v.shape.Len())
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		l.inputs[name] = host.Floats()
	}
	results := map[*value]*cuda.Host{}
	for name, v := range m.list.outputs {
		if results[v], err = m.device.Host(4 * v.shape.Len()); err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
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

func (l *gpuLane) Input(name string) []float32 { return l.inputs[name] }

func (l *gpuLane) Output(name string) []float32 { return l.outputs[name] }

func (l *gpuLane) Run() error {
	if err := l.transfer.Send(); err != nil {
		return err
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if err := l.transfer.Load(); err != nil {
		return err
	}
	return l.play(l.tape.Run)
}
