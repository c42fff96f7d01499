package pipeline

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/config"
)

func TestSamplesOfAGroupFallInOneSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := splitter{config.Split{Val: 0.3, Test: 0.3, By: "group"}, rapid.Int64().Draw(t, "seed"), nil}
		group := rapid.StringN(1, 8, -1).Draw(t, "group")
		a, b := s.of(rapid.String().Draw(t, "a"), group), s.of(rapid.String().Draw(t, "b"), group)
		if a != b {
			t.Fatalf("found %s and %s", a, b)
		}
	})
}

func TestSamplesFollowTheirGroup(t *testing.T) {
	groups := map[string]string{"a": "test", "b": "val", "c": "train", "": "none"}
	s := splitter{Split: config.Split{By: "group"}, groups: groups}
	for group, want := range map[string]string{"a": "test", "b": "val", "c": "train", "new": "train", "": "train"} {
		if got := s.of("x", group); got != want {
			t.Errorf("group %q: found the split %q, want %q", group, got, want)
		}
	}
}

func TestSharesOfTheSplitsAreThoseAskedFor(t *testing.T) {
	s := splitter{config.Split{Val: 0.15, Test: 0.2, By: "sample"}, 7, nil}
	const n = 20000
	found := map[string]float64{}
	for i := range n {
		found[s.of(fmt.Sprintf("image-%d.png", i), "one group")] += 1.0 / n
	}
	for name, want := range map[string]float64{"val": 0.15, "test": 0.2, "train": 0.65} {
		// Five standard deviations of a share of n draws.
		if d := math.Abs(found[name] - want); d > 5*math.Sqrt(want*(1-want)/n) {
			t.Errorf("%s has %.4f of the samples, want %.4f", name, found[name], want)
		}
	}
}

func candidatesGen() *rapid.Generator[[]candidate] {
	return rapid.Custom(func(t *rapid.T) []candidate {
		labels := rapid.SliceOfN(rapid.Int64Range(0, 3), 1, 40).Draw(t, "labels")
		list := make([]candidate, len(labels))
		for i, l := range labels {
			list[i] = candidate{fmt.Sprint(i), l}
		}
		return list
	})
}

func TestAsManyHumanMapsAreChosenAsAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := candidatesGen().Draw(t, "all")
		n := rapid.IntRange(0, 50).Draw(t, "n")
		want := min(n, len(all))
		if n == 0 {
			want = len(all)
		}
		if got := len(chooseByClass(all, n, 1)); got != want {
			t.Fatalf("chose %d of %d for n = %d", got, len(all), n)
		}
	})
}

func TestFewHumanMapsShowEveryClass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := candidatesGen().Draw(t, "all")
		classes := map[int64]bool{}
		for _, c := range all {
			classes[c.label] = true
		}
		chosen := chooseByClass(all, len(classes), rapid.Int64().Draw(t, "seed"))
		shown := map[int64]bool{}
		for _, c := range all {
			if chosen[c.id] {
				shown[c.label] = true
			}
		}
		if len(shown) != len(classes) {
			t.Fatalf("chose maps of %d classes of %d", len(shown), len(classes))
		}
	})
}

func TestTheChoiceOfHumanMapsDependsOnNoOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := candidatesGen().Draw(t, "all")
		n := rapid.IntRange(1, 20).Draw(t, "n")
		other := rapid.Permutation(all).Draw(t, "other")
		if d := cmp.Diff(chooseByClass(all, n, 5), chooseByClass(other, n, 5)); d != "" {
			t.Fatal(d)
		}
	})
}
