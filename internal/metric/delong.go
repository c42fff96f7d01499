package metric

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// DeLong is the [AUC] of [OneVsRest] with the interval in which it lies for other
// samples of the same classes, cut to [0, 1]:
//
//	AUC ± 1.96 sqrt(S10 / positives + S01 / negatives)
//
// S10 is the variance over the positives of the share of negatives that a positive
// outscores, where equal scores count half; S01 that over the negatives of the
// share of positives by which one is outscored. With more than two classes a
// sample i has such a share in the AUC of every class k, and the variance is that
// of their mean, class by class:
//
//	sum over classes c of n(c) var of h(i) over i in c
//	h(i) = mean over classes k of share(i, k) / samples on i's side of k
//
// The interval is NaN where a class that occurs has one sample; of perfect scores
// it has no width. Samples of one class give NaN, and so does a score of NaN.
//
// Source: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more
// correlated receiver operating characteristic curves (1988).
func DeLong(scores [][]float64, labels []int) Interval {
	i := fromParts(parts(scores, labels), labels).Interval
	return Interval{i.Mean, max(i.Low, 0), min(i.High, 1)}
}

// DeLongTest compares the AUCs of two classifiers on the same samples: a's less
// b's with the interval of [DeLong], and P by the normal distribution. It says what
// other samples would show of the same two classifiers; what other trainings would
// show, [PairedDifference] says. Low, High and P are NaN where [DeLong]'s interval
// is, and P is if all samples have the same part in both AUCs.
func DeLongTest(a, b [][]float64, labels []int) Difference {
	d := parts(a, labels)
	for i, v := range parts(b, labels) {
		d[i] -= v
	}
	return fromParts(d, labels)
}

// fromParts is a sum of AUCs whose parts add up to twice it, independent between
// samples.
func fromParts(parts []float64, labels []int) Difference {
	var variance float64
	for _, c := range occurring(labels) {
		h := ofClass(parts, labels, c)
		variance += float64(len(h)) * square(SD(h))
	}
	mean, sd := float64(len(parts))*Mean(parts)/2, math.Sqrt(variance)
	half := distuv.UnitNormal.Quantile(0.975) * sd
	return Difference{Interval{mean, mean - half, mean + half}, math.Erfc(math.Abs(mean) / sd / math.Sqrt2)}
}

// parts are the samples' parts in the mean of the AUCs of the classes.
func parts(scores [][]float64, labels []int) []float64 {
	sum := make([]float64, len(labels))
	classes := judged(scores, labels)
	for _, k := range classes {
		for i, v := range placements(against(scores, labels, k)) {
			sum[i] += v / float64(len(classes))
		}
	}
	return sum
}

// placements are, for each sample, the share of the other class that it lies on the
// right side of, divided by the number of samples of its own: those of a class add
// up to the AUC. They are NaN with one class only.
//
// Source: Sun and Xu, Fast implementation of DeLong's algorithm (2014).
func placements(scores []float64, positive []bool) []float64 {
	if slices.ContainsFunc(scores, math.IsNaN) {
		return slices.Repeat([]float64{math.NaN()}, len(scores))
	}
	found, all := make([]float64, len(scores)), ranks(scores)
	for _, class := range []bool{false, true} {
		var members []int
		var own []float64
		for i, p := range positive {
			if p == class {
				members, own = append(members, i), append(own, scores[i])
			}
		}
		n := float64(len(members))
		others := float64(len(scores)) - n
		for k, rank := range ranks(own) {
			below := (all[members[k]] - rank) / others
			if !class {
				below = 1 - below
			}
			found[members[k]] = below / n
		}
	}
	return found
}
