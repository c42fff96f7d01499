// Package streams maps streams side by side, in order and in bounded memory.
package streams

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"
)

// Chunks says how a stream is cut, by its elements alone.
type Chunks[In any] struct {
	Elements int          // in a chunk, at most
	Bytes    func(In) int // size of an element; nil where that does not matter
}

// chunkBytes bounds the elements of a chunk, whatever their number: a chunk passes it
// by no more than its last element.
const chunkBytes = 16 << 20

// Map yields what workers make of the elements of in, in their order: of a chunk, a
// result for every element. Reading, computing and the caller's loop overlap; at most
// three chunks for each worker, of about 16 MiB, are in memory at any time. Each worker
// is called by one goroutine.
//
// An error of in or of a worker, and the context's, is yielded last, with a zero
// result. The input is read from another goroutine, which ends before the stream does.
func Map[In, Out any](ctx context.Context, in iter.Seq2[In, error], cut Chunks[In], workers []func([]In) ([]Out, error)) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		group, running := errgroup.WithContext(ctx)
		m := &mapping[In, Out]{cut: cut, ordered: make(chan *chunk[In, Out], len(workers)), queue: make(chan *chunk[In, Out])}
		group.Go(func() error { return m.read(running, in) })
		for _, work := range workers {
			group.Go(func() error { return m.work(running, work) })
		}
		end := m.deliver(running, yield)
		if end == left {
			cancel()
		}
		err := group.Wait()
		if err == nil && end == broken {
			err = ctx.Err()
		}
		if err != nil && end != left {
			var none Out
			yield(none, err)
		}
	}
}

// Of is a stream of what is there.
func Of[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// mapping is a stream under way.
type mapping[In, Out any] struct {
	cut     Chunks[In]
	ordered chan *chunk[In, Out] // for the caller; its capacity bounds what is in flight
	queue   chan *chunk[In, Out] // for the workers
}

// chunk is some elements in a row.
type chunk[In, Out any] struct {
	elements []In
	bytes    int
	results  []Out
	done     chan struct{} // closed when results are there
}

func newChunk[In, Out any]() *chunk[In, Out] { return &chunk[In, Out]{done: make(chan struct{})} }

// read cuts the input into chunks.
func (m *mapping[In, Out]) read(ctx context.Context, in iter.Seq2[In, error]) error {
	defer close(m.ordered)
	defer close(m.queue)
	c := newChunk[In, Out]()
	for x, err := range in {
		if err != nil {
			return err
		}
		c.elements = append(c.elements, x)
		if m.cut.Bytes != nil {
			c.bytes += m.cut.Bytes(x)
		}
		if len(c.elements) < m.cut.Elements && c.bytes < chunkBytes {
			continue
		}
		if err := m.send(ctx, c); err != nil {
			return err
		}
		c = newChunk[In, Out]()
	}
	if len(c.elements) == 0 {
		return nil
	}
	return m.send(ctx, c)
}

func (m *mapping[In, Out]) send(ctx context.Context, c *chunk[In, Out]) error {
	for _, to := range []chan *chunk[In, Out]{m.ordered, m.queue} {
		select {
		case to <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// work computes chunks.
func (m *mapping[In, Out]) work(ctx context.Context, work func([]In) ([]Out, error)) error {
	for c := range m.queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if c.results, err = work(c.elements); err != nil {
			return err
		}
		c.elements = nil
		close(c.done)
	}
	return nil
}

// ending is how the delivery of a stream ended.
type ending uint8

const (
	complete ending = iota
	broken          // by an error or the context
	left            // by the caller
)

// deliver yields the results in order.
func (m *mapping[In, Out]) deliver(ctx context.Context, yield func(Out, error) bool) ending {
	for c := range m.ordered {
		select {
		case <-c.done:
		case <-ctx.Done():
			return broken
		}
		for i, r := range c.results {
			var none Out
			c.results[i] = none // the caller's alone from here
			if !yield(r, nil) {
				return left
			}
		}
	}
	return complete
}
