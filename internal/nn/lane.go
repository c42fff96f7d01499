package nn

// Lane runs batches through a network: fill the inputs, call Run, read the outputs, which
// hold their values until the next Run. Lanes of one network work side by side, each for
// one goroutine at a time.
type Lane interface {
	// Input is the buffer of an input, planar, or nil if the network does not have it.
	Input(name string) []float32
	// Output is the buffer of an output, planar, or nil if there is none.
	Output(name string) []float32
	Run() error
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
		if lanes[i], err = compileFor(g, options, target); err != nil {
			return nil, err
		}
	}
	return lanes, nil
}
