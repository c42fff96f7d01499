package metric

import (
	"cmp"
	"math"
	"slices"
)

// ROCPoint is what a detector that fires at scores of at least Threshold does.
type ROCPoint struct {
	FPR       float64 // share of the negatives at which it fires
	TPR       float64 // share of the positives at which it fires
	Threshold float64
}

// ROC lists the points of the ROC curve from (0, 0) at the threshold +Inf to
// (1, 1), one for each distinct score from the highest. With one class only, or
// a NaN among the scores, there is no curve: it returns nil.
//
// Source: scikit-learn's roc_curve with drop_intermediate=False.
func ROC(scores []float64, positive []bool) []ROCPoint {
	pair(len(scores), len(positive))
	negatives, positives := 0, 0
	order := make([]int, len(scores))
	for i, s := range scores {
		if math.IsNaN(s) {
			return nil
		}
		order[i] = i
		if positive[i] {
			positives++
		} else {
			negatives++
		}
	}
	if negatives == 0 || positives == 0 {
		return nil
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	points := []ROCPoint{{Threshold: math.Inf(1)}}
	falsely, truly := 0, 0
	for at, i := range order {
		if positive[i] {
			truly++
		} else {
			falsely++
		}
		if at+1 < len(order) && scores[order[at+1]] == scores[i] {
			continue
		}
		points = append(points, ROCPoint{float64(falsely) / float64(negatives), float64(truly) / float64(positives), scores[i]})
	}
	return points
}

// AUC is the area under the ROC curve: the probability that a random positive
// scores above a random negative, where equal scores count half. It is NaN with
// one class only. Source: Fawcett, An introduction to ROC analysis (2006).
func AUC(scores []float64, positive []bool) float64 { return area(ROC(scores, positive)) }

func area(points []ROCPoint) float64 {
	if points == nil {
		return math.NaN()
	}
	var sum float64
	for i, p := range points[1:] {
		sum += (p.FPR - points[i].FPR) * (p.TPR + points[i].TPR) / 2
	}
	return sum
}

// EER is the equal error rate: the false positive rate where it equals the false
// negative rate, on the ROC curve with straight lines between its points. NaN
// with one class only.
func EER(scores []float64, positive []bool) float64 {
	points := ROC(scores, positive)
	for i, p := range points {
		// FPR less the false negative rate rises along the curve from -1 to 1.
		above := p.FPR + p.TPR - 1
		if above < 0 {
			continue
		}
		before := points[i-1]
		below := before.FPR + before.TPR - 1
		return before.FPR + (p.FPR-before.FPR)*below/(below-above)
	}
	return math.NaN()
}

// EERThreshold is where false positive and false negative rate are nearest to each
// other, the highest such score: where a detector is set to work on validation
// samples, to be judged by [PADAt] on others. Of the thresholds down to the next
// lower score, which all have the same errors, it is the one in the middle, so that
// where the two classes lie apart it keeps away from both. NaN with one class only.
func EERThreshold(scores []float64, positive []bool) float64 {
	points := ROC(scores, positive)
	if points == nil {
		return math.NaN()
	}
	points = points[1:] // without +Inf, at which nothing fires
	best, pairs := 0, pairs(positive)
	for i, p := range points {
		if gap(p, pairs) < gap(points[best], pairs) {
			best = i
		}
	}
	threshold := points[best].Threshold
	if best+1 < len(points) {
		lower := points[best+1].Threshold
		if middle := lower + (threshold-lower)/2; middle > lower {
			return middle
		}
	}
	return threshold
}

// gap is how far apart false positive and false negative rate are, times so many pairs
// of a positive and a negative: a whole number, so that rounding decides between no two
// points.
func gap(p ROCPoint, pairs float64) float64 { return math.Round(math.Abs(p.FPR+p.TPR-1) * pairs) }

// pairs is the number of positives times that of negatives.
func pairs(positive []bool) float64 {
	positives := 0.0
	for _, p := range positive {
		if p {
			positives++
		}
	}
	return positives * (float64(len(positive)) - positives)
}

// TPRAtFPR is the highest true positive rate of any threshold whose false
// positive rate is at most the limit: the true detection rate at a false
// detection rate, and 1 less APCER at a BPCER. NaN with one class only.
func TPRAtFPR(scores []float64, positive []bool, limit float64) float64 {
	best := math.NaN()
	for _, p := range ROC(scores, positive) {
		if p.FPR <= limit {
			best = p.TPR
		}
	}
	return best
}

// PAD are the errors of presentation attack detection at a threshold, as
// ISO/IEC 30107-3 defines them.
type PAD struct {
	APCER float64 // share of the attacks scored below the threshold; NaN without attacks
	BPCER float64 // share of the bona fide samples scored at least so; NaN without any
	ACER  float64 // mean of the two
}

// PADAt takes high scores for attacks. A NaN score is below any threshold; at a
// threshold of NaN all is NaN.
func PADAt(scores []float64, attack []bool, threshold float64) PAD {
	pair(len(scores), len(attack))
	if math.IsNaN(threshold) {
		return PAD{threshold, threshold, threshold}
	}
	var attacks, missed, alarms float64
	for i, s := range scores {
		switch fires := s >= threshold; {
		case attack[i]:
			attacks++
			if !fires {
				missed++
			}
		case fires:
			alarms++
		}
	}
	p := PAD{APCER: missed / attacks, BPCER: alarms / (float64(len(scores)) - attacks)}
	p.ACER = (p.APCER + p.BPCER) / 2
	return p
}

// DPrime is how far apart the scores of the two classes lie, in standard
// deviations:
//
//	(mean of positives - mean of negatives) / sqrt((var of positives + var of negatives) / 2)
//
// with n-1 in the variances. Scores that do not tell the classes apart have 0, two
// normal ones an AUC of Phi(d' / sqrt 2). It is NaN of fewer than two samples of a
// class and where both classes' scores are constant.
//
// Source: Daugman, Biometric decision landscapes (2000), with a sign.
func DPrime(scores []float64, positive []bool) float64 {
	pair(len(scores), len(positive))
	var above, below []float64
	for i, s := range scores {
		if positive[i] {
			above = append(above, s)
		} else {
			below = append(below, s)
		}
	}
	spread := math.Sqrt((square(SD(above)) + square(SD(below))) / 2)
	if spread == 0 {
		return math.NaN()
	}
	return (Mean(above) - Mean(below)) / spread
}

func square(v float64) float64 { return v * v }
