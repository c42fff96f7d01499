package predictor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/storage"
)

// Folds are out-of-fold predictions: every example's map comes from a model that
// saw neither it nor its group.
type Folds struct {
	// Predictions are in the order of the examples.
	Predictions []HeldOut
	// Torn reports that a group lies in more than one fold, because there were
	// fewer than three groups: the scores are then too good.
	Torn bool
	// Report pools the examples; each is compared with the baselines of the model
	// that predicted it.
	Report Report
	judged []judged
}

// HeldOut is the prediction for an example that has a human map.
type HeldOut struct {
	ID   string
	Fold int // the model's, from 0
	// Map is as in Prediction.
	Map storage.Encoded
	// Quality is the estimated CC, by a calibration on the other folds' examples.
	Quality float32
}

// FitFolds fits Config.Folds models, or as many as there are groups, each on the
// examples of all groups but its own, of which it may take Config.ValidationShare
// to choose its checkpoint, as Fit does. Where there are fewer than three groups, the examples
// are divided one by one. At least three examples are needed. Fits run side by
// side within Config.Workers; they leave checkpoints in folders below dir and
// continue as Fit does. Examples with a blank map are predicted too.
func FitFolds(ctx context.Context, cfg Config, examples []Example, dir string, progress func(Progress)) (*Folds, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f, err := fitFolds(ctx, cfg, examples, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("fit the predictor in folds: %w", err)
	}
	return f, nil
}

func fitFolds(ctx context.Context, cfg Config, examples []Example, dir string, progress func(Progress)) (*Folds, error) {
	samples, err := load(ctx, cfg, examples)
	if err != nil {
		return nil, err
	}
	of, err := folds(samples, cfg.Folds, cfg.Seed)
	if err != nil {
		return nil, err
	}
	r := &round{cfg: cfg, samples: samples, of: of, dir: dir, progress: serial(progress), found: make([]prediction, len(samples))}
	if err := r.fitAll(ctx); err != nil {
		return nil, err
	}
	return r.folds()
}

// serial lets one call through at a time.
func serial(progress func(Progress)) func(Progress) {
	if progress == nil {
		return func(Progress) {}
	}
	var one sync.Mutex
	return func(p Progress) {
		one.Lock()
		defer one.Unlock()
		progress(p)
	}
}

// round is a cross-fit under way.
type round struct {
	cfg      Config
	samples  []*sample
	of       []int // fold of each sample
	dir      string
	progress func(Progress)
	found    []prediction // of each sample
	means    [][]float32  // mean map of each fold's model
}

func (r *round) fitAll(ctx context.Context) error {
	k := slices.Max(r.of) + 1
	r.means = make([][]float32, k)
	cfg, abreast := r.cfg, min(k, r.cfg.Workers)
	cfg.Workers /= abreast
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for fold := range k {
		group.Go(func() error {
			if err := r.fit(ctx, cfg, fold); err != nil {
				return fmt.Errorf("fold %d of %d: %w", fold+1, k, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *round) fit(ctx context.Context, cfg Config, fold int) error {
	var train, held []*sample
	var at []int
	for i, s := range r.samples {
		if r.of[i] == fold {
			held, at = append(held, s), append(at, i)
		} else {
			train = append(train, s)
		}
	}
	m, err := fitSamples(ctx, cfg, train, nil, filepath.Join(r.dir, "fold-"+strconv.Itoa(fold)), func(p Progress) {
		p.Fold = fold
		r.progress(p)
	})
	if err != nil {
		return err
	}
	found, err := m.predictAll(ctx, held, cfg.use())
	for i, p := range found {
		r.found[at[i]] = p
	}
	r.means[fold] = m.mean
	return err
}

func (r *round) folds() (*Folds, error) { return pool(r.cfg, r.samples, r.of, r.found, r.means) }

// pool puts together what was found for each sample by the annotator of its fold,
// and the mean maps of the samples outside each fold.
func pool(cfg Config, samples []*sample, of []int, found []prediction, means [][]float32) (*Folds, error) {
	f := &Folds{Torn: torn(samples, func(i int) int { return of[i] })}
	byFold := make([][]judged, len(means)) // of the samples outside the fold
	for i, s := range samples {
		if s.human == nil {
			continue
		}
		j := judge(found[i:i+1], samples[i:i+1], cfg.resizing())[0]
		f.judged = append(f.judged, j)
		for fold := range byFold {
			if fold != of[i] {
				byFold[fold] = append(byFold[fold], j)
			}
		}
	}
	score := newScoring(cfg)
	calibrations := make([]*Calibration, len(byFold))
	for fold, maps := range byFold {
		calibrations[fold] = calibrate(maps)
	}
	for i, s := range samples {
		fold, p := of[i], found[i]
		h := HeldOut{ID: s.id, Fold: fold, Quality: calibrations[fold].quality(p.evidence)}
		var err error
		if h.Map, err = encode(p.shown, s.id); err != nil {
			return nil, fmt.Errorf("example %q: %w", s.id, err)
		}
		f.Predictions = append(f.Predictions, h)
		score.add(s, p.shown, h.Quality, means[fold])
	}
	f.Report = score.report()
	return f, nil
}

// Calibrate sets the quality estimate by out-of-fold predictions, which are more
// and fairer than validation maps, on which the checkpoint was chosen. The
// folds must have been fitted with the model's configuration.
func (m *Model) Calibrate(f *Folds) { m.calibration = f.Calibration() }

// Calibration estimates the quality of maps as those of the folds turned out; nil
// if no example has a human map that shows something.
func (f *Folds) Calibration() *Calibration { return calibrate(f.judged) }
