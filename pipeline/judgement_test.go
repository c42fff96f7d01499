package pipeline

import (
	"encoding/json"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
)

func TestAJudgementOfAnySamplesCanBeStored(t *testing.T) {
	for name, samples := range map[string][]cyborg.Scored{
		"two classes":     {{Label: 0, Scores: []float64{0.75, 0.25}}, {Label: 1, Scores: []float64{0.5, 0.5}}, {Label: 1, Scores: []float64{0, 1}}},
		"three classes":   {{Label: 0, Scores: []float64{1, 0, 0}}, {Label: 1, Scores: []float64{0.25, 0.5, 0.25}}, {Label: 2, Scores: []float64{0.5, 0.25, 0.25}}},
		"perfect scores":  {{Label: 0, Scores: []float64{1, 0}}, {Label: 0, Scores: []float64{1, 0}}, {Label: 1, Scores: []float64{0, 1}}, {Label: 1, Scores: []float64{0, 1}}},
		"constant scores": {{Label: 0, Scores: []float64{0.5, 0.5}}, {Label: 1, Scores: []float64{0.5, 0.5}}},
		"one class":       {{Label: 1, Scores: []float64{0.5, 0.5}}, {Label: 1, Scores: []float64{0.25, 0.75}}},
		"one sample":      {{Label: 0, Scores: []float64{0.5, 0.5}}},
	} {
		want := newJudgement(&cyborg.Evaluation{N: len(samples), Samples: samples})
		want.PAD = want.at(0.5)
		stored, err := json.Marshal(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got judgement
		if err := json.Unmarshal(stored, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := json.Marshal(got); err != nil || string(again) != string(stored) {
			t.Errorf("%s: found %s (error %v), want what was stored, %s", name, again, err, stored)
		}
	}
}
