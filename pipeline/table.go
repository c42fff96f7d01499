package pipeline

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
)

// Table compares the arms on one split.
type Table struct {
	Split string `json:"split"`
	N     int    `json:"n"` // labelled samples of the split
	Arms  []Row  `json:"arms"`
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
	// Difference is the mean paired difference of the AUC to arm none, Low to High
	// its 95 % confidence interval, P that of the paired t-test.
	Difference Number `json:"difference"`
	Low        Number `json:"low"`
	High       Number `json:"high"`
	P          Number `json:"p"`

	aucs []float64 // by seed
}

// newTable summarises the evaluations of a split.
func newTable(split string, runs []run, evaluations []evaluation) *Table {
	t := &Table{Split: split}
	arms, found := byArm(split, runs, evaluations)
	none := aucs(found[cyborg.None])
	for _, arm := range arms {
		t.Arms = append(t.Arms, newRow(arm, found[arm], none))
		for _, j := range found[arm] {
			t.N = j.N
		}
	}
	return t
}

func newRow(arm cyborg.Arm, found []*judgement, none []float64) Row {
	auc := aucs(found)
	row := Row{Arm: string(arm), Runs: len(found), aucs: auc, AUC: Number(metric.Mean(auc)), SD: Number(metric.SD(auc))}
	row.Accuracy = Number(metric.Mean(values(found, func(e *judgement) Number { return e.Accuracy })))
	row.CAM = Number(metric.Mean(values(found, func(e *judgement) Number { return e.CAM.CC })))
	d := toNone(arm, auc, none)
	row.Difference, row.Low, row.High, row.P = Number(d.Mean), Number(d.Low), Number(d.High), Number(d.P)
	return row
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
		fmt.Fprintf(tab, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Arm, r.Runs,
			number("%.3f", r.AUC), number("%.3f", r.SD), number("%+.3f", r.Difference), bounds("%+.3f", r.Low, r.High),
			number("%.3f", r.Accuracy), number("%.2f", r.CAM))
	}
	return tab.Flush()
}

// bounds are the ends of an interval.
func bounds(format string, low, high Number) string {
	if math.IsNaN(float64(low)) {
		return "-"
	}
	return fmt.Sprintf("["+format+", "+format+"]", low, high)
}

func number(format string, v Number) string {
	if math.IsNaN(float64(v)) {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf(format, float64(v)))
}
