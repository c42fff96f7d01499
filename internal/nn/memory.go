package nn

import (
	"cmp"
	"slices"
)

// region is a value's place in the arena, live from one instruction to another.
type region struct {
	v           *value
	first, last int
	size, at    int
}

// plan gives every arena value an offset such that values whose lives overlap
// do not, and returns the regions and the arena's length. size is a value's length
// and align what offsets are multiples of, in the same unit. Larger values are placed
// first, each in the smallest gap that fits.
func (l *listing) plan(size func(*value) int, align int) (regions []*region, length int) {
	regions = l.lifetimes()
	for _, r := range regions {
		r.size = (size(r.v) + align - 1) / align * align
	}
	placed := make([]*region, 0, len(regions))
	order := slices.Clone(regions)
	slices.SortStableFunc(order, func(a, b *region) int { return cmp.Compare(b.size, a.size) })
	for _, r := range order {
		r.at = lowestGap(placed, r)
		length = max(length, r.at+r.size)
		i, _ := slices.BinarySearchFunc(placed, r, func(a, b *region) int { return cmp.Compare(a.at, b.at) })
		placed = slices.Insert(placed, i, r)
	}
	return regions, length
}

// lowestGap is the offset of the smallest gap for r between the placed regions
// (sorted by offset) that live at the same time.
func lowestGap(placed []*region, r *region) int {
	best, bestSize := -1, 0
	end := 0
	for _, p := range placed {
		if p.last < r.first || r.last < p.first {
			continue
		}
		if gap := p.at - end; gap >= r.size && (best < 0 || gap < bestSize) {
			best, bestSize = end, gap
		}
		end = max(end, p.at+p.size)
	}
	if best >= 0 {
		return best
	}
	return end
}

// lifetimes lists the arena's values in order of their first use.
func (l *listing) lifetimes() []*region {
	var regions []*region
	byValue := map[*value]*region{}
	touch := func(v *value, at int) {
		v = v.root()
		if v.home != homeArena {
			return
		}
		r := byValue[v]
		if r == nil {
			r = &region{v: v, first: at}
			byValue[v] = r
			regions = append(regions, r)
		}
		r.last = at
	}
	for i, ins := range l.instructions {
		for _, v := range ins.in {
			touch(v, i)
		}
		for _, v := range ins.out {
			touch(v, i)
		}
	}
	for _, v := range l.kept() {
		touch(v, len(l.instructions))
	}
	return regions
}
