package predictor

import "github.com/surrogaze/surrogaze/internal/metric"

// Trust is how much the predictor's maps may count in a classifier's loss beside
// human ones, in [0, 1], by how surely and how far they are better than the mean map:
//
//	trust = certainty * min(1, max(0, (skill - 0.2) / 0.3))
//
//	certainty = min(1, max(0, gain / margin)),  margin = t(0.975, n-1) sd / sqrt(n)
//	skill     = gain / (1 - CC of the mean map)
//
// where gain and sd are the mean and standard deviation of the n differences, image by
// image, between the CC of the predicted and of the mean map. Certainty is 1 from where
// the 95 % interval of the gain lies above 0 (BeatsMean), falls in proportion to the gain
// or as the interval widens, be it by noise or for want of maps, and is 0 where there is
// no gain or not even two images to tell it by. Skill is how much of the way from the
// mean map to human maps the predictor goes: up to a fifth its maps count nothing, from
// half of it as much as human ones.
func (r *Report) Trust() float64 {
	return r.certainty() * min(1, max(0, (r.Skill()-poorSkill)/(fairSkill-poorSkill)))
}

// The skill up to which maps did harm in the project's trials, and from which they did
// as well as full weight (docs/adr/0013).
const (
	poorSkill = 0.2
	fairSkill = 0.5
)

// Skill is the share of the way from the mean map's CC to 1 that the predictor's goes, in
// [0, 1]; 0 without images.
func (r *Report) Skill() float64 {
	if gain := r.gain().Mean; gain > 0 {
		return min(1, gain/(1-r.MeanMap.CC.Mean))
	}
	return 0
}

// certainty is how sure it is that the mean map is beaten.
func (r *Report) certainty() float64 {
	gain := r.gain()
	margin := gain.High - gain.Mean
	switch {
	case r.BeatsMean:
		return 1
	case gain.Mean > 0 && margin > 0:
		return min(1, gain.Mean/margin)
	}
	return 0
}

// gain is how much higher the predictor's CC is than the mean map's.
func (r *Report) gain() metric.Difference {
	predicted, mean := make([]float64, len(r.Images)), make([]float64, len(r.Images))
	for i, image := range r.Images {
		predicted[i], mean[i] = image.CC, image.MeanMap
	}
	return metric.PairedDifference(predicted, mean)
}
