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

	aucs perSeed
}

// newTable summarises the evaluations of a split.
func newTable(split string, runs []run, evaluations []evaluation) *Table {
	t := &Table{Split: split}
	arms, found := byArm(split, runs, evaluations)
	for _, arm := range arms {
		t.Arms = append(t.Arms, newRow(arm, found[arm], found[cyborg.None]))
		for _, j := range found[arm] {
			t.N = j.N
		}
	}
	return t
}

func newRow(arm cyborg.Arm, found, none []judged) Row {
	auc := func(j *judgement) Number { return j.AUC }
	row := Row{Arm: string(arm), Runs: len(found), aucs: of(found, auc)}
	row.AUC, row.SD = row.aucs.mean(), row.aucs.sd()
	row.Accuracy = of(found, func(j *judgement) Number { return j.Accuracy }).mean()
	row.CAM = of(found, func(j *judgement) Number { return j.CAM.CC }).mean()
	d := toNone(arm, row.aucs, of(none, auc))
	row.Difference, row.Low, row.High, row.P = Number(d.Mean), Number(d.Low), Number(d.High), Number(d.P)
	return row
}

// perSeed are values of an arm's runs by their seeds.
type perSeed map[int]float64

// of is a measure of an arm's runs.
func of(found []judged, measure func(*judgement) Number) perSeed {
	values := perSeed{}
	for _, j := range found {
		values[j.seed] = float64(measure(j.judgement))
	}
	return values
}

// list are the values in the order of the seeds.
func (v perSeed) list() []float64 {
	var list []float64
	for _, seed := range slices.Sorted(maps.Keys(v)) {
		list = append(list, v[seed])
	}
	return list
}

func (v perSeed) mean() Number { return Number(metric.Mean(v.list())) }
func (v perSeed) sd() Number   { return Number(metric.SD(v.list())) }

// minus is the paired difference over the seeds that both have.
func (v perSeed) minus(other perSeed) metric.Difference {
	var ours, theirs []float64
	for _, seed := range slices.Sorted(maps.Keys(v)) {
		if x, ok := other[seed]; ok {
			ours, theirs = append(ours, v[seed]), append(theirs, x)
		}
	}
	return metric.PairedDifference(ours, theirs)
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
