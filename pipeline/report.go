package pipeline

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/report"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// findings is all that a report and a summary are made from.
type findings struct {
	recipes   *recipes
	fitted    *fitted
	data      *annotatedData
	trained   *trained
	evaluated *evaluated
	steps     []Step
}

// report writes summary.json and report.html.
func (p *Pipeline) report(ctx context.Context, f findings) error {
	events := p.events.of(StageReport)
	events.start("summary.json and report.html")
	on, err := p.predictOptions().Ran()
	if err != nil {
		return err
	}
	if f.steps, err = p.plan(f.recipes); err != nil {
		return err
	}
	if err := writeJSON(p.outPath("summary.json"), p.summaryFile(f, on)); err != nil {
		return err
	}
	r, err := p.newReport(ctx, f, on)
	if err != nil {
		return err
	}
	err = storage.AtomicWrite(p.outPath("report.html"), func(w io.Writer) error { return report.Write(w, r) })
	if err != nil {
		return err
	}
	events.end(p.outPath("report.html"))
	return nil
}

func (p *Pipeline) summaryFile(f findings, on storage.Ran) summaryFile {
	s := summaryFile{
		Name: p.cfg.Name, Version: p.options.Version, Go: runtime.Version(), Hardware: p.options.Hardware,
		Device: on.Device, Precision: on.Precision, Created: time.Now().UTC().Truncate(time.Second),
		Seconds: map[Stage]float64{}, Table: f.evaluated.table, Predictor: f.fitted.scores, Trust: f.fitted.trust, Data: f.data.Summary,
		Diverged: f.trained.failures(),
	}
	took := map[Stage]time.Duration{}
	for _, x := range f.steps {
		took[x.Stage] += x.Took
	}
	for stage, d := range took {
		s.Seconds[stage] = math.Round(d.Seconds()*10) / 10
	}
	return s
}

func (p *Pipeline) newReport(ctx context.Context, f findings, on storage.Ran) (*report.Report, error) {
	r := &report.Report{
		Name: p.cfg.Name, Split: p.cfg.Evaluate.Split, Classes: f.data.set.Classes(),
		Predictor: newPredictorReport(p.cfg.Predictor.Folds, f.fitted),
		Data:      newDataReport(f.data),
	}
	if f.fitted.scores.Torn { // the page itself says where the mean map is not beaten
		r.Warnings = []string{tornWarning}
	}
	for _, gap := range f.data.gaps() {
		r.Warnings = append(r.Warnings, "In this data set "+gap+".")
	}
	for _, failure := range f.trained.failures() {
		r.Warnings = append(r.Warnings, "A training is not in these results: "+failure+".")
	}
	for i, x := range f.trained.runs {
		r.Runs = append(r.Runs, newRunReport(x, f.trained.models[i], f.evaluated.evaluations[i][r.Split]))
		if j := f.evaluated.evaluations[i][r.Split]; j != nil {
			r.Images, r.Mapped = j.N, j.Mapped
		}
	}
	var err error
	if r.Making, err = p.making(f, on); err != nil {
		return nil, err
	}
	r.Examples, err = p.examples(ctx, f)
	return r, err
}

// newRunReport takes j of nil for a run that was not judged.
func newRunReport(x run, m *cyborg.Model, j *judgement) report.Run {
	if j == nil {
		j = unjudged()
	}
	s := m.Summary()
	r := report.Run{Arm: string(x.arm), Index: x.seed, Errors: newErrors(j), CAM: newLook(j.CAM), Best: s.Best.Epoch}
	for _, e := range s.History {
		epoch := report.Epoch{TrainLoss: e.TrainLoss, ValLoss: nan(), ValAUC: nan(), Alpha: nan()}
		if e.Validation != nil {
			epoch.ValLoss, epoch.ValAUC = float64(e.Validation.Loss), float64(e.Validation.AUC)
		}
		if m.Config().AlphaSchedule != "" && e.Guided > 0 {
			epoch.Alpha = e.Alpha
		}
		r.History = append(r.History, epoch)
	}
	scores, labels := j.columns()
	r.ROC, r.Confusion, r.Scores = metric.MacroROC(scores, labels), j.Confusion, newScoreHistogram(scores, labels)
	for _, auc := range j.ClassAUC {
		r.ClassAUC = append(r.ClassAUC, float64(auc))
	}
	return r
}

func newScoreHistogram(scores [][]float64, labels []int) report.ScoreHistogram {
	var h report.ScoreHistogram
	for i, row := range scores {
		for k, p := range row {
			if k == 1 || len(row) > 2 {
				h.Add(p, labels[i] == k)
			}
		}
	}
	return h
}

func newErrors(j *judgement) report.Errors {
	return report.Errors{
		AUC:    metric.Interval{Mean: float64(j.AUC), Low: float64(j.AUCLow), High: float64(j.AUCHigh)},
		ToNone: float64(j.ToNone), Accuracy: float64(j.Accuracy), EER: float64(j.EER), ECE: float64(j.ECE),
		BalancedAccuracy: float64(j.BalancedAccuracy), F1: float64(j.F1),
		PAD: metric.PAD{APCER: float64(j.PAD.APCER), BPCER: float64(j.PAD.BPCER), ACER: float64(j.PAD.ACER)},
	}
}

func newLook(c cams) report.Look {
	return report.Look{
		CC: float64(c.CC), SIM: float64(c.SIM), KL: float64(c.KL), NSS: float64(c.NSS), IoU: float64(c.IoU),
		Entropy: float64(c.Entropy), Consistency: float64(c.Consistency),
	}
}

func newPredictorReport(folds int, f *fitted) *report.Predictor {
	r := f.course
	r.Annotator, r.Trust = f.scores.Annotator, f.trust.String()
	if f.scores.Reference != nil {
		r.Checks = append(r.Checks, newCheck("human maps kept from training", f.scores.Reference))
	}
	outOfFold := newCheck(fmt.Sprintf("out of fold, at most %d folds by group", folds), f.scores.OutOfFold)
	outOfFold.Doubt = f.trust.String()
	r.Checks = append(r.Checks, outOfFold)
	return &r
}

func newCheck(how string, r *predictor.Report) report.Check {
	c := report.Check{
		HeldOut: how, N: r.Predictor.CC.N, BeatsMean: r.BeatsMean,
		Predictor: newScores(r.Predictor), MeanMap: newScores(r.MeanMap), Centre: newScores(r.Centre),
	}
	for _, x := range r.Images {
		c.Images = append(c.Images, report.ImageScore{CC: x.CC, Quality: x.Quality})
	}
	return c
}

func newScores(s predictor.Scores) report.Scores {
	return report.Scores{CC: mean(s.CC), SIM: mean(s.SIM), KL: mean(s.KL), MSE: mean(s.MSE), AUC: mean(s.AUC)}
}

func mean(a predictor.Average) float64 {
	if a.N == 0 {
		return nan()
	}
	return a.Mean
}

func newDataReport(data *annotatedData) report.Data {
	d := report.Data{Quality: data.quality}
	for _, c := range data.Counts {
		d.Counts = append(d.Counts, report.Count{Split: c.Split, Class: c.Class, Source: c.Source, N: c.N})
	}
	for _, e := range data.Excluded {
		d.Excluded = append(d.Excluded, report.Excluded{Reason: e.Reason, N: e.N})
	}
	return d
}

func (p *Pipeline) making(f findings, on storage.Ran) (report.Making, error) {
	config, err := p.cfg.YAML()
	if err != nil {
		return report.Making{}, err
	}
	m := report.Making{Command: p.options.Command, Config: string(config), Facts: p.facts(on)}
	for _, stage := range Stages() {
		s, artefacts := report.Stage{Name: string(stage)}, 0
		for _, x := range f.steps {
			if x.Stage == stage {
				artefacts++
				s.Key = x.Key
				s.Took += x.Took
			}
		}
		if artefacts > 1 { // each has a key of its own
			s.Key = ""
		}
		if artefacts > 0 {
			m.Stages = append(m.Stages, s)
		}
	}
	return m, nil
}

// facts are the versions and the hardware that results depend on.
func (p *Pipeline) facts(on storage.Ran) []report.Fact {
	return []report.Fact{
		{Name: "surrogaze", Value: p.options.Version},
		{Name: "Go", Value: runtime.Version()},
		{Name: "hardware", Value: p.options.Hardware},
		{Name: "device and precision", Value: fmt.Sprintf("%s, %s (asked for: %s, %s)", on.Device, on.Precision, p.cfg.Device, p.cfg.Precision)},
		{Name: "seed", Value: fmt.Sprintf("%d, %d paired runs an arm", p.cfg.Seed, p.cfg.Train.Seeds)},
	}
}

// examples are images of the judged split with their maps: those with a human map
// first, the classes in turn.
func (p *Pipeline) examples(ctx context.Context, f findings) ([]report.Example, error) {
	rows := exampleRows(f.data.set.Rows(), p.cfg.Evaluate.Split, p.cfg.Report.Examples, p.cfg.Seed)
	var samples []storage.Sample
	for s, err := range f.data.set.Read(ctx, rows) {
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	examples := make([]report.Example, len(samples))
	for i, s := range samples {
		var err error
		if examples[i], err = newExample(s, f.data.set.Classes()); err != nil {
			return nil, fmt.Errorf("example %q: %w", s.ID, err)
		}
		examples[i].CC = f.fitted.scores.cc(s.ID)
	}
	return examples, p.addCAMs(ctx, f, samples, examples)
}

// exampleRows picks n rows of a split.
func exampleRows(rows []storage.Row, split string, n int, seed int64) []int {
	var mapped, others []candidate
	index := map[string]int{}
	for i, r := range rows {
		if r.Split != split || r.Label == storage.NoLabel {
			continue
		}
		index[r.ID] = i
		if r.HasReference || r.SaliencySource == storage.SourceHuman {
			mapped = append(mapped, candidate{r.ID, r.Label})
		} else {
			others = append(others, candidate{r.ID, r.Label})
		}
	}
	var picked []int
	for _, list := range [][]candidate{mapped, others} {
		if room := n - len(picked); room > 0 {
			for id := range chooseByClass(list, room, seed) {
				picked = append(picked, index[id])
			}
		}
	}
	slices.Sort(picked)
	return picked
}

func newExample(s storage.Sample, classes []string) (report.Example, error) {
	e := report.Example{ID: s.ID, Label: className(classes, s.Label), Split: s.Split, CC: nan(), Quality: nan()}
	var err error
	if e.Image, err = report.Picture(s.Image.Bytes); err != nil {
		return e, err
	}
	human, predicted := s.Reference, s.Saliency
	if s.SaliencySource == storage.SourceHuman {
		human, predicted = s.Saliency, s.Predicted
	} else {
		e.Quality = float64(s.SaliencyQuality)
	}
	if human.Present() {
		if e.Human, err = report.Overlay(s.Image.Bytes, human.Bytes); err != nil {
			return e, err
		}
	}
	if predicted.Present() {
		e.Predicted, err = report.Overlay(s.Image.Bytes, predicted.Bytes)
	}
	return e, err
}

// addCAMs adds to the examples what the first classifier of every arm looks at.
func (p *Pipeline) addCAMs(ctx context.Context, f findings, samples []storage.Sample, examples []report.Example) error {
	for i, x := range f.trained.runs {
		if x.seed != 0 {
			continue
		}
		maps, err := f.trained.models[i].Maps(ctx, samples, cyborg.Options{Workers: p.workers, Device: p.cfg.Device, Precision: p.cfg.Precision})
		if err != nil {
			return err
		}
		said := map[string]scored{}
		if j := f.evaluated.evaluations[i][p.cfg.Evaluate.Split]; j != nil {
			for _, s := range j.Samples {
				said[s.ID] = s
			}
		}
		for k, s := range samples {
			cam, err := newCAM(x, s, maps[k], said[s.ID], f.data.set.Classes())
			if err != nil {
				return fmt.Errorf("example %q: %w", s.ID, err)
			}
			examples[k].CAMs = append(examples[k].CAMs, cam)
		}
	}
	return nil
}

func newCAM(x run, s storage.Sample, m cyborg.Map, said scored, classes []string) (report.CAM, error) {
	c := report.CAM{Arm: string(x.arm), Score: nan(), CC: nan()}
	var err error
	if c.Picture, err = report.OverlayMap(s.Image.Bytes, m.W, m.H, m.Pix); err != nil {
		return c, err
	}
	if len(said.Scores) > 0 {
		best := slices.Index(said.Scores, slices.Max(said.Scores))
		c.Class, c.Score, c.Right, c.CC = className(classes, int64(best)), said.Scores[best], best == said.Label, float64(said.CAM)
	}
	return c, nil
}
