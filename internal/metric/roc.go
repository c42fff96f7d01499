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

// MacroAUC is the mean over the classes that occur of the AUC of a class against
// the others. scores holds a row of one score a class for each sample, labels
// the sample's class. With two classes it is the AUC of class 1. It is NaN if
// only one class occurs.
//
// Source: scikit-learn's roc_auc_score with multi_class="ovr", average="macro".
func MacroAUC(scores [][]float64, labels []int) float64 {
	pair(len(scores), len(labels))
	if len(scores) == 0 {
		return math.NaN()
	}
	classes := len(scores[0])
	if classes == 2 {
		return classAUC(scores, labels, 1)
	}
	var found []float64
	for k := range classes {
		if slices.Contains(labels, k) {
			found = append(found, classAUC(scores, labels, k))
		}
	}
	return Mean(found)
}

func classAUC(scores [][]float64, labels []int, k int) float64 {
	column, positive := make([]float64, len(labels)), make([]bool, len(labels))
	for i, row := range scores {
		column[i], positive[i] = row[k], labels[i] == k
	}
	return AUC(column, positive)
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

// Accuracy is the share of samples whose class has the highest score, the first
// of equals. scores and labels are those of MacroAUC. NaN of no samples.
func Accuracy(scores [][]float64, labels []int) float64 {
	pair(len(scores), len(labels))
	right := 0
	for i, row := range scores {
		best := 0
		for k, s := range row {
			if s > row[best] {
				best = k
			}
		}
		if best == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// PAD are the errors of presentation attack detection at a threshold, as
// ISO/IEC 30107-3 defines them.
type PAD struct {
	APCER float64 // share of the attacks scored below the threshold; NaN without attacks
	BPCER float64 // share of the bona fide samples scored at least so; NaN without any
	ACER  float64 // mean of the two
}

// PADAt takes high scores for attacks. A NaN score is below any threshold.
func PADAt(scores []float64, attack []bool, threshold float64) PAD {
	pair(len(scores), len(attack))
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
