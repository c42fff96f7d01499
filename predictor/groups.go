package predictor

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/surrogaze/surrogaze/storage"
)

// Streams of random numbers of one seed.
const (
	streamSplit = iota + 1
	streamFolds
	streamOrder
	streamAugment
	streamMember
)

// random is the generator of a seed's stream at a position.
func random(seed uint64, stream, position int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(stream)<<48+uint64(position)))
}

// units lists what a split keeps together: the samples' groups, each with its
// samples' indices, or single samples where there are fewer groups than needed. The
// order is random and depends on the names and the seed, not on the samples' order.
func units(samples []*sample, needed int, seed uint64, stream int) [][]int {
	byName := map[string][]int{}
	for i, s := range samples {
		byName[s.group] = append(byName[s.group], i)
	}
	name := func(i int) string { return samples[i].group }
	list := slices.Collect(maps.Values(byName))
	if len(list) < needed {
		list, name = nil, func(i int) string { return samples[i].id }
		for i := range samples {
			list = append(list, []int{i})
		}
	}
	slices.SortFunc(list, func(a, b []int) int { return cmp.Compare(name(a[0]), name(b[0])) })
	rng := random(seed, stream, 0)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// torn reports whether two samples of one group are in different parts.
func torn(samples []*sample, part func(i int) int) bool {
	of := map[string]int{}
	for i, s := range samples {
		if p, seen := of[s.group]; seen && p != part(i) {
			return true
		}
		of[s.group] = part(i)
	}
	return false
}

// split takes samples out for validation: about the share of all, at least one and
// never all; whole groups, unless there is only one.
func split(samples []*sample, share float64, seed uint64) (train, val []*sample, err error) {
	groups := units(samples, 2, seed, streamSplit)
	if len(groups) < 2 {
		return nil, nil, storage.Unusable("found %d examples with a map, want at least 2, or examples for validation", len(samples))
	}
	wanted := share * float64(len(samples))
	var held []int
	for _, members := range groups {
		after := len(held) + len(members)
		nearer := math.Abs(float64(after)-wanted) < math.Abs(float64(len(held))-wanted)
		if nearer && after < len(samples) {
			held = append(held, members...)
		}
	}
	if len(held) == 0 {
		held = slices.MinFunc(groups, func(a, b []int) int { return cmp.Compare(len(a), len(b)) })
	}
	for i, s := range samples {
		if slices.Contains(held, i) {
			val = append(val, s)
		} else {
			train = append(train, s)
		}
	}
	return train, val, nil
}

// leastUnits are to learn from, to choose by and to hold out.
const leastUnits = 3

// FoldsOf is the number of folds that FitFolds makes of examples: Config.Folds, or as
// many as there are groups.
func FoldsOf(cfg Config, examples []Example) int {
	groups := map[string]bool{}
	for _, e := range examples {
		groups[groupOf(e)] = true
	}
	units := len(groups)
	if units < leastUnits {
		units = len(examples)
	}
	return min(cfg.Folds, units)
}

// folds assigns every sample one of k parts of nearly equal size, whole groups at
// a time, unless there are fewer than three.
func folds(samples []*sample, k int, seed uint64) ([]int, error) {
	groups := units(samples, leastUnits, seed, streamFolds)
	if len(groups) < leastUnits {
		return nil, storage.Unusable("found %d examples, want at least %d, to learn from and to hold out", len(groups), leastUnits)
	}
	k = min(k, len(groups))
	slices.SortStableFunc(groups, func(a, b []int) int { return cmp.Compare(len(b), len(a)) })
	of, sizes := make([]int, len(samples)), make([]int, k)
	for _, members := range groups {
		smallest := slices.Index(sizes, slices.Min(sizes))
		for _, m := range members {
			of[m] = smallest
		}
		sizes[smallest] += len(members)
	}
	return of, nil
}
