package cyborg

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

func TestArmsPickTheMapsTheyShould(t *testing.T) {
	samples := mixed(t, 2*kinds)
	set := dataset(t, oneGroup, samples)
	// Rows 0 to 5 are one of each kind; "-" is no map, "x" a row not trained on.
	for arm, want := range map[Arm][kinds]string{
		None:       {"-", "-", "-", "-", "-", "-"},
		Human:      {"saliency", "saliency", "-", "-", "-", "-"},
		Predicted:  {"predicted", "-", "saliency", "saliency", "-", "saliency"},
		Combined:   {"saliency", "saliency", "saliency", "saliency", "-", "saliency"},
		Full:       {"saliency", "saliency", "reference", "-", "-", "-"},
		HumanSmall: {"saliency", "saliency", "x", "x", "x", "x"},
		NoneSmall:  {"-", "-", "x", "x", "x", "x"},
		Mean:       {"mean", "mean", "mean", "mean", "mean", "mean"},
		Inverted:   {"saliency", "saliency", "saliency", "saliency", "-", "saliency"},
	} {
		p := newPlan(arm, set, 1)
		rows := rowsByID(set)
		for kind, want := range want {
			row := rows[samples[kind].ID]
			got := "x"
			if p.keep(row) {
				g := p.guide(row)
				got = map[column]string{noMap: "-", saliency: "saliency", predicted: "predicted", reference: "reference", meanMap: "mean"}[g.column]
				if g.column != noMap && g.column != meanMap && g.row != row {
					t.Errorf("arm %s: row %d gets the map of row %d", arm, row, g.row)
				}
			}
			if got != want {
				t.Errorf("arm %s: a sample of kind %d gets %s, want %s", arm, kind, got, want)
			}
		}
	}
}

func TestPredictedMapsAreToldFromHumanOnes(t *testing.T) {
	samples := mixed(t, 2*kinds)
	set := dataset(t, oneGroup, samples)
	rows := rowsByID(set)
	// Of the kinds of mixed, those whose map in an arm is a predictor's.
	for arm, want := range map[Arm][kinds]bool{
		None:      {},
		Human:     {},
		Full:      {},
		Predicted: {0: true, 2: true, 3: true, 5: true},
		Combined:  {2: true, 3: true, 5: true},
		Inverted:  {2: true, 3: true, 5: true},
		Mean:      {2: true, 3: true, 4: true, 5: true},
	} {
		p := newPlan(arm, set, 1)
		for kind, want := range want {
			if got := p.isDrawn(rows[samples[kind].ID]); got != want {
				t.Errorf("arm %s: the map of a sample of kind %d counts as predicted: %v, want %v", arm, kind, got, want)
			}
			if want && !arm.UsesPredicted() {
				t.Errorf("arm %s does not say that it uses predicted maps", arm)
			}
		}
	}
	weakened := func(arm Arm) (n int) {
		p := newPlan(arm, set, 1)
		for row := range p.rows {
			if p.keep(row) && p.isDrawn(row) {
				n++
			}
		}
		return n
	}
	if got, want := weakened(Shuffled), weakened(Combined); got != want {
		t.Errorf("shuffled has %d predicted maps, combined %d", got, want)
	}
}

func rowsByID(set *storage.Dataset) map[string]int {
	rows := map[string]int{}
	for i, r := range set.Rows() {
		rows[r.ID] = i
	}
	return rows
}

func TestArmsAreParsedByName(t *testing.T) {
	for _, a := range Arms() {
		if got, err := ParseArm(string(a)); got != a || err != nil {
			t.Errorf("ParseArm(%q) = %q, %v", a, got, err)
		}
	}
	if _, err := ParseArm("all"); err == nil {
		t.Error("an unknown arm is accepted")
	}
}

func TestTheMeanIsOverTheMapsOfAllTrainingSamples(t *testing.T) {
	samples := mixed(t, 2*kinds)
	d := opened(t, dataset(t, smallRows, samples), tiny(), 0)
	if err := d.loadMean(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 20*20)
	for _, s := range samples {
		if s.Split != trainSplit || s.Label == storage.NoLabel || !shows(t, s) {
			continue
		}
		p, err := raster.DecodeMap(s.Saliency.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range areaMean(p, 20) {
			want[i] += v / 11 // 12 samples, one without a label; those without a map add nothing
		}
	}
	for i, v := range d.mean.Pix {
		if math.Abs(float64(v)-want[i]) > 1e-6 {
			t.Fatalf("value %d is %v, want %v", i, v, want[i])
		}
	}
}

// planOf is a plan of training rows in row groups of the given lengths, where
// mapped rows have a map.
func planOf(lengths []int, mapped func(row int) bool) *plan {
	p := &plan{arm: Shuffled}
	for _, n := range lengths {
		p.groups = append(p.groups, storage.RowGroup{Start: len(p.rows), Len: n})
		for range n {
			row := len(p.rows)
			p.rows = append(p.rows, storage.Row{ID: fmt.Sprint(row), Split: trainSplit, HasMap: mapped(row)})
		}
	}
	return p
}

func TestShuffledIsAPermutationThatLeavesNoImageItsOwnMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 8).Draw(t, "row groups")
		pattern := rapid.SliceOfN(rapid.Bool(), 48, 48).Draw(t, "mapped")
		p := planOf(lengths, func(row int) bool { return pattern[row] })
		donors := p.shuffle(rapid.Uint64().Draw(t, "seed"))
		given, mapped := map[int]bool{}, 0
		for row, donor := range donors {
			if p.rows[row].HasMap {
				mapped++
			}
			switch {
			case p.rows[row].HasMap != (donor >= 0):
				t.Fatalf("row %d with a map: %t, gets that of %d", row, p.rows[row].HasMap, donor)
			case donor < 0:
				continue
			case !p.rows[donor].HasMap || given[donor]:
				t.Fatalf("row %d gets the map of %d, which has none or has given it away", row, donor)
			}
			given[donor] = true
		}
		for row, donor := range donors {
			if row == donor && mapped > 1 {
				t.Fatalf("row %d of %d with a map keeps its own", row, mapped)
			}
		}
	})
}

func TestShuffledMapsStayInTheirRowGroup(t *testing.T) {
	p := planOf([]int{5, 7, 4}, func(int) bool { return true })
	for row, donor := range p.shuffle(1) {
		for _, g := range p.groups {
			if in := func(i int) bool { return i >= g.Start && i < g.Start+g.Len }; in(row) != in(donor) {
				t.Errorf("row %d gets the map of row %d in another group", row, donor)
			}
		}
	}
}

func TestShuffledHasNoFixedPattern(t *testing.T) {
	p := planOf([]int{50}, func(int) bool { return true })
	shifts, seeds := map[int]int{}, map[int]int{}
	a, b := p.shuffle(1), p.shuffle(2)
	for row := range a {
		shifts[(a[row]-row+50)%50]++
		if a[row] == b[row] {
			seeds[row]++
		}
	}
	for shift, n := range shifts {
		if n > 10 { // of 50 rows, about one for each shift is expected
			t.Errorf("%d of 50 maps move by %d rows", n, shift)
		}
	}
	if len(seeds) > 10 { // about one is expected
		t.Errorf("%d of 50 maps move alike under two seeds", len(seeds))
	}
}

func TestMapsOnSomeImagesGuideAsMuchAsMapsOnAll(t *testing.T) {
	for name, c := range map[string]struct {
		mapped, drawn int // of 100 images
		trust         float64
		human, other  float64
	}{
		"human maps on all":                          {100, 0, 1, 1, 1},
		"human maps on a quarter":                    {25, 0, 1, 4, 4},
		"human maps on fewer than one image a batch": {2, 0, 1, 10, 10},
		"predicted maps elsewhere":                   {100, 75, 1, 1, 1},
		"predicted maps half trusted":                {100, 75, 0.5, 1.6, 0.5},
		"predicted maps not trusted":                 {100, 75, 0, 4, 0},
		"predicted maps alone, half trusted":         {100, 100, 0.5, 2, 0.5},
	} {
		p := &plan{n: 100, mapped: c.mapped, drawn: c.drawn}
		human, other := p.weights(c.trust, 10)
		if math.Abs(human-c.human) > 1e-12 || math.Abs(other-c.other) > 1e-12 {
			t.Errorf("%s: weights %v and %v, want %v and %v", name, human, other, c.human, c.other)
		}
	}
}

func TestEveryRunDealsTheMapsOutAnew(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 18)), cfg, cacheAll)
	var donors [2][]int
	for run := range donors {
		tr, err := newTraining(t.Context(), cfg, d, Shuffled, run, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		donors[run] = tr.feed.plan.donors
		tr.feed.close()
	}
	if slices.Equal(donors[0], donors[1]) {
		t.Errorf("both runs dealt %v", donors[0])
	}
}
