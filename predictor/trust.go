package predictor

import "github.com/surrogaze/surrogaze/internal/metric"

// Trust is how much the predictor's maps may count in a classifier's loss beside
// human ones, in [0, 1], by how far they are better than the mean map:
//
//	trust = min(1, max(0, mean / margin)),  margin = t(0.975, n-1) sd / sqrt(n)
//
// where mean and sd are of the n differences, image by image, between the CC of the
// predicted and of the mean map. It is 1 from where the 95 % interval of the mean
// difference lies above 0 (BeatsMean), falls in proportion to the gain or as the
// interval widens, be it by noise or for want of maps, and is 0 where there is no gain
// or not even two images to tell it by.
func (r *Report) Trust() float64 {
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
