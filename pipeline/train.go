package pipeline

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
)

// trained is what the train stage leaves: the classifiers in the order of the
// runs, and the decoded images that they share.
type trained struct {
	models []*cyborg.Model
	images *cyborg.Data
}

// train trains the classifier of every run, side by side within the cores.
func (p *Pipeline) train(ctx context.Context, runs []run, f *fitted, data *annotatedData) (*trained, error) {
	events := p.events.of(StageTrain)
	images, err := cyborg.OpenData(data.set, p.classifierConfig(1), imageBudget())
	if err != nil {
		return nil, err
	}
	t := &trained{models: make([]*cyborg.Model, len(runs)), images: images}
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
			t.models[i], err = p.classifier(groupCtx, r, p.trainingConfig(r, f, workers), images, progress)
			if err != nil {
				return fmt.Errorf("arm %s, seed %d: %w", r.arm, r.seed, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%d classifiers", len(runs))
	if pretrained := t.models[0].Summary().Pretrained; pretrained != nil {
		text += " from " + pretrained.String()
	}
	events.end(text)
	return t, nil
}

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
			return err
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
	if err := p.place(a.Path(modelName), "models", r.name()+".safetensors"); err != nil {
		return nil, err
	}
	return cyborg.LoadModel(a.Path(modelName))
}

// trainProgress adds up the epochs of all runs.
type trainProgress struct {
	events *stageEvents
	runs   int
	epochs int
	mutex  sync.Mutex
	done   map[string]int // epochs by run
}

func newTrainProgress(events *stageEvents, runs, epochs int) *trainProgress {
	return &trainProgress{events: events, runs: runs, epochs: epochs, done: map[string]int{}}
}

func (t *trainProgress) start() {
	t.events.start(fmt.Sprintf("%d runs of %d epochs", t.runs, t.epochs))
}

// tell takes the end of an epoch.
func (t *trainProgress) tell(r run, x cyborg.Progress) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.done[r.name()] == x.Epoch {
		return
	}
	t.done[r.name()] = x.Epoch
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
	t.done[r.name()] = t.epochs
}

func (t *trainProgress) sum() int64 {
	n := 0
	for _, epochs := range t.done {
		n += epochs
	}
	return int64(n)
}
