package pipeline

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/storage"
)

// ofOneRun are the columns of results.csv that say nothing in means over the seeds.
var ofOneRun = []string{"auc_low", "auc_high", "auc_p_to_none", "threshold"}

// armColumns are the columns of arms.csv.
var armColumns = []string{"arm", "split", "measure", "runs", "mean", "sd", "to_none", "to_none_low", "to_none_high", "to_none_p"}

// writeArms writes arms.csv: one row for each arm, split and measure of results.csv,
// over the seeds. A value that is not defined is an empty field.
func (p *Pipeline) writeArms(runs []run, evaluations []evaluation, classes []string) error {
	columns := slices.Concat(resultColumns, classColumns(classes))
	return storage.AtomicWrite(p.outPath("arms.csv"), func(w io.Writer) error {
		c := csv.NewWriter(w)
		if err := c.Write(armColumns); err != nil {
			return err
		}
		for _, split := range judgedSplits {
			arms, found := byArm(split, runs, evaluations)
			for _, arm := range arms {
				if err := writeArm(c, columns, split, arm, found[arm], found[cyborg.None]); err != nil {
					return err
				}
			}
		}
		c.Flush()
		return c.Error()
	})
}

// writeArm writes the rows of an arm's runs on a split beside those of none.
func writeArm(c *csv.Writer, columns []resultColumn, split string, arm cyborg.Arm, found, none []judged) error {
	if len(found) == 0 {
		return nil
	}
	for _, column := range columns {
		if slices.Contains(ofOneRun, column.name) {
			continue
		}
		own := of(found, column.value)
		row := []string{string(arm), split, column.name, strconv.Itoa(len(found)), field(own.mean()), field(own.sd())}
		d := toNone(arm, own, of(none, column.value))
		for _, v := range []float64{d.Mean, d.Low, d.High, d.P} {
			row = append(row, field(Number(v)))
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// judged is what a run was judged to be.
type judged struct {
	seed int
	*judgement
}

// byArm are the arms in the order in which they come first, and their judgements of a
// split in the order of the seeds.
func byArm(split string, runs []run, evaluations []evaluation) (arms []cyborg.Arm, found map[cyborg.Arm][]judged) {
	found = map[cyborg.Arm][]judged{}
	for i, r := range runs {
		if !slices.Contains(arms, r.arm) {
			arms = append(arms, r.arm)
		}
		if j := evaluations[i][split]; j != nil {
			found[r.arm] = append(found[r.arm], judged{r.seed, j})
		}
	}
	return arms, found
}

// toNone is the difference of an arm's values to those of none; NaN without none, and
// of none itself.
func toNone(arm cyborg.Arm, values, none perSeed) metric.Difference {
	if arm == cyborg.None {
		none = nil
	}
	return values.minus(none)
}
