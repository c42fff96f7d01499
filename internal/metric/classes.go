package metric

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// OneVsRest is a measure of two classes as one of several: the mean over the
// classes that occur of the measure of a class against the others. scores holds a
// row of one score a class for each sample, labels the sample's class, counted
// from 0. With two classes it is the measure of class 1. It is NaN of no samples.
//
// Source: scikit-learn's roc_auc_score with multi_class="ovr", average="macro",
// for the measure [AUC].
func OneVsRest(scores [][]float64, labels []int, measure func(scores []float64, positive []bool) float64) float64 {
	var found []float64
	for _, k := range judged(scores, labels) {
		found = append(found, measure(against(scores, labels, k)))
	}
	return Mean(found)
}

// judged are the classes that are held against the rest.
func judged(scores [][]float64, labels []int) []int {
	pair(len(scores), len(labels))
	if len(scores) > 0 && len(scores[0]) == 2 {
		return []int{1}
	}
	return occurring(labels)
}

// occurring are the classes of the samples, each once, rising.
func occurring(labels []int) []int { return slices.Compact(slices.Sorted(slices.Values(labels))) }

// against are the scores of class k and which samples are of it.
func against(scores [][]float64, labels []int, k int) (column []float64, positive []bool) {
	column, positive = make([]float64, len(labels)), make([]bool, len(labels))
	for i, row := range scores {
		column[i], positive[i] = row[k], labels[i] == k
	}
	return column, positive
}

// ClassAUCs are the [AUC] of every class against the others, whose mean is that of
// [OneVsRest]; NaN of a class that does not occur.
func ClassAUCs(scores [][]float64, labels []int, classes int) []float64 {
	found := make([]float64, classes)
	for k := range found {
		found[k] = AUC(against(scores, labels, k))
	}
	return found
}

// MacroROC is the ROC curve as one of several: at every FPR that a class has, the
// mean over the classes that occur of the highest TPR there, each against the
// others, so that its TPR at an FPR is the [OneVsRest] of [TPRAtFPR]. Its points have
// no thresholds: they are NaN. With two classes it is the [ROC] of class 1. It is nil
// where that is.
func MacroROC(scores [][]float64, labels []int) []ROCPoint {
	classes := judged(scores, labels)
	if len(classes) == 1 {
		return ROC(against(scores, labels, classes[0]))
	}
	var curves [][]ROCPoint
	var rates []float64
	for _, k := range classes {
		curve := ROC(against(scores, labels, k))
		if curve == nil {
			return nil
		}
		curves = append(curves, curve)
		for _, p := range curve {
			rates = append(rates, p.FPR)
		}
	}
	slices.Sort(rates)
	rates = slices.Compact(rates)
	return meanCurve(curves, rates)
}

// meanCurve is the mean of the highest TPRs of some curves at rising FPRs.
func meanCurve(curves [][]ROCPoint, rates []float64) []ROCPoint {
	mean := make([]ROCPoint, len(rates))
	at := make([]int, len(curves)) // the point in force of each curve
	for i, rate := range rates {
		mean[i] = ROCPoint{FPR: rate, Threshold: math.NaN()}
		for c, curve := range curves {
			for at[c]+1 < len(curve) && curve[at[c]+1].FPR <= rate {
				at[c]++
			}
			mean[i].TPR += curve[at[c]].TPR / float64(len(curves))
		}
	}
	return mean
}

// Confusion counts the samples by their class and by the class of the highest score,
// the first of equals: found[i][j] are of class i and are taken for j. A sample with
// a score of NaN is not counted.
func Confusion(scores [][]float64, labels []int, classes int) [][]int {
	pair(len(scores), len(labels))
	found := make([][]int, classes)
	for i := range found {
		found[i] = make([]int, classes)
	}
	for i, row := range scores {
		if highest := slices.Max(row); !math.IsNaN(highest) {
			found[labels[i]][slices.Index(row, highest)]++
		}
	}
	return found
}

// F1 is the mean over the classes of their F1 scores
//
//	2 true positives / (2 true positives + false positives + false negatives)
//
// by a matrix of [Confusion], in [0, 1]; 1 is perfect. Classes that neither occur nor
// are predicted are left out. NaN of no samples.
//
// Source: scikit-learn's f1_score with average="macro".
func F1(confusion [][]int) float64 {
	var found []float64
	for k, row := range confusion {
		members := 0 // of class k, and those taken for it
		for i, n := range row {
			members += n + confusion[i][k]
		}
		if members > 0 {
			found = append(found, 2*float64(row[k])/float64(members))
		}
	}
	return Mean(found)
}

// Accuracy is the share of samples whose class has the highest score, the first
// of equals. scores and labels are those of [OneVsRest]. NaN of no samples.
func Accuracy(scores [][]float64, labels []int) float64 { return share(hits(scores, labels)) }

// BalancedAccuracy is the mean over the classes that occur of the share of their
// samples that [Accuracy] counts: chance is 1 / classes however many samples each
// has. NaN of no samples.
//
// Source: scikit-learn's balanced_accuracy_score.
func BalancedAccuracy(scores [][]float64, labels []int) float64 {
	var recalls []float64
	hits := hits(scores, labels)
	for _, k := range occurring(labels) {
		recalls = append(recalls, share(ofClass(hits, labels, k)))
	}
	return Mean(recalls)
}

// hits are 1 where the sample's class has the highest score, 0 where another has,
// and NaN where a score is.
func hits(scores [][]float64, labels []int) []float64 {
	pair(len(scores), len(labels))
	found := make([]float64, len(labels))
	for i, row := range scores {
		switch highest := slices.Max(row); {
		case math.IsNaN(highest):
			found[i] = highest
		case slices.Index(row, highest) == labels[i]:
			found[i] = 1
		}
	}
	return found
}

// share is the part of the hits, rounded once.
func share(hits []float64) float64 { return floats.Sum(hits) / float64(len(hits)) }

// ofClass are the values of the samples of class k.
func ofClass(values []float64, labels []int, k int) []float64 {
	var found []float64
	for i, label := range labels {
		if label == k {
			found = append(found, values[i])
		}
	}
	return found
}

// Brier is the mean squared error of probabilities: with two classes
//
//	mean of (p[1] - [label is 1])², in [0, 1],
//
// and with more
//
//	mean of sum over classes k of (p[k] - [label is k])², in [0, 2].
//
// 0 is certain and right. The rows of p sum to 1; labels are those of [OneVsRest].
// NaN of no samples.
//
// Source: Brier, Verification of forecasts expressed in terms of probability
// (1950), scaled as scikit-learn's brier_score_loss.
func Brier(p [][]float64, labels []int) float64 {
	pair(len(p), len(labels))
	errors := make([]float64, len(labels))
	for i, row := range p {
		for k, v := range row {
			if k == labels[i] {
				v = 1 - v
			}
			errors[i] += v * v
		}
		if len(row) == 2 {
			errors[i] /= 2
		}
	}
	return Mean(errors)
}

// calibrationBins is the number of bins of [ECE], as in its source's experiments.
const calibrationBins = 15

// ECE is the expected calibration error: how far confidence is from accuracy. The
// confidence of a sample is the highest of its probabilities p, which falls into
// one of 15 bins (0, 1/15], (1/15, 2/15], ...; with n samples in all
//
//	sum over bins of samples in the bin / n * |accuracy there - mean confidence there|
//
// in [0, 1]; 0 is calibrated. labels are those of [OneVsRest]. NaN of no samples.
//
// Source: Guo et al., On calibration of modern neural networks (2017).
func ECE(p [][]float64, labels []int) float64 {
	var gaps [calibrationBins]float64 // sum of (hit - confidence) over the bin
	for i, hit := range hits(p, labels) {
		confidence := slices.Max(p[i])
		if math.IsNaN(confidence) {
			return confidence
		}
		bin := int(math.Ceil(confidence*calibrationBins)) - 1
		gaps[min(max(bin, 0), calibrationBins-1)] += hit - confidence
	}
	var sum float64
	for _, gap := range gaps {
		sum += math.Abs(gap)
	}
	return sum / float64(len(p))
}
