package streams

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
)

// count yields 0 to n-1, and then err if that is not nil.
func count(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

// team are workers that square numbers; look sees each chunk.
func team(n int, look func([]int) error) []func([]int) ([]int, error) {
	workers := make([]func([]int) ([]int, error), n)
	for i := range workers {
		workers[i] = func(chunk []int) ([]int, error) {
			squares := make([]int, len(chunk))
			for k, v := range chunk {
				squares[k] = v * v
			}
			return squares, look(chunk)
		}
	}
	return workers
}

func anything([]int) error { return nil }

var pairs = Chunks[int]{Elements: 2, Bytes: func(int) int { return 1 }}

// gather reads a stream up to its first error.
func gather(s iter.Seq2[int, error]) (list []int, err error) {
	for v, err := range s {
		if err != nil {
			return list, err
		}
		list = append(list, v)
	}
	return list, nil
}

func TestResultsComeInOrderWhateverTheNumberOfWorkers(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		got, err := gather(Map(t.Context(), count(7, nil), pairs, team(workers, anything)))
		if want := []int{0, 1, 4, 9, 16, 25, 36}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%d workers: found %v, %v, want %v", workers, got, err, want)
		}
	}
}

func TestAnEmptyStreamGivesNothing(t *testing.T) {
	if got, err := gather(Map(t.Context(), count(0, nil), pairs, team(2, anything))); err != nil || len(got) > 0 {
		t.Errorf("found %v, %v, want nothing", got, err)
	}
}

func TestChunksAreCutByNumberAndSize(t *testing.T) {
	var sizes []int
	look := func(chunk []int) error {
		sizes = append(sizes, len(chunk))
		return nil
	}
	large := Chunks[int]{Elements: 3, Bytes: func(i int) int { return i * chunkBytes / 8 }}
	if _, err := gather(Map(t.Context(), count(11, nil), large, team(1, look))); err != nil {
		t.Fatal(err)
	}
	if want := []int{3, 3, 2, 1, 1, 1}; !slices.Equal(sizes, want) {
		t.Errorf("found chunks of %v, want %v", sizes, want)
	}
}

func TestErrorsEndTheStream(t *testing.T) {
	broken := errors.New("broken")
	_, err := gather(Map(t.Context(), count(5, broken), pairs, team(2, anything)))
	if !errors.Is(err, broken) {
		t.Errorf("of the input: found %v, want %v", err, broken)
	}
	_, err = gather(Map(t.Context(), count(1000, nil), pairs, team(2, func(chunk []int) error {
		if chunk[0] >= 10 {
			return broken
		}
		return nil
	})))
	if !errors.Is(err, broken) {
		t.Errorf("of a worker: found %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gather(Map(ctx, count(1000, nil), pairs, team(2, anything))); !errors.Is(err, context.Canceled) {
		t.Errorf("of the context: found %v, want %v", err, context.Canceled)
	}
}

func TestALeftStreamEndsItsInput(t *testing.T) {
	var reading atomic.Bool
	in := func(yield func(int, error) bool) {
		reading.Store(true)
		defer reading.Store(false)
		count(1<<30, nil)(yield)
	}
	for range Map(t.Context(), in, pairs, team(3, anything)) {
		break
	}
	if reading.Load() {
		t.Error("the input is still being read")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const workers = 2
	var read, done atomic.Int64
	in := func(yield func(int, error) bool) {
		count(1000, nil)(func(i int, err error) bool {
			if ahead := read.Add(1) - done.Load(); ahead > 3*workers*2+2 {
				t.Errorf("found %d elements under way, want at most three chunks a worker", ahead)
			}
			return yield(i, err)
		})
	}
	for _, err := range Map(t.Context(), in, pairs, team(workers, anything)) {
		if err != nil {
			t.Fatal(err)
		}
		done.Add(1)
	}
}
