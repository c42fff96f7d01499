package pipeline

import (
	"math"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
)

// invented is a curve of three seeds with 8 maps in all, in which human reaches .8, .9
// and 1 with all and combined, with 2, 4 and 8 maps, what is given.
func invented(margin float64, combined ...perSeed) *Curve {
	c := &Curve{Split: "test", All: 8, Margin: margin}
	for i, maps := range []int{8, 2, 4} { // in any order
		c.Points = append(c.Points,
			CurvePoint{Maps: maps, Arm: string(cyborg.Human), Runs: 3, AUC: .9, aucs: perSeed{0: .8, 1: .9, 2: 1}},
			CurvePoint{Maps: maps, Arm: string(cyborg.Combined), Runs: 3, AUC: .95, aucs: combined[(i+2)%3]})
	}
	c.compare()
	return c
}

func TestEnoughIsTheLastNumberOfMapsOnTheWayDownThatIsNotInferior(t *testing.T) {
	same := perSeed{0: .8, 1: .9, 2: 1}
	better := perSeed{0: .9, 1: 1, 2: 1}    // by .1, .1, 0
	unsure := perSeed{0: .7, 1: .9, 2: 1.1} // by -.1, 0, .1
	for _, c := range []struct {
		name             string
		two, four, eight perSeed
		want             int
	}{
		{"all are as good", same, same, same, 2},
		{"fewer than 4 are not", unsure, better, better, 4},
		{"a gap ends the way down", same, unsure, same, 8},
		{"not even all", same, same, unsure, 0},
	} {
		// The intervals' halves, by hand: t(.975, 2) = 4.3027; of better .0667 - 4.3027 *
		// .0577 / sqrt(3) = -.0768, of unsure 0 - 4.3027 * .1 / sqrt(3) = -.248.
		if got := invented(0.08, c.two, c.four, c.eight).Enough; got != c.want {
			t.Errorf("%s: enough are %d, want %d", c.name, got, c.want)
		}
	}
	if got := invented(0.07, unsure, better, better).Enough; got != 0 {
		t.Errorf("within .07 enough are %d, want none", got)
	}
	x := invented(0.08, unsure, better, same).point(4, cyborg.Combined)
	if math.Abs(float64(x.DifferenceLow)+.0768) > 1e-4 || math.Abs(float64(x.Difference)-.0667) > 1e-4 {
		t.Errorf("the difference is %v from %v, want .0667 from -.0768", x.Difference, x.DifferenceLow)
	}
}

func TestACurveSaysInPlainWordsHowManyMapsAreEnough(t *testing.T) {
	same, unsure := perSeed{0: .8, 1: .9, 2: 1}, perSeed{0: .7, 1: .9, 2: 1.1}
	one := invented(0.08, same, same, same)
	for i := range one.Points {
		one.Points[i].Runs = 1
	}
	unjudged := invented(0.08, same, same, same)
	for i := range unjudged.Points {
		unjudged.Points[i].AUC = Number(nan())
	}
	for want, c := range map[string]*Curve{
		"There is no AUC to compare":                 unjudged,
		"2 of 8 human maps are enough, 75 % fewer: ": invented(0.08, same, same, same),
		"8 of 8 human maps are enough: ":             invented(0.08, same, unsure, same),
		"No number of human maps is shown to be enough: even with all 8 the test AUC of combined, 0.950, is not surely within 0.080 of that of human, 0.900 ": invented(0.08, same, same, unsure),
		"One seed shows no spread": one,
	} {
		if got := c.String(); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
