package pipeline

import (
	"fmt"

	"github.com/surrogaze/surrogaze/predictor"
)

// Trust is how much predicted maps count in the classifiers' loss beside human ones,
// and on what grounds.
type Trust struct {
	// Weight is the factor of a predicted map's guidance, in [0, 1]; a human map's is 1.
	Weight float64 `json:"weight"`
	// Maps is the number of human maps out of fold, CC and MeanMap the mean correlation
	// of the predicted and of the mean map with them.
	Maps    int     `json:"maps"`
	CC      float64 `json:"cc"`
	MeanMap float64 `json:"mean_map"`
	// Skill is the share of the way from the mean map's CC to that of human maps, 1.
	Skill float64 `json:"skill"`

	beaten bool // whether the mean map is, by more than chance
	full   bool // whether the weight is so because the configuration says so
}

// fullTrust is the value of train.trust for predicted maps that count as human ones do.
const fullTrust = "full"

// trust weighs a predictor's maps by its scores out of fold alone. Those on reference
// maps would let human maps that training may not use, and those of the test split,
// decide how classifiers are trained; and predicted maps guide on training images only.
func (p *Pipeline) trust(s *PredictorScores) Trust {
	return newTrust(s.OutOfFold, p.cfg.Train.Trust == fullTrust)
}

func newTrust(r *predictor.Report, full bool) Trust {
	t := Trust{
		Weight: r.Trust(), Maps: r.Predictor.CC.N, CC: r.Predictor.CC.Mean, MeanMap: r.MeanMap.CC.Mean, Skill: r.Skill(),
		beaten: r.BeatsMean, full: full,
	}
	if full {
		t.Weight = 1
	}
	return t
}

// fewMaps is the number of human maps below which a doubt is put down to their number.
const fewMaps = 10

// String says in plain words what the weight is and why.
func (t Trust) String() string {
	against := fmt.Sprintf("CC %.3f against %.3f", t.CC, t.MeanMap)
	weight := fmt.Sprintf("their weight in the loss is %.2f", t.Weight)
	if t.full {
		weight += ", as train.trust has it"
	}
	switch {
	case t.beaten && t.Weight == 0:
		return fmt.Sprintf("the predicted maps beat the mean map on %d human maps out of fold (%s) but go only %.0f %% of the way to human maps, too little to guide by: %s", t.Maps, against, 100*t.Skill, weight)
	case t.beaten:
		return fmt.Sprintf("the predicted maps beat the mean map on %d human maps out of fold (%s) and go %.0f %% of the way to human maps: %s", t.Maps, against, 100*t.Skill, weight)
	case t.CC <= t.MeanMap:
		return fmt.Sprintf("the predicted maps are no better than the mean map on %d human maps out of fold (%s): %s", t.Maps, against, weight)
	case t.Maps < fewMaps:
		return fmt.Sprintf("%d human maps out of fold are too few to tell whether the predicted maps beat the mean map (%s): %s", t.Maps, against, weight)
	}
	return fmt.Sprintf("the predicted maps are hardly better than the mean map on %d human maps out of fold (%s), no more than chance may give: %s", t.Maps, against, weight)
}
