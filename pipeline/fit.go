package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/surrogaze/surrogaze/internal/report"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// PredictorScores say how good the predictor, or what draws maps in its place, is on
// human maps that it had not seen.
type PredictorScores struct {
	// Annotator draws the maps: the predictor, or who stands in for it.
	Annotator string `json:"annotator,omitempty"`
	// OutOfFold is about the annotated images, each drawn by a model that was fitted
	// without its group.
	OutOfFold *predictor.Report `json:"out_of_fold"`
	// Torn reports that the annotated images lie in so few groups that folds had to
	// divide them: the scores out of fold are then too good.
	Torn bool `json:"torn,omitempty"`
	// Reference is about the human maps that were kept from training, predicted by
	// the model itself; nil if there are none.
	Reference *predictor.Report `json:"reference,omitempty"`
}

// HeldOut is the report on reference maps where there are any, else out of fold.
func (s *PredictorScores) HeldOut() *predictor.Report {
	if s.Reference != nil {
		return s.Reference
	}
	return s.OutOfFold
}

// cc is the correlation of a sample's predicted map with its human map, NaN where
// there is no human map.
func (s *PredictorScores) cc(id string) float64 {
	for _, r := range []*predictor.Report{s.Reference, s.OutOfFold} {
		if r == nil {
			continue
		}
		for _, x := range r.Images {
			if x.ID == id {
				return x.CC
			}
		}
	}
	return nan()
}

// annotator draws maps: a predictor.Model, or what is used like one.
type annotator interface {
	Annotate(ctx context.Context, in iter.Seq2[storage.Sample, error], options predictor.Options) iter.Seq2[predictor.Prediction, error]
}

// fitted is what the fit stage leaves.
type fitted struct {
	artefact   *storage.Artefact
	annotator  annotator
	course     report.Predictor      // of the fit
	pretrained *predictor.Pretrained // nil if all began at random
	heldOut    *storage.Dataset      // the annotated samples with their out-of-fold maps
	scores     *PredictorScores
	trust      Trust
}

// Files of a predictor's artefact, and the folders of its draft.
const (
	modelName       = "model.safetensors"
	scoresName      = "scores.json"
	heldOutFolder   = "out-of-fold"
	checkpointsName = "checkpoints"
)

// fit fits the annotator on the human maps, and again without each fold of them.
func (p *Pipeline) fit(ctx context.Context, r recipe, in *annotated) (*fitted, error) {
	events := p.events.of(StageFit)
	fill, open := p.makePredictor, p.openPredictor
	if p.cfg.Annotate.Teaches() {
		fill, open = p.makeTeacher, p.openTeacher
	}
	a, err := p.artefact(ctx, r, func(d draft) error { return fill(ctx, d, in, events) })
	if err != nil {
		return nil, err
	}
	f, err := open(a)
	if err != nil {
		return nil, err
	}
	f.artefact, f.scores = a, &PredictorScores{Annotator: p.cfg.Annotate.Annotator}
	if f.heldOut, err = storage.Open(a.Path(heldOutFolder)); err != nil {
		return nil, err
	}
	if err := readJSON(a.Path(scoresName), f.scores); err != nil {
		return nil, err
	}
	f.trust = p.trust(f.scores)
	for _, w := range f.warnings() {
		events.warn(w)
	}
	text := describeScores(f.scores)
	if f.pretrained != nil {
		text += ", from " + f.pretrained.String()
	}
	events.end(text)
	return f, nil
}

// openPredictor reads what makePredictor left, and lays the model out.
func (p *Pipeline) openPredictor(a *storage.Artefact) (*fitted, error) {
	model, err := predictor.Load(a.Path(modelName))
	if err != nil {
		return nil, err
	}
	if err := p.place(a.Path(modelName), "models", "predictor.safetensors"); err != nil {
		return nil, err
	}
	s := model.Summary()
	f := &fitted{annotator: model, pretrained: s.Pretrained, course: report.Predictor{Train: s.Train, Validation: s.Validation, Best: s.Best.Step}}
	for _, x := range s.History {
		point := report.Point{Step: x.Step, TrainLoss: x.TrainLoss, Loss: nan(), CC: nan()}
		if v := x.Validation; v != nil {
			point.Loss, point.CC = v.Loss, v.CC
		}
		f.course.History = append(f.course.History, point)
	}
	return f, nil
}

func describeScores(s *PredictorScores) string {
	held := s.HeldOut()
	text := fmt.Sprintf("CC %.3f on %d held-out human maps (mean map %.3f, centre %.3f)",
		held.Predictor.CC.Mean, held.Predictor.CC.N, held.MeanMap.CC.Mean, held.Centre.CC.Mean)
	return text
}

const tornWarning = "the human maps lie in fewer than three groups, so that folds had to divide groups: scores out of fold are too good"

// warnings say in plain words why not to trust the predictor or its scores.
func (f *fitted) warnings() []string {
	var list []string
	if f.scores.Torn {
		list = append(list, tornWarning)
	}
	if !f.trust.beaten {
		list = append(list, f.trust.String())
	}
	if r := f.scores.Reference; r != nil && !r.BeatsMean {
		list = append(list, fmt.Sprintf("on the human maps kept from training %s does not beat the mean map by more than chance: guidance by its maps is not to be trusted", f.scores.subject()))
	}
	return list
}

// subject is the annotator in a sentence.
func (s *PredictorScores) subject() string {
	if s.Annotator == "predictor" {
		return "the predictor"
	}
	return "the annotator " + s.Annotator
}

func (p *Pipeline) makePredictor(ctx context.Context, d draft, in *annotated, events *stageEvents) error {
	examples, err := in.examples(ctx, true)
	if err != nil {
		return err
	}
	if len(examples) == 0 {
		return dataError(ctx, errNoMaps)
	}
	cfg := p.fitConfig()
	folded := predictor.FoldsOf(cfg, examples)
	events.start(fmt.Sprintf("%d human maps%s, once for all and once for each of %d folds", len(examples), steps(cfg), folded))
	progress := newFitProgress(events, cfg, folded, d.record)
	checkpoints := d.Path(checkpointsName)
	folds, err := predictor.FitFolds(ctx, cfg, examples, checkpoints, progress.fold)
	if err != nil {
		return err
	}
	model, err := predictor.Fit(ctx, cfg, examples, nil, d.Path(checkpointsName, "all"), progress.all)
	if err != nil {
		return err
	}
	model.Calibrate(folds)
	scores := PredictorScores{OutOfFold: &folds.Report, Torn: folds.Torn}
	if scores.Reference, err = p.scoreReferences(ctx, model, in); err != nil {
		return err
	}
	if err := p.writeFitted(d, in, examples, folds, scores); err != nil {
		return err
	}
	if err := model.Save(d.Path(modelName)); err != nil {
		return err
	}
	return os.RemoveAll(checkpoints)
}

// steps tells how long a fit takes; nothing of a baseline, which takes none.
func steps(cfg predictor.Config) string {
	switch {
	case cfg.Method != "":
		return ""
	case cfg.Ensemble > 1:
		return fmt.Sprintf(", %d networks of %d steps", cfg.Ensemble, cfg.Steps)
	}
	return fmt.Sprintf(", %d steps", cfg.Steps)
}

// writeFitted writes what artefacts of all annotators hold.
func (p *Pipeline) writeFitted(d draft, in *annotated, examples []predictor.Example, folds *predictor.Folds, scores PredictorScores) error {
	if err := p.writeHeldOut(d.Path(heldOutFolder), in, examples, folds); err != nil {
		return err
	}
	return writeJSON(d.Path(scoresName), scores)
}

func (p *Pipeline) predictOptions() predictor.Options {
	return predictor.Options{Workers: p.workers, Batch: p.cfg.Annotate.Batch, Device: p.cfg.Device, Precision: p.cfg.Precision}
}

// scoreReferences compares the model with the human maps kept from training.
func (p *Pipeline) scoreReferences(ctx context.Context, model *predictor.Model, in *annotated) (*predictor.Report, error) {
	references, err := in.examples(ctx, false)
	if err != nil || len(references) == 0 {
		return nil, err
	}
	return model.Score(ctx, references, p.predictOptions())
}

// writeHeldOut writes the annotated samples with their out-of-fold maps.
func (p *Pipeline) writeHeldOut(dir string, in *annotated, examples []predictor.Example, folds *predictor.Folds) error {
	if err := os.RemoveAll(dir); err != nil { // of an earlier, interrupted try
		return err
	}
	w, err := storage.Create(dir, storage.Schema{Classes: in.set.Classes()})
	if err != nil {
		return err
	}
	for i, h := range folds.Predictions {
		err := w.Append(storage.Sample{
			ID: h.ID, Image: examples[i].Image, Label: storage.NoLabel, Split: "train",
			Saliency: h.Map, SaliencySource: p.cfg.Annotate.Annotator, SaliencyQuality: h.Quality,
		})
		if err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Close()
}

// fitProgress adds up the steps of all fits.
type fitProgress struct {
	events *stageEvents
	record *record
	done   map[[2]int]int64 // steps by fold and member of an ensemble, fold -1 is the fit of all
	total  int64
}

func newFitProgress(events *stageEvents, cfg predictor.Config, folds int, r *record) *fitProgress {
	return &fitProgress{events: events, record: r, done: map[[2]int]int64{}, total: int64((folds + 1) * cfg.Steps * max(cfg.Ensemble, 1))}
}

func (f *fitProgress) fold(x predictor.Progress) {
	f.tell(x.Fold, x, fmt.Sprintf("fold %d", x.Fold+1))
}

func (f *fitProgress) all(x predictor.Progress) { f.tell(-1, x, "all maps") }

func (f *fitProgress) tell(fold int, x predictor.Progress, what string) {
	f.done[[2]int{fold, x.Member}] = int64(x.Step)
	var sum int64
	for _, n := range f.done {
		sum += n
	}
	f.record.step(sum)
	text := fmt.Sprintf("%s: loss %.4f", what, x.Loss)
	if v := x.Last.Validation; v != nil {
		text += fmt.Sprintf(", validation CC %.3f", v.CC)
	}
	f.events.progress(sum, f.total, "steps", text)
}

// writeJSON writes v for programs and people.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return storage.AtomicWriteFile(path, append(text, '\n'))
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	return nil
}
