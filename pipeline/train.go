package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
)

// trained is what the train stage leaves: the runs that came to a classifier, in
// their order, and the decoded images that they share.
type trained struct {
	runs     []run
	models   []*cyborg.Model // of runs
	diverged *DivergedError  // the other runs; nil if there are none
	images   *cyborg.Data
}

// failures say of every run that diverged what happened.
func (t *trained) failures() []string {
	var list []string
	if t.diverged != nil {
		for _, err := range t.diverged.Runs {
			list = append(list, err.Error())
		}
	}
	return list
}

// train trains the classifier of every run, side by side within the cores. A run
// that diverges does not keep the others from being trained.
func (p *Pipeline) train(ctx context.Context, runs []run, f *fitted, images *cyborg.Data) (*trained, error) {
	events := p.events.of(StageTrain)
	models, failures := make([]*cyborg.Model, len(runs)), make([]error, len(runs))
	together := len(runs)
	if p.options.Profile != nil {
		together = 1
	}
	abreast, workers := p.abreast(together)
	progress := newTrainProgress(events, len(runs), p.cfg.Train.Epochs)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for i, r := range runs {
		group.Go(func() (err error) {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			models[i], err = p.classifier(groupCtx, r, p.trainingConfig(r, f, workers), images, progress)
			var diverged *cyborg.DivergedError
			if errors.As(err, &diverged) {
				failures[i] = err
				events.warn(err.Error())
				return nil
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
	t := newTrained(runs, models, failures, images)
	if len(t.runs) == 0 {
		return nil, t.diverged
	}
	text := fmt.Sprintf("%d classifiers", len(t.runs))
	if pretrained := t.models[0].Summary().Pretrained; pretrained != nil {
		text += " from " + pretrained.String()
	}
	events.end(text)
	return t, nil
}

// newTrained parts the runs that came to a model from the others.
func newTrained(runs []run, models []*cyborg.Model, failures []error, images *cyborg.Data) *trained {
	t := &trained{images: images}
	d := &DivergedError{Of: len(runs)}
	for i, err := range failures {
		if err != nil {
			d.Runs = append(d.Runs, err)
			continue
		}
		t.runs, t.models = append(t.runs, runs[i]), append(t.models, models[i])
	}
	if len(d.Runs) > 0 {
		t.diverged = d
	}
	return t
}

// failure is err, which ended a run. If it diverged, the epoch that it had kept is
// saved, and the error says of which run it is and what is kept.
func (p *Pipeline) failure(r run, err error) error {
	var diverged *cyborg.DivergedError
	if !errors.As(err, &diverged) {
		return err
	}
	failure := fmt.Errorf("arm %s, seed %d: %w", r.arm, r.seed, diverged)
	kept := diverged.Kept
	if kept == nil {
		return failure
	}
	path := p.keptPath(r)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := kept.Save(path); err != nil {
		return err
	}
	return fmt.Errorf("%w; what epoch %d had come to is kept in %q", failure, kept.Summary().Best.Epoch, path)
}

// keptPath is the file of what is kept of a run that diverges.
func (p *Pipeline) keptPath(r run) string {
	return p.outPath(modelsName, divergedName(r))
}

// Files of a run among the models: its classifier, or what is kept where it diverges.
func classifierName(r run) string { return r.name() + ".safetensors" }
func divergedName(r run) string   { return r.name() + ".diverged.safetensors" }

// abreast says how many of n runs go side by side and with how many cores each.
func (p *Pipeline) abreast(n int) (jobs, workers int) {
	jobs = p.cfg.Jobs
	if jobs == 0 {
		jobs = p.workers
	}
	jobs = max(1, min(jobs, n, p.workers))
	return jobs, max(1, p.workers/jobs)
}

// imageBudget is the memory for decoded images: a quarter of the process's limit,
// and 2 GiB where it has none.
func imageBudget() int64 {
	const most = 2 << 30
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return min(most, limit/4)
	}
	return most
}

// trainingConfig is the configuration of a run's training, with what follows from the
// predictor.
func (p *Pipeline) trainingConfig(r run, f *fitted, workers int) cyborg.Config {
	cfg := p.classifierConfig(workers)
	if r.arm.UsesPredicted() {
		cfg.Discount = 1 - f.trust.Weight
	}
	if p.fromOwnEncoder() {
		cfg.Pretrained = f.artefact.Path(modelName)
	}
	return cfg
}

// classifier brings the classifier of a run about.
func (p *Pipeline) classifier(ctx context.Context, r run, cfg cyborg.Config, images *cyborg.Data, progress *trainProgress) (*cyborg.Model, error) {
	a, err := p.artefact(ctx, r.classifier, func(d draft) error {
		progress.start()
		if profile := p.options.Profile; profile != nil && profile.Steps() == 0 {
			cfg.Profile = profile
		}
		m, err := cyborg.Train(ctx, cfg, images, r.arm, r.seed, d.Path(checkpointsName), func(x cyborg.Progress) {
			d.step(int64(x.Step))
			progress.tell(r, x)
		})
		if err != nil {
			return p.failure(r, err)
		}
		if err := m.Save(d.Path(modelName)); err != nil {
			return err
		}
		return os.RemoveAll(d.Path(checkpointsName))
	})
	if err != nil {
		return nil, err
	}
	progress.finish(r)
	if err := os.RemoveAll(p.keptPath(r)); err != nil {
		return nil, err
	}
	if err := p.place(a.Path(modelName), modelsName, classifierName(r)); err != nil {
		return nil, err
	}
	return cyborg.LoadModel(a.Path(modelName))
}

// trainProgress adds up the epochs of all runs.
type trainProgress struct {
	events *stageEvents
	runs   int
	epochs int // of a run; 0 until that is known
	mutex  sync.Mutex
	done   map[string]float64 // share of a run
}

func newTrainProgress(events *stageEvents, runs, epochs int) *trainProgress {
	return &trainProgress{events: events, runs: runs, epochs: epochs, done: map[string]float64{}}
}

func (t *trainProgress) start() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	text := fmt.Sprintf("%d runs", t.runs)
	if t.epochs > 0 {
		text += fmt.Sprintf(" of %d epochs", t.epochs)
	}
	t.events.start(text)
}

// tell takes the end of an epoch.
func (t *trainProgress) tell(r run, x cyborg.Progress) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	done := float64(x.Epoch) / float64(x.Epochs)
	if t.done[r.name()] == done {
		return
	}
	t.done[r.name()], t.epochs = done, x.Epochs
	text := fmt.Sprintf("%s, seed %d: loss %.4f", r.arm, r.seed, x.Loss)
	if x.Validation != nil {
		text += fmt.Sprintf(", validation AUC %.3f", x.Validation.AUC)
	}
	t.events.progress(t.sum(), int64(t.runs*t.epochs), "epochs", text)
}

// finish counts a run that is done, now or before.
func (t *trainProgress) finish(r run) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.done[r.name()] = 1
}

func (t *trainProgress) sum() int64 {
	runs := 0.0
	for _, done := range t.done {
		runs += done
	}
	return int64(runs*float64(t.epochs) + 0.5)
}
