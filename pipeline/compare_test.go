package pipeline

import (
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
)

func TestConsistencyIsTheMeanCorrelationWithTheOtherRuns(t *testing.T) {
	up, down, flat := []float32{0, 1}, []float32{1, 0}, []float32{1, 1}
	// The first image's maps agree in runs 0 and 1; the second's are constant in run 1.
	got := consistencies([][][]float32{{up, up}, {up, flat}, {down, up}})
	// CC of runs 0 and 1: 1, 0; of 0 and 2: -1, 1; of 1 and 2: -1, 0. Means of pairs: 0.5, 0, -0.5.
	for i, want := range []float64{0.25, 0, -0.25} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("run %d: found %v, want %v", i, got[i], want)
		}
	}
	if one := consistencies([][][]float32{{up}}); !math.IsNaN(one[0]) {
		t.Errorf("one run: found %v, want NaN", one[0])
	}
}

// twoClassed is what a classifier says of a sample of class 0 or 1.
func twoClassed(label int, score float64) scored {
	return scored{Label: label, Scores: []float64{1 - score, score}}
}

func TestRunsAreTestedAgainstNoneOfTheirSeed(t *testing.T) {
	none := &judgement{Samples: []scored{twoClassed(0, 0.4), twoClassed(0, 0.6), twoClassed(1, 0.5), twoClassed(1, 0.3)}}
	perfect := &judgement{Samples: []scored{twoClassed(0, 0.1), twoClassed(0, 0.1), twoClassed(1, 0.9), twoClassed(1, 0.9)}}
	alone := &judgement{Samples: perfect.Samples}
	compareToNone(
		[]run{{arm: cyborg.None}, {arm: cyborg.Combined}, {arm: cyborg.Combined, seed: 1}},
		[]evaluation{{"test": none}, {"test": perfect}, {"test": alone}},
	)
	// By hand: the AUC of none is 1/4 with S10 = S01 = 1/8, so its variance is 1/8; that
	// of the other is 1 with none. z = 0.75 / sqrt(1/8) = 2.1213, P = 0.033895.
	if got := float64(perfect.ToNone); math.Abs(got-0.033895) > 1e-6 {
		t.Errorf("found P %v, want 0.033895", got)
	}
	for name, j := range map[string]*judgement{"none": none, "a seed without none": alone} {
		if !math.IsNaN(float64(j.ToNone)) {
			t.Errorf("%s: found P %v, want NaN", name, j.ToNone)
		}
	}
}

func TestErrorsOfDetectionAreAtTheGivenThreshold(t *testing.T) {
	j := &judgement{Samples: []scored{twoClassed(0, 0.1), twoClassed(0, 0.7), twoClassed(1, 0.8), twoClassed(1, 0.6)}}
	if got, want := j.at(0.65), (pad{0.65, 0.5, 0.5, 0.5}); got != want {
		t.Errorf("found %+v, want %+v", got, want)
	}
	j.Samples[0].Scores = []float64{0.2, 0.3, 0.5}
	if got := j.at(0.65); !math.IsNaN(float64(got.ACER)) {
		t.Errorf("three classes: found %+v, want NaN", got)
	}
}
