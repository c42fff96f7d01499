package cudnn

import (
	"errors"
	"fmt"
	"math"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

const (
	candidates = 16 // plans of a convolution that are timed
	repeats    = 5  // runs of a plan between two looks at the clock
)

// Buffers are memory that a convolution may be tried on. Its results are overwritten.
type Buffers struct {
	X, W, Y, Workspace driver.Pointer
	WorkspaceBytes     int64 // plans that want more are left out
}

// Chooser chooses the fastest plan of a convolution by trying them, and remembers its
// choices from one process to the next. It is for one goroutine at a time.
type Chooser struct {
	library    Library
	stream     driver.Stream
	start, end driver.Event
	memory     *memory
}

// NewChooser makes a chooser for the device of a stream, which becomes the library's.
// Choices are remembered in a file below the user's folder for caches, where there is
// one that can be written.
func NewChooser(l Library, d driver.Device, s driver.Stream) (*Chooser, error) {
	err := l.SetStream(s.Handle())
	if err != nil {
		return nil, err
	}
	c := &Chooser{library: l, stream: s, memory: recall(siteOf(d.Properties(), l.Version()))}
	if c.start, err = d.NewEvent(); err != nil {
		return nil, fmt.Errorf("choose convolutions: %w", err)
	}
	if c.end, err = d.NewEvent(); err != nil {
		return nil, fmt.Errorf("choose convolutions: %w", errors.Join(err, c.start.Close()))
	}
	return c, nil
}

// Close frees what the chooser measures with.
func (c *Chooser) Close() error { return errors.Join(c.start.Close(), c.end.Close()) }

// Choose returns a plan that has run at least once on the buffers. It waits for the
// stream, so it is not for captures.
func (c *Chooser) Choose(v Convolution, b Buffers) (Plan, error) {
	if p := c.remembered(v, b); p != nil {
		return p, nil
	}
	p, err := c.fastest(v, b)
	if err != nil {
		return nil, fmt.Errorf("choose a plan: %w", err)
	}
	c.memory.keep(v.String(), p.Name())
	return p, nil
}

// remembered is the plan that was chosen before, or nil if there is none that still
// runs here.
func (c *Chooser) remembered(v Convolution, b Buffers) Plan {
	name, ok := c.memory.Plans[v.String()]
	if !ok {
		return nil
	}
	p, err := c.library.Plan(v, name)
	if err != nil {
		return nil
	}
	if p.Workspace() <= b.WorkspaceBytes && p.Run(b.X, b.W, b.Y, b.Workspace) == nil && c.stream.Synchronize() == nil {
		return p
	}
	_ = p.Close() // another is chosen in its place
	return nil
}

// fastest tries the plans that the library likes best.
func (c *Chooser) fastest(v Convolution, b Buffers) (Plan, error) {
	plans, err := c.library.Plans(v, candidates)
	if err != nil {
		return nil, err
	}
	var best Plan
	var failures []error
	least := math.Inf(1)
	for _, p := range plans {
		seconds, err := c.time(p, b)
		if err != nil {
			failures = append(failures, err)
		}
		if err != nil || seconds >= least {
			failures = append(failures, p.Close())
			continue
		}
		if best != nil {
			failures = append(failures, best.Close())
		}
		best, least = p, seconds
	}
	if best == nil {
		return nil, fmt.Errorf("convolution (%v): %w", v, errors.Join(failures...))
	}
	return best, nil
}

// time is the seconds that a run of a plan takes in a graph, as it will be used.
func (c *Chooser) time(p Plan, b Buffers) (float64, error) {
	if p.Workspace() > b.WorkspaceBytes {
		return 0, fmt.Errorf("%s wants a workspace of %d bytes, has %d", p.Name(), p.Workspace(), b.WorkspaceBytes)
	}
	run := func() error { return p.Run(b.X, b.W, b.Y, b.Workspace) }
	if err := run(); err != nil { // to load its code
		return 0, err
	}
	graph, err := c.stream.Capture(func() error {
		for range repeats {
			if err := run(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	seconds, err := c.timeGraph(graph)
	return seconds / repeats, errors.Join(err, graph.Close())
}

// timeGraph is the seconds that a graph takes after a first launch, which warms it up.
func (c *Chooser) timeGraph(g driver.Graph) (float64, error) {
	for _, step := range []func() error{
		func() error { return g.Launch(c.stream) },
		func() error { return c.stream.Record(c.start) },
		func() error { return g.Launch(c.stream) },
		func() error { return c.stream.Record(c.end) },
		c.end.Synchronize,
	} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	return c.end.Since(c.start)
}
