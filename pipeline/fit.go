package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// PredictorScores say how good the predictor is on human maps that it had not
// seen.
type PredictorScores struct {
	// OutOfFold is about the annotated images, each predicted by a model that was
	// fitted without its group.
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

// fitted is what the fit stage leaves.
type fitted struct {
	artefact *storage.Artefact
	model    *predictor.Model
	heldOut  *storage.Dataset // the annotated samples with their out-of-fold maps
	scores   *PredictorScores
	trust    Trust
}

// Files of a predictor's artefact, and the folders of its draft.
const (
	modelName       = "model.safetensors"
	scoresName      = "scores.json"
	heldOutFolder   = "out-of-fold"
	checkpointsName = "checkpoints"
)

// fit fits the predictor on the human maps, and again without each fold of them.
func (p *Pipeline) fit(ctx context.Context, r recipe, in *annotated) (*fitted, error) {
	events := p.events.of(StageFit)
	a, err := p.artefact(ctx, r, func(d draft) error {
		return p.makePredictor(ctx, d, in, events)
	})
	if err != nil {
		return nil, err
	}
	f := &fitted{artefact: a, scores: &PredictorScores{}}
	if f.model, err = predictor.Load(a.Path(modelName)); err != nil {
		return nil, err
	}
	if f.heldOut, err = storage.Open(a.Path(heldOutFolder)); err != nil {
		return nil, err
	}
	if err := readJSON(a.Path(scoresName), f.scores); err != nil {
		return nil, err
	}
	if err := p.place(a.Path(modelName), "models", "predictor.safetensors"); err != nil {
		return nil, err
	}
	f.trust = p.trust(f.scores)
	for _, w := range f.warnings() {
		events.warn(w)
	}
	text := describeScores(f.scores)
	if pretrained := f.model.Summary().Pretrained; pretrained != nil {
		text += ", from " + pretrained.String()
	}
	events.end(text)
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
		list = append(list, "on the human maps kept from training the predictor does not beat the mean map by more than chance: guidance by its maps is not to be trusted")
	}
	return list
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
	events.start(fmt.Sprintf("%d human maps, %d steps, once for all and once for each of %d folds", len(examples), cfg.Steps, cfg.Folds))
	progress := newFitProgress(events, cfg, d.record)
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
	if err := p.writeHeldOut(d.Path(heldOutFolder), in, examples, folds); err != nil {
		return err
	}
	if err := writeJSON(d.Path(scoresName), scores); err != nil {
		return err
	}
	if err := model.Save(d.Path(modelName)); err != nil {
		return err
	}
	return os.RemoveAll(checkpoints)
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
			Saliency: h.Map, SaliencySource: storage.SourcePredictor, SaliencyQuality: h.Quality,
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
	done   map[int]int64 // steps by fold, -1 is the fit of all
	total  int64
}

func newFitProgress(events *stageEvents, cfg predictor.Config, r *record) *fitProgress {
	return &fitProgress{events: events, record: r, done: map[int]int64{}, total: int64((cfg.Folds + 1) * cfg.Steps)}
}

func (f *fitProgress) fold(x predictor.Progress) {
	f.tell(x.Fold, x, fmt.Sprintf("fold %d", x.Fold+1))
}

func (f *fitProgress) all(x predictor.Progress) { f.tell(-1, x, "all maps") }

func (f *fitProgress) tell(fold int, x predictor.Progress, what string) {
	f.done[fold] = int64(x.Step)
	var sum int64
	for _, n := range f.done {
		sum += n
	}
	f.record.step(sum)
	text := fmt.Sprintf("%s: loss %.4f", what, x.Loss)
	if x.Validation.Step > 0 {
		text += fmt.Sprintf(", validation CC %.3f", x.Validation.CC)
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
