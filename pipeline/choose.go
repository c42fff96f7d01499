package pipeline

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/surrogaze/surrogaze/internal/config"
)

// Splits that the pipeline knows.
const (
	splitTrain = "train"
	splitVal   = "val"
	splitTest  = "test"
)

// splitOf is the split of a sample that comes without one. It depends on the seed
// and the sample's group alone (its id, where it has no group or the split is by
// sample), so that it is the same whatever else the set holds.
func splitOf(s config.Split, seed int64, id, group string) string {
	name := group
	if name == "" || s.By == "sample" {
		name = id
	}
	switch u := uniform(seed, "split", name); {
	case u < s.Test:
		return splitTest
	case u < s.Test+s.Val:
		return splitVal
	}
	return splitTrain
}

// uniform is a number in [0, 1) that depends on its arguments alone.
func uniform(seed int64, purpose, name string) float64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(seed))
	h.Write(b[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write([]byte(name))
	x := h.Sum64() // FNV's low bits mix badly: finish as SplitMix64 does
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}

// candidate is a sample that may be chosen.
type candidate struct {
	id    string
	label int64
}

// chooseByClass picks n samples by their ids, all of them if n is 0: at random by
// the seed, in turn from every class, so that few show every class.
func chooseByClass(all []candidate, n int, seed int64) map[string]bool {
	byClass := map[int64][]candidate{}
	var classes []int64
	for _, c := range all {
		if byClass[c.label] == nil {
			classes = append(classes, c.label)
		}
		byClass[c.label] = append(byClass[c.label], c)
	}
	slices.Sort(classes)
	for _, class := range classes {
		slices.SortFunc(byClass[class], func(a, b candidate) int {
			order := cmp.Compare(uniform(seed, "human map", a.id), uniform(seed, "human map", b.id))
			return cmp.Or(order, cmp.Compare(a.id, b.id))
		})
	}
	if n == 0 {
		n = len(all)
	}
	chosen := map[string]bool{}
	for turn := 0; len(chosen) < min(n, len(all)); turn++ {
		for _, class := range classes {
			if turn < len(byClass[class]) && len(chosen) < n {
				chosen[byClass[class][turn].id] = true
			}
		}
	}
	return chosen
}
