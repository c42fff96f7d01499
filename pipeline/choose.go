package pipeline

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/storage"
)

// Splits that the pipeline knows.
const (
	splitTrain = "train"
	splitVal   = "val"
	splitTest  = "test"
)

// splitter gives samples that come without a split one.
type splitter struct {
	config.Split
	seed   int64
	groups map[string]string // the splits that groups have already
}

// splitter follows the splits that groups have, unless the configuration lets groups be
// torn.
func (p *Pipeline) splitter(groups map[string]string) splitter {
	if p.cfg.Data.Split.By == "sample" {
		groups = nil
	}
	return splitter{p.cfg.Data.Split, p.cfg.Seed, groups}
}

// of is the split of a sample: its group's, where that has one, else by the seed and the
// group's name alone (its id's, where it has no group or the split is by sample), so that
// it is the same whatever else the set holds.
func (s splitter) of(id, group string) string {
	if split := s.groups[group]; group != "" && split != "" {
		return split
	}
	name := group
	if name == "" || s.By == "sample" {
		name = id
	}
	switch u := uniform(s.seed, "split", name); {
	case u < s.Test:
		return splitTest
	case u < s.Test+s.Val:
		return splitVal
	}
	return splitTrain
}

// warnOfTornGroups says where groups of a data set lie on both sides of a comparison, but
// for those that are known to.
func (p *Pipeline) warnOfTornGroups(set *storage.Dataset, known []string, events *stageEvents) {
	if p.cfg.Data.Split.By == "sample" {
		return
	}
	torn := slices.DeleteFunc(set.TornGroups(), func(group string) bool { return slices.Contains(known, group) })
	if len(torn) > 0 {
		events.warn(fmt.Sprintf("%d groups have samples in more than one split, as %q: what the test says of them is not what it would say of new groups", len(torn), torn[0]))
	}
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
