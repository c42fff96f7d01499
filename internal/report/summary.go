package report

import (
	"sort"

	"github.com/surrogaze/surrogaze/internal/metric"
)

// summary is what the runs of one arm come to.
type summary struct {
	armInfo
	colour             int
	runs               []Run
	auc, accuracy, cam stat
	difference         metric.Difference // of the AUC to the arm none, over pairs of runs
	pairs              int
}

// stat is the mean of the finite values of n runs and their spread.
type stat struct {
	mean, sd float64
	n        int
}

func statOf(runs []Run, value func(Run) float64) stat {
	var values []float64
	for _, r := range runs {
		if v := value(r); finite(v) {
			values = append(values, v)
		}
	}
	return stat{metric.Mean(values), metric.SD(values), len(values)}
}

func auc(r Run) float64 { return r.AUC.Mean }

// column is a measure of runs in a table that compares arms.
type column struct {
	Name, Note string
	value      func(Run) float64
}

// errorColumns are the measures by which classifiers of two or of several classes are
// compared beside AUC and accuracy.
func errorColumns(several bool) []column {
	columns := []column{
		{"EER", "", func(r Run) float64 { return r.EER }},
		{"TPR", "at FPR 1 %", func(r Run) float64 { return tprAt(r.ROC, 0.01) }},
	}
	if several {
		columns = append(columns,
			column{"balanced accuracy", "", func(r Run) float64 { return r.BalancedAccuracy }},
			column{"F1", "", func(r Run) float64 { return r.F1 }})
	} else {
		columns = append(columns,
			column{"APCER", "", func(r Run) float64 { return r.PAD.APCER }},
			column{"BPCER", "", func(r Run) float64 { return r.PAD.BPCER }},
			column{"ACER", "", func(r Run) float64 { return r.PAD.ACER }})
	}
	return append(columns, column{"ECE", "", func(r Run) float64 { return r.ECE }})
}

// lookColumns are the measures of class activation maps beside their CC.
var lookColumns = []column{
	{"SIM ↑", "", func(r Run) float64 { return r.CAM.SIM }},
	{"KL ↓", "", func(r Run) float64 { return r.CAM.KL }},
	{"NSS ↑", "", func(r Run) float64 { return r.CAM.NSS }},
	{"IoU ↑", "", func(r Run) float64 { return r.CAM.IoU }},
	{"entropy", "of the CAM", func(r Run) float64 { return r.CAM.Entropy }},
	{"between runs", "CC", func(r Run) float64 { return r.CAM.Consistency }},
}

// cells are the means and spreads of an arm's runs in some columns.
func cells(runs []Run, columns []column) []string {
	var found []string
	for _, c := range columns {
		found = append(found, meanSD(statOf(runs, c.value)))
	}
	return found
}

// tprAt is the highest true positive rate at a false positive rate of at most
// fpr; NaN without a curve.
func tprAt(roc []metric.ROCPoint, fpr float64) float64 {
	above := sort.Search(len(roc), func(i int) bool { return roc[i].FPR > fpr })
	if above == 0 {
		return nan
	}
	return roc[above-1].TPR
}

// summarise gathers the runs by arm, in the order in which the arms come first.
func summarise(runs []Run) []summary {
	var arms []summary
	at := map[string]int{}
	unknown := 0
	for _, r := range runs {
		i, ok := at[r.Arm]
		if !ok {
			i = len(arms)
			at[r.Arm] = i
			colour, info := armOf(r.Arm, unknown)
			if colour >= len(known) {
				unknown++
			}
			arms = append(arms, summary{armInfo: info, colour: colour})
		}
		arms[i].runs = append(arms[i].runs, r)
	}
	none := find(arms, "none")
	for i := range arms {
		arms[i].measure(none)
	}
	return arms
}

func (s *summary) measure(none *summary) {
	s.auc = statOf(s.runs, auc)
	s.accuracy = statOf(s.runs, func(r Run) float64 { return r.Accuracy })
	s.cam = statOf(s.runs, func(r Run) float64 { return r.CAM.CC })
	s.difference, s.pairs = paired(s, none)
}

// interval is that of the AUC of an arm's only run, over other images; "" of more
// runs.
func (s *summary) interval() string {
	if len(s.runs) != 1 {
		return ""
	}
	return interval(s.runs[0].AUC)
}

// paired is the difference of the AUC of a to that of b over runs of the same
// index. Without b, or of b to itself, there is none.
func paired(a, b *summary) (metric.Difference, int) {
	var left, right []float64
	if b != nil && a.name != b.name {
		for _, r := range a.runs {
			for _, s := range b.runs {
				if r.Index == s.Index && finite(auc(r)) && finite(auc(s)) {
					left, right = append(left, auc(r)), append(right, auc(s))
				}
			}
		}
	}
	return metric.PairedDifference(left, right), len(left)
}

func find(arms []summary, name string) *summary {
	for i := range arms {
		if arms[i].name == name {
			return &arms[i]
		}
	}
	return nil
}
