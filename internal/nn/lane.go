package nn

import (
	"fmt"
	"slices"
)

// Lane runs batches through a network. Lanes of one network work side by side, each for
// one goroutine at a time.
type Lane interface {
	// Begin begins a batch, which the caller then fills. What is not filled gives results
	// that mean nothing.
	Begin() ImageBatch
	// Mirror makes left and right of the images of an input, which are filled, change
	// places.
	Mirror(input string)
	Run() error
	// Output is the buffer of an output, planar, or nil if there is none. It holds its
	// values until the next Run.
	Output(name string) []float32
}

// gpuLanes are enough for a GPU: while one batch computes, another is filled, the results
// of a third are read, and a fourth fills the gaps where a core waits for the last image
// of a batch.
const gpuLanes = 4

// Lanes is how many lanes make the best of the options' machine. Those of a GPU have all
// cores in common, those of the CPU one each.
func (o Options) Lanes() (n int, common bool, err error) {
	t, err := o.Resolve()
	if err != nil {
		return 0, false, err
	}
	if t.onGPU() {
		return gpuLanes, true, nil
	}
	return max(o.Workers, 1), false, nil
}

// NewLanes makes n lanes of the network that build gives, the same every time. On the CPU
// each is a program of its own on one core. On a GPU they take turns at one program, and
// the inputs of a lane go to the device while another's are computed with.
func NewLanes(n int, options Options, build func() (*Graph, error)) ([]Lane, error) {
	target, err := options.Resolve()
	if err != nil {
		return nil, err
	}
	if target.onGPU() {
		g, err := build()
		if err != nil {
			return nil, err
		}
		return newGPULanes(n, g, options, target)
	}
	options.Workers = 1
	lanes := make([]Lane, n)
	for i := range lanes {
		g, err := build()
		if err != nil {
			return nil, err
		}
		p, err := compileFor(g, options, target)
		if err != nil {
			return nil, fmt.Errorf("lane %d of %d: %w", i+1, n, err)
		}
		lanes[i] = newHostLane(p)
	}
	return lanes, nil
}

// hostLane is a program of the CPU.
type hostLane struct {
	*Program
	batch ImageBatch
}

func newHostLane(p *Program) hostLane {
	l := hostLane{p, ImageBatch{Batch: Batch{}, Images: p.list.images()}}
	for name, v := range p.list.inputs {
		l.batch.Batch[name] = v.data
	}
	return l
}

func (l hostLane) Begin() ImageBatch { return l.batch }

func (l hostLane) Mirror(input string) { mirrorRows(l.Input(input), l.InputShape(input).W) }

func mirrorRows(x []float32, width int) {
	for row := range slices.Chunk(x, width) {
		slices.Reverse(row)
	}
}
