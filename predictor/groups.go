package predictor

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Streams of random numbers of one seed.
const (
	streamSplit = iota + 1
	streamFolds
	streamOrder
	streamAugment
)

// random is the generator of a seed's stream at a position.
func random(seed uint64, stream, position int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(stream)<<48+uint64(position)))
}

// grouped lists the samples' groups, each with its samples' indices, in a random
// order that depends on the groups' names and the seed, not on the samples' order.
func grouped(samples []*sample, seed uint64, stream int) [][]int {
	byName := map[string][]int{}
	for i, s := range samples {
		byName[s.group] = append(byName[s.group], i)
	}
	groups := make([][]int, 0, len(byName))
	for _, members := range byName {
		groups = append(groups, members)
	}
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(samples[a[0]].group, samples[b[0]].group) })
	rng := random(seed, stream, 0)
	rng.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	return groups
}

// split takes whole groups out of the samples for validation: about the share of
// the samples, at least one group and never all.
func split(samples []*sample, share float64, seed uint64) (train, val []*sample, err error) {
	groups := grouped(samples, seed, streamSplit)
	if len(groups) < 2 {
		return nil, nil, fmt.Errorf("found %d examples with a map in %d groups, want at least 2 groups, or examples for validation", len(samples), len(groups))
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

// folds assigns every sample one of k parts of nearly equal size, whole groups at
// a time.
func folds(samples []*sample, k int, seed uint64) ([]int, error) {
	groups := grouped(samples, seed, streamFolds)
	if len(groups) < 3 {
		return nil, fmt.Errorf("found %d groups of examples, want at least 3: to train, to choose a checkpoint and to hold out", len(groups))
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
