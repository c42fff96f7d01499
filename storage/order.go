package storage

import (
	"math/bits"
	"slices"
)

// RowGroup is a run of rows that lie together in one file and are read together.
type RowGroup struct {
	// Start is the index of the first row, Len the number of rows.
	Start, Len int
}

// Order is the order in which one epoch visits the rows for which keep reports
// true (nil keeps all): the row groups are shuffled, and then the rows within
// each run of window row groups, so that reading in this order touches no more
// than window groups at a time. A window below 1 counts as 1.
//
// It is a pure function of its arguments: no machine, number of workers or
// version of Go changes it. Where a window holds all groups, how the rows are cut
// into groups does not change it either.
func Order(groups []RowGroup, keep func(row int) bool, seed uint64, epoch, window int) []int {
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	newShuffler(seed, ^uint64(epoch)).shuffle(order)
	ofRows := newShuffler(seed, uint64(epoch))
	var rows []int
	for together := range slices.Chunk(order, max(window, 1)) {
		slices.Sort(together)
		start := len(rows)
		for _, g := range together {
			rows = appendKept(rows, groups[g], keep)
		}
		ofRows.shuffle(rows[start:])
	}
	return rows
}

func appendKept(rows []int, g RowGroup, keep func(int) bool) []int {
	for i := g.Start; i < g.Start+g.Len; i++ {
		if keep == nil || keep(i) {
			rows = append(rows, i)
		}
	}
	return rows
}

// shuffler is the SplitMix64 generator (Steele, Lea and Flood, 2014). The
// standard library's would do, but does not promise its shuffle for ever.
type shuffler struct{ state uint64 }

func newShuffler(seed, stream uint64) *shuffler {
	return &shuffler{state: mix(seed) ^ mix(stream+0x9e3779b97f4a7c15)}
}

func (r *shuffler) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return mix(r.state)
}

// shuffle is the Fisher-Yates shuffle. Its bias, below len(a)/2^64, is not
// worth a rejection loop.
func (r *shuffler) shuffle(a []int) {
	for i := len(a) - 1; i > 0; i-- {
		j, _ := bits.Mul64(r.next(), uint64(i+1))
		a[i], a[j] = a[j], a[i]
	}
}

// mix is SplitMix64's finaliser, a bijection whose output looks random.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
