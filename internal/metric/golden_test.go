package metric

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strconv"
	"testing"
)

// number is a value of goldens.json, where null stands for NaN.
type number float64

func (n *number) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		*n = number(math.NaN())
		return nil
	}
	v, err := strconv.ParseFloat(string(text), 64)
	*n = number(v)
	return err
}

// goldens is testdata/goldens.json, written by testdata/gen.py.
type goldens struct {
	Maps []struct {
		A, B                             []float32
		Threshold, CC, SIM, KL, MSE, AUC number
		IoU, NSS, Entropy                number
	}
	Binary []struct {
		Scores               []float64
		Positive             []bool
		FPR, TPR, Thresholds []float64
		AUC, EER             number
		At10                 number `json:"tpr_at_0.1"`
		At30                 number `json:"tpr_at_0.3"`
		APCER, BPCER, ACER   number
		EERThreshold         number `json:"eer_threshold"`
		DPrime               number
	}
	Several []struct {
		Scores     [][]float64
		Labels     []int
		AUC, EER   number
		Accuracy   number
		Balanced   number
		Brier, ECE number
		F1         number
		Confusion  [][]int
		Classes    []number
		FPR, TPR   []number // of the mean curve; more than two classes
	}
	Compared []struct {
		A, B           [][]float64
		Labels         []int
		AUC, Low, High number
		Difference, P  number
		DifferenceLow  number `json:"difference_low"`
		DifferenceHigh number `json:"difference_high"`
	}
	Pairs []struct {
		A, B                  []float64
		Mean, SD, Spearman    number
		Difference, Low, High number
		P                     number
	}
}

func readGoldens(t *testing.T) goldens {
	t.Helper()
	text, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// check compares a measure with the golden, which has twelve digits.
func check(t *testing.T, i int, name string, got float64, want number) {
	t.Helper()
	w := float64(want)
	if math.IsNaN(got) && math.IsNaN(w) || math.Abs(got-w) <= 1e-9*math.Max(1, math.Abs(w)) {
		return
	}
	t.Errorf("case %d: %s: found %v, want %v", i, name, got, w)
}

func TestMapMeasuresEqualPysaliencys(t *testing.T) {
	for i, g := range readGoldens(t).Maps {
		check(t, i, "CC", CC(g.A, g.B), g.CC)
		check(t, i, "SIM", SIM(g.A, g.B), g.SIM)
		check(t, i, "KL", KL(g.A, g.B), g.KL)
		check(t, i, "MSE", MSE(g.A, g.B), g.MSE)
		check(t, i, "MapAUC", MapAUC(g.A, g.B, float64(g.Threshold)), g.AUC)
		check(t, i, "IoU", IoU(g.A, g.B, float64(g.Threshold)), g.IoU)
		check(t, i, "NSS", NSS(g.A, g.B, float64(g.Threshold)), g.NSS)
		check(t, i, "Entropy", Entropy(g.A), g.Entropy)
	}
}

func TestTwoClassMeasuresEqualScikitLearns(t *testing.T) {
	for i, g := range readGoldens(t).Binary {
		check(t, i, "AUC", AUC(g.Scores, g.Positive), g.AUC)
		check(t, i, "EER", EER(g.Scores, g.Positive), g.EER)
		check(t, i, "EERThreshold", EERThreshold(g.Scores, g.Positive), g.EERThreshold)
		check(t, i, "DPrime", DPrime(g.Scores, g.Positive), g.DPrime)
		check(t, i, "TPR at FPR 0.1", TPRAtFPR(g.Scores, g.Positive, 0.1), g.At10)
		check(t, i, "TPR at FPR 0.3", TPRAtFPR(g.Scores, g.Positive, 0.3), g.At30)
		pad := PADAt(g.Scores, g.Positive, 0.5)
		check(t, i, "APCER", pad.APCER, g.APCER)
		check(t, i, "BPCER", pad.BPCER, g.BPCER)
		check(t, i, "ACER", pad.ACER, g.ACER)
	}
}

func TestROCEqualsScikitLearns(t *testing.T) {
	for i, g := range readGoldens(t).Binary {
		points := ROC(g.Scores, g.Positive)
		if len(points) != len(g.FPR) || points[0] != (ROCPoint{0, 0, math.Inf(1)}) {
			t.Errorf("case %d: found %v, want %d points from (0, 0) at +Inf", i, points, len(g.FPR))
			continue
		}
		for k, p := range points {
			check(t, i, "FPR", p.FPR, number(g.FPR[k]))
			check(t, i, "TPR", p.TPR, number(g.TPR[k]))
			if k > 0 {
				check(t, i, "threshold", p.Threshold, number(g.Thresholds[k-1]))
			}
		}
	}
}

func TestMeasuresOfSeveralClassesEqualScikitLearns(t *testing.T) {
	for i, g := range readGoldens(t).Several {
		check(t, i, "AUC", OneVsRest(g.Scores, g.Labels, AUC), g.AUC)
		check(t, i, "EER", OneVsRest(g.Scores, g.Labels, EER), g.EER)
		check(t, i, "Accuracy", Accuracy(g.Scores, g.Labels), g.Accuracy)
		check(t, i, "BalancedAccuracy", BalancedAccuracy(g.Scores, g.Labels), g.Balanced)
		check(t, i, "Brier", Brier(g.Scores, g.Labels), g.Brier)
		check(t, i, "ECE", ECE(g.Scores, g.Labels), g.ECE)
		confusion := Confusion(g.Scores, g.Labels, len(g.Classes))
		if !reflect.DeepEqual(confusion, g.Confusion) {
			t.Errorf("case %d: found the confusion %v, want %v", i, confusion, g.Confusion)
		}
		check(t, i, "F1", F1(confusion), g.F1)
		for k, auc := range ClassAUCs(g.Scores, g.Labels, len(g.Classes)) {
			check(t, i, "AUC of class "+strconv.Itoa(k), auc, g.Classes[k])
		}
	}
}

func TestTheMeanCurveOfSeveralClassesEqualsScikitLearns(t *testing.T) {
	for i, g := range readGoldens(t).Several {
		points := MacroROC(g.Scores, g.Labels)
		if len(g.FPR) == 0 {
			if scores, positive := against(g.Scores, g.Labels, 1); !reflect.DeepEqual(points, ROC(scores, positive)) {
				t.Errorf("case %d: the curve of two classes is not that of class 1", i)
			}
			continue
		}
		if len(points) != len(g.FPR) {
			t.Errorf("case %d: found %d points, want %d", i, len(points), len(g.FPR))
			continue
		}
		for k, p := range points {
			check(t, i, "FPR", p.FPR, g.FPR[k])
			check(t, i, "TPR", p.TPR, g.TPR[k])
		}
	}
}

func TestDeLongEqualsTheComparisonOfEveryPair(t *testing.T) {
	for i, g := range readGoldens(t).Compared {
		auc := DeLong(g.A, g.Labels)
		check(t, i, "AUC", auc.Mean, g.AUC)
		check(t, i, "AUC's lower end", auc.Low, g.Low)
		check(t, i, "AUC's upper end", auc.High, g.High)
		d := DeLongTest(g.A, g.B, g.Labels)
		check(t, i, "difference", d.Mean, g.Difference)
		check(t, i, "lower end", d.Low, g.DifferenceLow)
		check(t, i, "upper end", d.High, g.DifferenceHigh)
		check(t, i, "P", d.P, g.P)
	}
}

func TestStatisticsEqualSciPys(t *testing.T) {
	for i, g := range readGoldens(t).Pairs {
		check(t, i, "Mean", Mean(g.A), g.Mean)
		check(t, i, "SD", SD(g.A), g.SD)
		check(t, i, "Spearman", Spearman(g.A, g.B), g.Spearman)
		d := PairedDifference(g.A, g.B)
		check(t, i, "difference", d.Mean, g.Difference)
		check(t, i, "lower end", d.Low, g.Low)
		check(t, i, "upper end", d.High, g.High)
		check(t, i, "P", d.P, g.P)
	}
}
