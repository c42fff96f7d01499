package predictor

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// compared is a report on images with such CCs of the predicted and of the mean map.
func compared(predicted, mean []float64) *Report {
	r := &Report{}
	for i := range predicted {
		r.Images = append(r.Images, ImageScore{CC: predicted[i], MeanMap: mean[i]})
		r.MeanMap.CC.Mean += mean[i] / float64(len(mean))
	}
	r.BeatsMean = r.gain().Low > 0
	return r
}

func TestCertaintyIsTheShareOfTheMarginThatTheGainCovers(t *testing.T) {
	// t(0.975, n-1) of 2, 3 and 4 differences, from a table.
	for _, c := range []struct {
		gains []float64
		want  float64
	}{
		{[]float64{0.3, 0.1}, 0.2 / (12.7062 * 0.1)},          // sd / sqrt(n) is 0.1
		{[]float64{0.1, 0.2, 0.0}, 0.1 / (4.3027 * 0.057735)}, // 0.1 / sqrt(3)
		{[]float64{0.3, 0.1, 0.3, 0.1}, 1},                    // 0.2 beyond 3.1824 * 0.057735
		{[]float64{0.1, -0.1, 0.1, 0.0}, 0.025 / (3.1824 * 0.0478714)},
		{[]float64{-0.1, 0.1}, 0},
		{[]float64{-0.3, -0.1}, 0},
		{[]float64{0.2, 0.2, 0.2}, 1}, // no doubt at all
		{[]float64{0, 0, 0}, 0},
		{[]float64{0.5}, 0},
		{nil, 0},
	} {
		if got := compared(c.gains, make([]float64, len(c.gains))).certainty(); math.Abs(got-c.want) > 1e-4 {
			t.Errorf("gains %v: certainty %v, want %v", c.gains, got, c.want)
		}
	}
}

func TestTrustRisesFromAFifthToHalfOfTheWayFromTheMeanMapToHumanMaps(t *testing.T) {
	for _, c := range []struct{ predicted, mean, want float64 }{
		{1, 0.5, 1},
		{0.75, 0.5, 1},
		{0.48, 0.2, 0.5},
		{0.54, -0.15, 1},
		{0.35, 0, 0.5},
		{0.6, 0.5, 0},
		{0.5, 0.5, 0},
		{0.4, 0.5, 0},
		{1, 1, 0},
	} {
		predicted, mean := []float64{c.predicted, c.predicted, c.predicted}, []float64{c.mean, c.mean, c.mean}
		if got := compared(predicted, mean).Trust(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("CC %v against %v: trust %v, want %v", c.predicted, c.mean, got, c.want)
		}
	}
}

func TestItIsCertainExactlyWhereTheMeanMapIsBeaten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cc := rapid.SliceOfN(rapid.Float64Range(-1, 1), 0, 12)
		predicted := cc.Draw(t, "predicted")
		mean := rapid.SliceOfN(rapid.Float64Range(-1, 1), len(predicted), len(predicted)).Draw(t, "mean map")
		r := compared(predicted, mean)
		if trust := r.Trust(); !(trust >= 0 && trust <= 1) {
			t.Fatalf("trust %v, want 0 to 1", trust)
		}
		certainty := r.certainty()
		if r.BeatsMean && certainty != 1 {
			t.Fatalf("the mean map is beaten, and the certainty is %v", certainty)
		}
		if !r.BeatsMean && certainty > 1-1e-9 && r.gain().Low < -1e-9 {
			t.Fatalf("the mean map is not beaten (%+v), and that is certain", r.gain())
		}
	})
}

func TestTrustRisesWithTheGainAndWithTheNumberOfMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gains := rapid.SliceOfN(rapid.Float64Range(-0.5, 0.5), 1, 12).Draw(t, "gains")
		zeros := make([]float64, len(gains))
		trust := compared(gains, zeros).Trust()
		more := rapid.Float64Range(0, 0.5).Draw(t, "more")
		better := make([]float64, len(gains))
		for i, g := range gains {
			better[i] = g + more
		}
		if got := compared(better, zeros).Trust(); got < trust-1e-9 {
			t.Fatalf("gains higher by %v lower the trust from %v to %v", more, trust, got)
		}
		twice := append(append([]float64{}, gains...), gains...)
		if got := compared(twice, make([]float64, len(twice))).Trust(); got < trust-1e-9 {
			t.Fatalf("twice the maps lower the trust from %v to %v", trust, got)
		}
	})
}
