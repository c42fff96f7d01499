package pipeline

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/storage"
)

// evaluated is what the evaluate stage leaves.
type evaluated struct {
	evaluations []evaluation // in the order of the runs
	table       *Table
}

// judgedSplits are the splits that classifiers are judged on: val, which may choose
// their epochs and sets the threshold of both, and test.
var judgedSplits = []string{"val", "test"}

// evaluate lets every classifier judge the val and test samples.
func (p *Pipeline) evaluate(ctx context.Context, t *trained, data *annotatedData) (*evaluated, error) {
	events, runs := p.events.of(StageEvaluate), t.runs
	e := &evaluated{evaluations: make([]evaluation, len(runs))}
	dirs := make([]string, len(runs))
	abreast, workers := p.abreast(len(runs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for i, r := range runs {
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			a, err := p.evaluation(groupCtx, r, t.models[i], t.images, data, workers, events)
			if err == nil {
				dirs[i] = a.Dir
				err = readJSON(a.Path(evaluationName), &e.evaluations[i])
			}
			if err != nil {
				return fmt.Errorf("arm %s, seed %d: %w", r.arm, r.seed, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	compareToNone(runs, e.evaluations)
	if err := compareCAMs(runs, e.evaluations, dirs); err != nil {
		return nil, err
	}
	e.table = newTable(p.cfg.Evaluate.Split, runs, e.evaluations)
	e.table.Classes, e.table.Absent = data.set.Classes(), data.absent(p.cfg.Evaluate.Split)
	if err := errors.Join(p.writeResults(runs, e.evaluations, data.set.Classes()), p.writeArms(runs, e.evaluations, data.set.Classes())); err != nil {
		return nil, err
	}
	events.end(fmt.Sprintf("%d classifiers on the %s split", len(runs), p.cfg.Evaluate.Split))
	return e, nil
}

// evaluation is the artefact of what one classifier says.
func (p *Pipeline) evaluation(ctx context.Context, r run, m *cyborg.Model, images *cyborg.Data, data *annotatedData, workers int, events *stageEvents) (*storage.Artefact, error) {
	return p.artefact(ctx, r.evaluation, func(d draft) error {
		events.start("val and test splits")
		found, threshold := evaluation{}, nan()
		for _, split := range judgedSplits {
			if !data.labelled(split) {
				continue
			}
			e, err := m.Evaluate(ctx, images, split, cyborg.Options{Workers: workers, Device: p.cfg.Device, Precision: p.cfg.Precision})
			if err != nil {
				return fmt.Errorf("split %s: %w", split, err)
			}
			j := newJudgement(e)
			if split == "val" {
				threshold = metric.EERThreshold(j.twoClasses())
			}
			j.PAD = j.at(threshold)
			found[split] = j
			if err := writeJSON(d.Path(camsName(split)), storedCAMs(e)); err != nil {
				return err
			}
		}
		return writeJSON(d.Path(evaluationName), found)
	})
}

// resultColumn is a column of results.csv.
type resultColumn struct {
	name  string
	value func(*judgement) Number
}

// resultColumns are the columns of results.csv behind arm, seed, split and n.
var resultColumns = []resultColumn{
	{"auc", func(j *judgement) Number { return j.AUC }},
	{"auc_low", func(j *judgement) Number { return j.AUCLow }},
	{"auc_high", func(j *judgement) Number { return j.AUCHigh }},
	{"auc_p_to_none", func(j *judgement) Number { return j.ToNone }},
	{"accuracy", func(j *judgement) Number { return j.Accuracy }},
	{"balanced_accuracy", func(j *judgement) Number { return j.BalancedAccuracy }},
	{"f1", func(j *judgement) Number { return j.F1 }},
	{"loss", func(j *judgement) Number { return j.Loss }},
	{"brier", func(j *judgement) Number { return j.Brier }},
	{"ece", func(j *judgement) Number { return j.ECE }},
	{"d_prime", func(j *judgement) Number { return j.DPrime }},
	{"eer", func(j *judgement) Number { return j.EER }},
	{"tpr_at_fpr_0.001", func(j *judgement) Number { return j.TPR[0] }},
	{"tpr_at_fpr_0.002", func(j *judgement) Number { return j.TPR[1] }},
	{"tpr_at_fpr_0.01", func(j *judgement) Number { return j.TPR[2] }},
	{"tpr_at_fpr_0.05", func(j *judgement) Number { return j.TPR[3] }},
	{"tpr_at_fpr_0.1", func(j *judgement) Number { return j.TPR[4] }},
	{"threshold", func(j *judgement) Number { return j.PAD.Threshold }},
	{"apcer", func(j *judgement) Number { return j.PAD.APCER }},
	{"bpcer", func(j *judgement) Number { return j.PAD.BPCER }},
	{"acer", func(j *judgement) Number { return j.PAD.ACER }},
	{"cam_cc", func(j *judgement) Number { return j.CAM.CC }},
	{"cam_sim", func(j *judgement) Number { return j.CAM.SIM }},
	{"cam_kl", func(j *judgement) Number { return j.CAM.KL }},
	{"cam_mse", func(j *judgement) Number { return j.CAM.MSE }},
	{"cam_nss", func(j *judgement) Number { return j.CAM.NSS }},
	{"cam_auc", func(j *judgement) Number { return j.CAM.AUC }},
	{"cam_iou", func(j *judgement) Number { return j.CAM.IoU }},
	{"cam_entropy", func(j *judgement) Number { return j.CAM.Entropy }},
	{"cam_consistency", func(j *judgement) Number { return j.CAM.Consistency }},
}

// classColumns are further columns of more than two classes, two a class. Of two
// classes AUC says the same of both.
func classColumns(classes []string) []resultColumn {
	if len(classes) <= 2 {
		return nil
	}
	var columns []resultColumn
	for k, name := range classes {
		columns = append(columns,
			resultColumn{"auc_of_" + name, func(j *judgement) Number { return j.ClassAUC[k] }},
			resultColumn{"recall_of_" + name, func(j *judgement) Number { return j.recall(k) }})
	}
	return columns
}

// writeResults writes results.csv, one row for each arm, seed and split, and
// confusion.csv, one for each pair of classes besides. They hold no times or paths; a
// value that is not defined is an empty field.
func (p *Pipeline) writeResults(runs []run, evaluations []evaluation, classes []string) error {
	columns := slices.Concat(resultColumns, classColumns(classes))
	header := []string{"arm", "seed", "split", "n"}
	for _, column := range columns {
		header = append(header, column.name)
	}
	err := p.writeTable("results.csv", header, runs, evaluations, func(row []string, j *judgement) [][]string {
		row = append(row, strconv.Itoa(j.N))
		for _, column := range columns {
			row = append(row, field(column.value(j)))
		}
		return [][]string{row}
	})
	if err != nil {
		return err
	}
	header = []string{"arm", "seed", "split", "label", "predicted", "n"}
	return p.writeTable("confusion.csv", header, runs, evaluations, func(begin []string, j *judgement) [][]string {
		var rows [][]string
		for label, counts := range j.Confusion {
			for predicted, n := range counts {
				rows = append(rows, append(slices.Clone(begin), classes[label], classes[predicted], strconv.Itoa(n)))
			}
		}
		return rows
	})
}

// writeTable writes a CSV file with the rows of every run and split that is judged,
// each of which begins with arm, seed and split.
func (p *Pipeline) writeTable(name string, header []string, runs []run, evaluations []evaluation, rows func(begin []string, j *judgement) [][]string) error {
	return storage.AtomicWrite(p.outPath(name), func(w io.Writer) error {
		c := csv.NewWriter(w)
		if err := c.Write(header); err != nil {
			return err
		}
		for i, r := range runs {
			for _, split := range judgedSplits {
				j := evaluations[i][split]
				if j == nil {
					continue
				}
				if err := c.WriteAll(rows([]string{string(r.arm), strconv.Itoa(r.seed), split}, j)); err != nil {
					return err
				}
			}
		}
		c.Flush()
		return c.Error()
	})
}

func field(v Number) string {
	if math.IsNaN(float64(v)) {
		return ""
	}
	return strconv.FormatFloat(float64(v), 'g', 8, 64)
}
