package predictor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// groupedSamples draws samples in groups of up to five.
func groupedSamples(t *rapid.T, atLeast int) []*sample {
	var samples []*sample
	groups := rapid.IntRange(atLeast, 15).Draw(t, "groups")
	for g := range groups {
		for range rapid.IntRange(1, 5).Draw(t, "members") {
			samples = append(samples, &sample{id: fmt.Sprint(len(samples)), group: fmt.Sprint(g)})
		}
	}
	return samples
}

func names(samples []*sample) []string {
	var list []string
	for _, s := range samples {
		list = append(list, s.group)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestASplitKeepsGroupsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := groupedSamples(t, 2)
		share := rapid.Float64Range(0.01, 0.99).Draw(t, "share")
		train, val, err := split(samples, share, rapid.Uint64().Draw(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		if len(train) == 0 || len(val) == 0 || len(train)+len(val) != len(samples) {
			t.Fatalf("found %d and %d of %d", len(train), len(val), len(samples))
		}
		for _, group := range names(train) {
			if slices.Contains(names(val), group) {
				t.Fatalf("group %s is on both sides", group)
			}
		}
		// No group has more than five: the share is met within half of that, but for
		// what an empty side would want.
		if miss := math.Abs(float64(len(val)) - share*float64(len(samples))); miss > 5 {
			t.Fatalf("found %d of %d, want about %v of them", len(val), len(samples), share)
		}
	})
}

func TestFoldsKeepGroupsTogetherAndAreOfLikeSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := groupedSamples(t, 3)
		k := rapid.IntRange(2, 8).Draw(t, "k")
		of, err := folds(samples, k, rapid.Uint64().Draw(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		home, sizes := map[string]int{}, make([]int, min(k, len(names(samples))))
		for i, s := range samples {
			if fold, ok := home[s.group]; ok && fold != of[i] {
				t.Fatalf("group %s is in folds %d and %d", s.group, fold, of[i])
			}
			home[s.group] = of[i]
			sizes[of[i]]++
		}
		if low, high := slices.Min(sizes), slices.Max(sizes); low == 0 || high-low > 5 {
			t.Fatalf("found sizes %v, want none empty and none larger by more than a group", sizes)
		}
	})
}

func TestFoldsDependOnGroupsAndNotOnTheOrderOfExamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var samples []*sample // groups of different sizes, so that no tie decides
		for g := range 6 {
			for range g + 1 {
				samples = append(samples, &sample{group: fmt.Sprint(g)})
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		of, err := folds(samples, 3, seed)
		if err != nil {
			t.Fatal(err)
		}
		turned := slices.Clone(samples)
		slices.Reverse(turned)
		ofTurned, err := folds(turned, 3, seed)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(ofTurned)
		if !slices.Equal(of, ofTurned) {
			t.Fatalf("found %v, want %v", ofTurned, of)
		}
	})
}

// inGroups puts the examples into groups by turns.
func inGroups(list []Example, groups int) []Example {
	for i := range list {
		list[i].Group = string(rune('a' + i%groups))
	}
	return list
}

// fitInFolds fits without interruption.
func fitInFolds(t *testing.T, cfg Config, list []Example) *Folds {
	t.Helper()
	f, err := FitFolds(t.Context(), cfg, list, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// told is all that folds say.
func told(t *testing.T, f *Folds) string {
	t.Helper()
	text, err := json.Marshal([]any{f.Predictions, f.Report})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNoExampleIsPredictedByAModelThatSawItsGroup(t *testing.T) {
	cfg := tiny()
	list := inGroups(examples(t, "train", 24), 6)
	before := fitInFolds(t, cfg, list)
	// Other maps for one group: what was fitted without the group does not notice.
	changed := slices.Clone(list)
	for i, e := range changed {
		if e.Group == "c" {
			changed[i].Map = list[(i+1)%len(list)].Map
		}
	}
	after := fitInFolds(t, cfg, changed)
	fold, noticed := before.Predictions[2].Fold, false
	for i, p := range before.Predictions {
		q := after.Predictions[i]
		same := bytes.Equal(p.Map.Bytes, q.Map.Bytes)
		switch {
		case p.ID != list[i].ID || q.ID != p.ID || q.Fold != p.Fold:
			t.Fatalf("found %q in fold %d, then %q in %d, want %q in one", p.ID, p.Fold, q.ID, q.Fold, list[i].ID)
		case p.Fold == fold && !same:
			t.Errorf("%s: its prediction depends on the maps of its group", p.ID)
		case p.Fold != fold:
			noticed = noticed || !same
		}
	}
	if !noticed {
		t.Error("no prediction of other folds changed, so the maps were not used at all")
	}
}

func TestFoldsDoNotDependOnWorkersOrInterruptions(t *testing.T) {
	cfg := tiny()
	list := inGroups(examples(t, "train", 18), 6)
	want := told(t, fitInFolds(t, cfg, list))
	cfg.Workers = 3
	if got := told(t, fitInFolds(t, cfg, list)); got != want {
		t.Error("three workers give other folds than one")
	}
	dir := t.TempDir()
	f := resumed(t, func(n int) (*Folds, error) {
		cfg.Workers = 1 + n%2
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		steps := 0
		return FitFolds(ctx, cfg, list, dir, func(p Progress) {
			if p.Fold < 0 || p.Fold >= cfg.Folds {
				t.Errorf("found fold %d", p.Fold)
			}
			if steps++; steps == 10 {
				cancel()
			}
		})
	})
	if told(t, f) != want {
		t.Error("interrupted folds differ from unbroken ones")
	}
}

func TestBlankMapsArePredictedButNotJudged(t *testing.T) {
	list := inGroups(examples(t, "train", 18), 6)
	list[4].Map = blank(t)
	f := fitInFolds(t, tiny(), list)
	if len(f.Predictions) != 18 || !f.Predictions[4].Map.Present() {
		t.Fatalf("found %d predictions, want 18", len(f.Predictions))
	}
	if f.Report.Blank != 1 || len(f.Report.Images) != 17 || f.Report.Predictor.CC.N != 17 {
		t.Errorf("found %d blank and %d judged, want 1 and 17", f.Report.Blank, len(f.Report.Images))
	}
	for _, p := range f.Predictions {
		if q := float64(p.Quality); !(q >= -1 && q <= 1) {
			t.Errorf("%s: found quality %v, want it in [-1, 1]", p.ID, q)
		}
		if m, err := raster.DecodeMap(p.Map.Bytes); err != nil || max(m.W, m.H) != 16 {
			t.Errorf("%s: found %v, want a map of 16 pixels", p.ID, err)
		}
	}
}

func TestFoldsCalibrateAModel(t *testing.T) {
	cfg, list := tiny(), inGroups(examples(t, "train", 18), 6)
	m := fit(t, cfg, list, nil)
	if n := m.Calibrated(); n != m.Summary().Validation {
		t.Errorf("found a calibration on %d maps, want the %d of the validation", n, m.Summary().Validation)
	}
	m.Calibrate(fitInFolds(t, cfg, list))
	if m.Calibrated() != 18 {
		t.Errorf("found a calibration on %d maps, want 18", m.Calibrated())
	}
}

func TestFewerThanThreeGroupsAreTornAndSaidToBe(t *testing.T) {
	cfg := tiny()
	cfg.Steps = 2
	for groups, want := range map[int]bool{2: true, 5: false} {
		f, err := FitFolds(t.Context(), cfg, inGroups(examples(t, "train", 10), groups), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if f.Torn != want {
			t.Errorf("%d groups: torn is %v, want %v", groups, f.Torn, want)
		}
	}
}

func TestFoldsWantThreeExamples(t *testing.T) {
	_, err := FitFolds(t.Context(), tiny(), examples(t, "train", 2), t.TempDir(), nil)
	const want = "found 2 examples, want at least 3"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("found error %v, want %q in it", err, want)
	}
}

func TestFoldsAreCountedBeforeTheyAreFitted(t *testing.T) {
	examplesOf := func(groups ...string) []Example {
		var list []Example
		for i, g := range groups {
			list = append(list, Example{ID: fmt.Sprint(i), Group: g})
		}
		return list
	}
	for name, c := range map[string]struct {
		examples []Example
		want     int
	}{
		"groups enough":               {examplesOf("a", "b", "c", "d", "e", "e"), 4},
		"three groups":                {examplesOf("a", "a", "b", "b", "c", "c"), 3},
		"two groups, which are torn":  {examplesOf("a", "a", "a", "b", "b", "b"), 4},
		"images without a group":      {examplesOf("", "", "", "", ""), 4},
		"three images, without group": {examplesOf("", "", ""), 3},
	} {
		if got := FoldsOf(Config{Folds: 4}, c.examples); got != c.want {
			t.Errorf("%s: found %d folds, want %d", name, got, c.want)
		}
	}
}
