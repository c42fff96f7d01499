package pipeline

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
)

// Table compares the arms on one split.
type Table struct {
	Split string `json:"split"`
	N     int    `json:"n"` // labelled samples of the split
	// Classes are the names of all classes, Absent of those that the split has no sample
	// of. With more than two the AUC is the mean over those that it has.
	Classes []string `json:"classes"`
	Absent  []string `json:"absent,omitempty"`
	Arms    []Row    `json:"arms"`
}

// Row is one arm of a table. Numbers that are not defined are NaN here and null
// in JSON.
type Row struct {
	Arm      string `json:"arm"`
	Runs     int    `json:"runs"`
	AUC      Number `json:"auc"` // mean over the runs
	SD       Number `json:"sd"`  // of the AUC over the runs
	Accuracy Number `json:"accuracy"`
	CAM      Number `json:"cam_cc"` // agreement of the CAMs with human maps
	// Difference is the mean difference of the AUC to arm none over the seeds of which
	// both have a run, Low to High its 95 % confidence interval, P that of the paired
	// t-test.
	Difference Number `json:"difference"`
	Low        Number `json:"low"`
	High       Number `json:"high"`
	P          Number `json:"p"`
}

// newTable summarises the evaluations of a split.
func newTable(split string, runs []run, evaluations []evaluation) *Table {
	t := &Table{Split: split}
	byArm, bySeed := map[cyborg.Arm][]*judgement{}, map[cyborg.Arm]map[int]Number{}
	var arms []cyborg.Arm
	for i, r := range runs {
		if bySeed[r.arm] == nil {
			bySeed[r.arm] = map[int]Number{}
			arms = append(arms, r.arm)
		}
		if e := evaluations[i][split]; e != nil {
			byArm[r.arm] = append(byArm[r.arm], e)
			bySeed[r.arm][r.seed] = e.AUC
			t.N = e.N
		}
	}
	for _, arm := range arms {
		row := newRow(arm, byArm[arm])
		if arm != cyborg.None {
			row.compare(bySeed[arm], bySeed[cyborg.None])
		}
		t.Arms = append(t.Arms, row)
	}
	return t
}

func newRow(arm cyborg.Arm, found []*judgement) Row {
	auc := aucs(found)
	row := Row{Arm: string(arm), Runs: len(found), AUC: Number(metric.Mean(auc)), SD: Number(metric.SD(auc))}
	row.Accuracy = Number(metric.Mean(values(found, func(e *judgement) Number { return e.Accuracy })))
	row.CAM = Number(metric.Mean(values(found, func(e *judgement) Number { return e.CAM.CC })))
	row.Difference, row.Low, row.High, row.P = Number(nan()), Number(nan()), Number(nan()), Number(nan())
	return row
}

// compare takes the AUCs of the arm and of arm none, by the seeds of their runs.
func (r *Row) compare(arm, none map[int]Number) {
	var ours, theirs []float64
	for _, seed := range slices.Sorted(maps.Keys(arm)) {
		if auc, ok := none[seed]; ok {
			ours, theirs = append(ours, float64(arm[seed])), append(theirs, float64(auc))
		}
	}
	if len(ours) > 0 {
		d := metric.PairedDifference(ours, theirs)
		r.Difference, r.Low, r.High, r.P = Number(d.Mean), Number(d.Low), Number(d.High), Number(d.P)
	}
}

func aucs(found []*judgement) []float64 {
	return values(found, func(e *judgement) Number { return e.AUC })
}

func values(found []*judgement, of func(*judgement) Number) []float64 {
	list := make([]float64, len(found))
	for i, e := range found {
		list[i] = float64(of(e))
	}
	return list
}

// Write writes the table for people.
func (t *Table) Write(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "arm\truns\t%s AUC\tsd\tto none\t95%% interval\taccuracy\tCAM CC\t\n", t.Split)
	for _, r := range t.Arms {
		interval := "-"
		if !math.IsNaN(float64(r.Low)) {
			interval = fmt.Sprintf("[%+.3f, %+.3f]", r.Low, r.High)
		}
		fmt.Fprintf(tab, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Arm, r.Runs,
			number("%.3f", r.AUC), number("%.3f", r.SD), number("%+.3f", r.Difference), interval,
			number("%.3f", r.Accuracy), number("%.2f", r.CAM))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, t.note())
	return err
}

// note says what the AUC is of, where there are more than two classes.
func (t *Table) note() string {
	n := len(t.Classes)
	switch {
	case n <= 2:
		return ""
	case len(t.Absent) == 0:
		return fmt.Sprintf("AUC: mean over the %d classes, each against the rest\n", n)
	}
	return fmt.Sprintf("AUC: mean over %d of the %d classes, each against the rest; the %s split has no sample of %q\n", n-len(t.Absent), n, t.Split, t.Absent)
}

func number(format string, v Number) string {
	if math.IsNaN(float64(v)) {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf(format, float64(v)))
}
