package pipeline

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/storage"
)

// evaluated is what the evaluate stage leaves.
type evaluated struct {
	evaluations []evaluation // in the order of the runs
	table       *Table
}

// evaluation is what one classifier says of the samples, by split.
type evaluation map[string]*judgement

// judgement is what a classifier says of one split.
type judgement struct {
	N        int      `json:"n"` // labelled samples
	AUC      Number   `json:"auc"`
	Accuracy Number   `json:"accuracy"`
	Loss     Number   `json:"loss"`
	EER      Number   `json:"eer"`
	CAM      Number   `json:"cam_cc"` // mean correlation of the CAMs with human maps
	CAMs     int      `json:"cams"`   // samples that have one
	Samples  []scored `json:"samples"`
}

// scored is what a classifier says of one sample.
type scored struct {
	ID     string    `json:"id"`
	Label  int       `json:"label"`
	Scores []float64 `json:"scores"` // softmax
	CAM    Number    `json:"cam_cc"`
}

func newJudgement(e *cyborg.Evaluation) *judgement {
	j := &judgement{
		N: e.N, AUC: Number(e.AUC), Accuracy: Number(e.Accuracy), Loss: Number(e.Loss), EER: Number(e.EER),
		CAM: Number(e.Agreement.CC), CAMs: e.Agreement.N,
	}
	for _, s := range e.Samples {
		j.Samples = append(j.Samples, scored{s.ID, s.Label, s.Scores, Number(s.CC)})
	}
	return j
}

// evaluationName is the file of an evaluation's artefact.
const evaluationName = "evaluation.json"

// judgedSplits are the splits that classifiers are judged on: val, which chose
// their epochs, and test.
var judgedSplits = []string{"val", "test"}

// evaluate lets every classifier judge the val and test samples.
func (p *Pipeline) evaluate(ctx context.Context, runs []run, t *trained, data *annotatedData) (*evaluated, error) {
	events := p.events.of(StageEvaluate)
	e := &evaluated{evaluations: make([]evaluation, len(runs))}
	abreast, workers := p.abreast(len(runs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for i, r := range runs {
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			found, err := p.evaluation(groupCtx, r, t.models[i], t.images, data, workers, events)
			if err != nil {
				return fmt.Errorf("arm %s, seed %d: %w", r.arm, r.seed, err)
			}
			e.evaluations[i] = found
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	e.table = newTable(p.cfg.Evaluate.Split, runs, e.evaluations)
	if err := p.writeResults(runs, e.evaluations); err != nil {
		return nil, err
	}
	events.end(fmt.Sprintf("%d classifiers on the %s split", len(runs), p.cfg.Evaluate.Split))
	return e, nil
}

func (p *Pipeline) evaluation(ctx context.Context, r run, m *cyborg.Model, images *cyborg.Data, data *annotatedData, workers int, events *stageEvents) (evaluation, error) {
	a, err := p.artefact(ctx, r.evaluation, func(d draft) error {
		events.start("val and test splits")
		found := evaluation{}
		for _, split := range judgedSplits {
			if !data.labelled(split) {
				continue
			}
			e, err := m.Evaluate(ctx, images, split, cyborg.Options{Workers: workers, Device: p.cfg.Device, Precision: p.cfg.Precision})
			if err != nil {
				return fmt.Errorf("split %s: %w", split, err)
			}
			found[split] = newJudgement(e)
		}
		return writeJSON(d.Path(evaluationName), found)
	})
	if err != nil {
		return nil, err
	}
	found := evaluation{}
	return found, readJSON(a.Path(evaluationName), &found)
}

// resultColumns are the columns of results.csv behind arm, seed and split.
var resultColumns = []struct {
	name  string
	value func(*judgement) Number
}{
	{"auc", func(j *judgement) Number { return j.AUC }},
	{"accuracy", func(j *judgement) Number { return j.Accuracy }},
	{"loss", func(j *judgement) Number { return j.Loss }},
	{"eer", func(j *judgement) Number { return j.EER }},
	{"cam_cc", func(j *judgement) Number { return j.CAM }},
}

// writeResults writes results.csv: one row for each arm, seed and split. It holds
// no times or paths; a value that is not defined is an empty field.
func (p *Pipeline) writeResults(runs []run, evaluations []evaluation) error {
	return storage.AtomicWrite(p.outPath("results.csv"), func(w io.Writer) error {
		c := csv.NewWriter(w)
		header := []string{"arm", "seed", "split", "n"}
		for _, column := range resultColumns {
			header = append(header, column.name)
		}
		if err := c.Write(header); err != nil {
			return err
		}
		for i, r := range runs {
			for _, split := range judgedSplits {
				j := evaluations[i][split]
				if j == nil {
					continue
				}
				row := []string{string(r.arm), strconv.Itoa(r.seed), split, strconv.Itoa(j.N)}
				for _, column := range resultColumns {
					row = append(row, field(column.value(j)))
				}
				if err := c.Write(row); err != nil {
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
