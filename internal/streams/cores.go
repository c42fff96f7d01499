package streams

import (
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Cores are cores to compute on, for one goroutine or for several in common.
type Cores struct{ free chan struct{} }

// NewCores are so many cores, at least one.
func NewCores(n int) Cores { return Cores{make(chan struct{}, max(n, 1))} }

// Deal gives each of n goroutines a core of its own, or all of them the cores in common.
func Deal(n, cores int, common bool) []Cores {
	dealt, all := make([]Cores, n), NewCores(cores)
	for i := range dealt {
		if dealt[i] = all; !common {
			dealt[i] = NewCores(1)
		}
	}
	return dealt
}

// Each calls do with the numbers below n, in order and on as many cores as are free, and
// returns when all calls have. Behind an error no more are begun.
func (c Cores) Each(n int, do func(i int) error) error {
	var group errgroup.Group
	var next atomic.Int64
	work := func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			c.free <- struct{}{}
			err := do(i)
			<-c.free
			if err != nil {
				next.Store(int64(n))
				return err
			}
		}
	}
	for range min(n, cap(c.free)) - 1 {
		group.Go(work)
	}
	err := work()
	if failed := group.Wait(); err == nil {
		err = failed
	}
	return err
}
