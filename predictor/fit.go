package predictor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Progress is what a fit has come to after a step.
type Progress struct {
	Fold   int     // of FitFolds, from 0; 0 in Fit
	Member int     // of an ensemble, from 0
	Step   int     // steps done by the member
	Steps  int     // of the member's whole fit
	Loss   float64 // of the step
	Rate   float64 // learning rate of the step
	// Last is the last point, Best the one whose weights are kept so far; both are
	// zero before the first.
	Last, Best Point
}

// Point is a stage of a fit.
type Point struct {
	Step int `json:"step"` // steps done
	// TrainLoss is the mean over the steps since the last point.
	TrainLoss float64 `json:"train_loss"`
	*Validation
}

// Validation is how the weights of a point do on the validation examples; nil where
// there are none.
type Validation struct {
	Loss float64 `json:"loss"` // mean over the examples
	CC   float64 `json:"cc"`   // likewise; a constant prediction counts 0
}

// Fit trains a predictor on examples with human maps and returns the checkpoint
// that Config.Select names. Where that is the last, all training examples teach.
// Where validation examples choose it and none are given, Config.ValidationShare of
// the training examples are taken, in whole groups unless there is only one; Summary
// counts them. A baseline has nothing to choose either. The quality estimate is
// calibrated on the validation examples; without any it waits for Calibrate.
//
// The folder dir, made if need be, holds the fit's checkpoints. A fit that was
// killed, or whose context ended (the error then is the context's), continues
// when called again with the same configuration, examples and folder, and ends
// with the same weights to the bit. A finished fit, or network of an ensemble, is
// not fitted again. progress, which may be nil, is called after every step.
//
// A fit that comes to a loss or a weight that is no finite number is an error that
// names the step and a fold; its last checkpoint is kept.
//
// All examples stay in memory, reduced to sides of about twice Config.Size: some
// 28 Size² bytes each. One that cannot be decoded is an *ExampleError.
func Fit(ctx context.Context, cfg Config, train, val []Example, dir string, progress func(Progress)) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	samples, err := load(ctx, cfg, slices.Concat(train, val))
	if err != nil {
		return nil, fmt.Errorf("fit the predictor: %w", err)
	}
	m, err := fitSamples(ctx, cfg, samples[:len(train)], samples[len(train):], dir, progress)
	if err != nil {
		return nil, fmt.Errorf("fit the predictor: %w", err)
	}
	return m, nil
}

// fitSamples is Fit from pixels.
func fitSamples(ctx context.Context, cfg Config, train, val []*sample, dir string, progress func(Progress)) (*Model, error) {
	if !cfg.usesNetwork() {
		return fitBaseline(cfg, slices.Concat(train, val))
	}
	given := len(train) + len(val)
	train, hold := mapped(train), len(val) == 0 && cfg.validates()
	val = mapped(val)
	if hold && len(train) > 0 {
		var err error
		if train, val, err = split(train, cfg.ValidationShare, cfg.Seed); err != nil {
			return nil, err
		}
	}
	blank := given - len(train) - len(val)
	switch {
	case cfg.validates() && (len(train) == 0 || len(val) == 0):
		return nil, storage.Unusable("found %d training and %d validation examples with a map that is not blank (%d are), want at least one of each", len(train), len(val), blank)
	case len(train) == 0:
		return nil, storage.Unusable("found no training examples with a map that is not blank (%d are), want at least one", blank)
	}
	m := &Model{cfg: cfg, mean: meanMap(train, cfg.Size), summary: Summary{Train: len(train), Validation: len(val), Blank: blank}}
	if err := m.fitMembers(ctx, train, val, dir, progress); err != nil {
		return nil, err
	}
	found, err := m.predictAll(ctx, val, cfg.use())
	if err != nil {
		return nil, err
	}
	m.calibration = calibrate(judge(found, val, cfg.resizing()))
	return m, nil
}

// fitMembers fits the model's networks, one after another.
func (m *Model) fitMembers(ctx context.Context, train, val []*sample, dir string, progress func(Progress)) error {
	for i := range m.cfg.members() {
		f, err := newFitting(m.cfg.member(i), train, val, m.cfg.memberDir(dir, i), progress)
		if err != nil {
			return err
		}
		f.member = i
		if err := f.run(ctx); err != nil {
			return err
		}
		m.members = append(m.members, f.best)
		if i == 0 {
			m.summary.Best, m.summary.History, m.summary.Pretrained = f.state.Best, f.state.History, f.pretrained
		} else {
			m.summary.Members = append(m.summary.Members, Member{f.state.Best, f.state.History})
		}
	}
	return nil
}

// meanMap is the mean of the human maps.
func meanMap(samples []*sample, size int) []float32 {
	sum, one := make([]float64, size*size), make([]float32, size*size)
	for _, s := range samples {
		s.target(one, raster.View{}, size)
		for i, v := range one {
			sum[i] += float64(v)
		}
	}
	for i, v := range sum {
		one[i] = float32(v / float64(len(samples)))
	}
	return one
}

// judge pairs the evidence of predictions with their true CC.
func judge(found []prediction, samples []*sample, resizing raster.Resizing) []judged {
	maps := make([]judged, len(found))
	for i, p := range found {
		maps[i] = judged{p.evidence, correlation(p.shown.Pix, samples[i].truth(resizing, p.shown.W, p.shown.H))}
	}
	return maps
}

// fitting is a fit under way.
type fitting struct {
	cfg        Config
	member     int // of an ensemble
	train, val []*sample
	checkpoint nn.Checkpoint
	progress   func(Progress)
	trainer    *nn.Trainer
	team       *team // shares the trainer's parameters; nil without validation
	pretrained *Pretrained
	best       *nn.Params // of state.Best
	state      state
	order      []int // of the training samples in an epoch
	epoch      int   // of order
}

// state is what a fit remembers besides weights.
type state struct {
	Best    Point   `json:"best"`
	History []Point `json:"history"`
	// LossSum is over the steps since the last point.
	LossSum float64 `json:"loss_sum"`
}

// last is the step of the last validation.
func (s *state) last() int {
	if len(s.History) == 0 {
		return 0
	}
	return s.History[len(s.History)-1].Step
}

func newFitting(cfg Config, train, val []*sample, dir string, progress func(Progress)) (*fitting, error) {
	f := &fitting{cfg: cfg, train: train, val: val, progress: progress, epoch: -1}
	params := nn.NewParams(cfg.Seed)
	g, err := trainingGraph(cfg, params)
	if err != nil {
		return nil, err
	}
	f.trainer, err = nn.NewTrainer(g, nn.Training{
		Optimizer: cfg.Optimizer.internal(), Schedule: cfg.Optimizer.schedule(), Steps: cfg.Steps, Seed: cfg.Seed, Options: cfg.options(),
	})
	if err != nil {
		return nil, err
	}
	if f.pretrained, err = loadPretrained(cfg, params); err != nil {
		return nil, err
	}
	if len(val) > 0 {
		if f.team, err = validationTeam(cfg, params, len(val)); err != nil {
			return nil, err
		}
	}
	f.best = params.Clone()
	id, err := fingerprint(cfg, f.pretrained, train, val)
	if err != nil {
		return nil, err
	}
	f.checkpoint = nn.Checkpoint{Dir: dir, Fingerprint: id, Replace: storage.AtomicWrite}
	return f, f.checkpoint.Restore(f.trainer, f.best, &f.state)
}

// validationTeam draws the maps of n validation examples, with their losses, by
// parameters that are being trained.
func validationTeam(cfg Config, params *nn.Params, n int) (*team, error) {
	return newTeam(cfg.options(), n, cfg.Batch, func(members, batch int) ([]drawer, error) {
		forwards, err := newForwards(cfg, params, members, batch, true, cfg.options())
		drawers := make([]drawer, len(forwards))
		for i, forward := range forwards {
			drawers[i] = forward
		}
		return drawers, err
	})
}

func (f *fitting) save() error {
	return f.checkpoint.Save(f.trainer, f.best, f.state.Best.Step, f.state)
}

// run takes the steps that are left.
func (f *fitting) run(ctx context.Context) error {
	err := f.settle(ctx) // what was due when the fit was interrupted
	if err == nil {
		err = f.steps(ctx)
	}
	switch {
	case err == nil:
		return f.save()
	case ctx.Err() != nil:
		return errors.Join(fmt.Errorf("stopped after %d of %d steps: %w", f.trainer.Done(), f.cfg.Steps, err), f.save())
	}
	return err
}

func (f *fitting) steps(ctx context.Context) error {
	for step, err := range f.trainer.ImageSteps(ctx, f.fill) {
		if err != nil {
			return err
		}
		f.state.LossSum += float64(step.Loss)
		if err := f.settle(ctx); err != nil {
			return err
		}
		if f.progress != nil {
			f.progress(f.report(step))
		}
		if f.trainer.Done()%f.cfg.checkpointEvery() == 0 {
			if err := f.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fitting) report(step nn.Step) Progress {
	p := Progress{Member: f.member, Step: step.Index + 1, Steps: f.cfg.Steps, Loss: float64(step.Loss), Rate: step.Rate, Best: f.state.Best}
	if n := len(f.state.History); n > 0 {
		p.Last = f.state.History[n-1]
	}
	return p
}

// settle sets a point where one is due and has not been set.
func (f *fitting) settle(ctx context.Context) error {
	done := f.trainer.Done()
	due := done > 0 && (done%f.cfg.validateEvery() == 0 || done == f.cfg.Steps)
	if !due || f.state.last() == done {
		return nil
	}
	if err := f.trainer.CheckFinite(); err != nil {
		return err
	}
	point := Point{Step: done, TrainLoss: f.state.LossSum / float64(done-f.state.last())}
	if f.team != nil {
		var err error
		if point.Validation, err = f.validate(ctx); err != nil {
			return err
		}
	}
	f.state.LossSum = 0
	f.state.History = append(f.state.History, point)
	if f.better(point) {
		f.state.Best = point
		return f.best.CopyFrom(f.trainer.Params())
	}
	return nil
}

// validate judges the present weights.
func (f *fitting) validate(ctx context.Context) (*Validation, error) {
	done := f.trainer.Done()
	found, err := f.team.predict(ctx, f.val)
	if err != nil {
		return nil, fmt.Errorf("validation after step %d: %w", done, err)
	}
	v := &Validation{}
	for i, j := range judge(found, f.val, f.cfg.resizing()) {
		v.CC += j.cc / float64(len(f.val))
		v.Loss += float64(found[i].loss) / float64(len(f.val))
	}
	return v, nn.CheckLoss("validation loss", v.Loss, done)
}

// better reports whether a point is to be kept in place of the best so far.
func (f *fitting) better(p Point) bool {
	switch {
	case f.state.Best.Step == 0 || f.cfg.Select == "last":
		return true
	case f.cfg.Select == "loss":
		return p.Loss <= f.state.Best.Loss
	}
	return p.CC >= f.state.Best.CC
}

// fill makes the batch of a step, which depends on the seed and the step alone.
func (f *fitting) fill(_ context.Context, step int, b nn.ImageBatch) error {
	var group errgroup.Group
	group.SetLimit(f.cfg.Workers)
	for i := range f.cfg.Batch {
		position := step*f.cfg.Batch + i
		s := f.train[f.at(position)]
		group.Go(func() error { return f.show(s, position, i, b) })
	}
	return group.Wait()
}

// show writes slot i of a batch.
func (f *fitting) show(s *sample, position, i int, b nn.ImageBatch) error {
	view := raster.Augment(f.cfg.Augment).Draw(random(f.cfg.Seed, streamAugment, position))
	shown := raster.SeenMap{Map: s.human, View: view, Side: f.cfg.Size}
	err := errors.Join(
		b.Show(imageInput, i, raster.SeenImage{Image: s.image, View: view, Side: f.cfg.Size}),
		b.Show(mapInput, i, shown),
	)
	if err != nil {
		return err
	}
	b.Batch[weightInput][i] = f.weight(shown, i, b.Batch[mapInput])
	return nil
}

// weight leaves out of KL and CC the views that show nothing of a map: both compare
// shapes, and nothing has none.
func (f *fitting) weight(shown raster.SeenMap, i int, drawn []float32) float32 {
	if f.cfg.comparesShapes() && plain(shown, i, drawn) {
		return 0
	}
	return 1
}

// plain looks at the i-th of the batch's drawn maps, or, where the device draws them, at
// what it is drawn from.
func plain(shown raster.SeenMap, i int, drawn []float32) bool {
	if drawn == nil {
		return shown.Plain()
	}
	n := shown.Side * shown.Side
	target := drawn[i*n : (i+1)*n]
	return slices.Min(target) == slices.Max(target)
}

// at is the sample at a position of the endless row of shuffled epochs.
func (f *fitting) at(position int) int {
	n := len(f.train)
	if epoch := position / n; epoch != f.epoch {
		f.epoch, f.order = epoch, random(f.cfg.Seed, streamOrder, epoch).Perm(n)
	}
	return f.order[position%n]
}
