package cyborg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/storage"
)

// Progress is what a training has come to after a step.
type Progress struct {
	Arm    Arm
	Run    int
	Step   int // steps done
	Steps  int // of the whole training
	Epoch  int // epochs done
	Epochs int
	Loss   float64 // of the step
	Rate   float64 // learning rate of the step
	// Validation is the last one, Best the one whose weights are kept so far; nil
	// before the first.
	Validation, Best *Scores
}

// Point is a training at the end of an epoch.
type Point struct {
	Epoch int `json:"epoch"` // epochs done
	Step  int `json:"step"`  // steps done
	// TrainLoss, TrainCE and TrainMap are means since the last point: of the loss
	// of a step, of the cross-entropy of an image, and of the distance of CAM and
	// map of an image that had one.
	TrainLoss float64 `json:"train_loss"`
	TrainCE   float64 `json:"train_ce"`
	TrainMap  float64 `json:"train_map"`
	// Guided is the number of images since the last point that had a map in which
	// there was something to be seen.
	Guided int `json:"guided"`
	// Alpha is the mean weight of their cross-entropy: what Config.AlphaSchedule came
	// to. It is 1 if nothing was guided.
	Alpha float64 `json:"alpha"`
	// Validation is on the split val; nil where that cannot be judged.
	Validation *Scores `json:"validation"`
}

// Train trains run number run, counted from 0, of an arm and returns the epoch
// that Config.Select names. The data must have been opened for networks of the
// same input size.
//
// The folder dir, made if need be, holds the training's checkpoints. A training
// that was killed, or whose context ended (the error then is the context's),
// continues when called again with the same arguments, and ends with the same
// weights to the bit. A finished one returns at once. progress, which may be nil,
// is called after every step.
//
// A sample that cannot be decoded is a *SampleError, a training that comes to a
// number that is not finite a *DivergedError. Training samples of one class are an
// error. So is less than two classes in the split val, where there is no choice of
// an epoch, unless Config.Select is "last": accuracy and loss, which one class has
// too, would choose the classifier that always says it.
func Train(ctx context.Context, cfg Config, data *Data, arm Arm, run int, dir string, progress func(Progress)) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := train(ctx, cfg, data, arm, run, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("train arm %s, run %d: %w", arm, run, err)
	}
	return m, nil
}

func train(ctx context.Context, cfg Config, data *Data, arm Arm, run int, dir string, progress func(Progress)) (*Model, error) {
	if _, err := ParseArm(string(arm)); err != nil {
		return nil, err
	}
	if run < 0 {
		return nil, fmt.Errorf("run %d: want at least 0", run)
	}
	if err := data.fits(cfg, data.classes); err != nil {
		return nil, err
	}
	t, err := newTraining(ctx, cfg, data, arm, run, dir)
	if err != nil {
		return nil, err
	}
	t.progress = progress
	if err := t.run(ctx); err != nil {
		return nil, t.diverged(err)
	}
	return t.model(), nil
}

// training is one under way.
type training struct {
	cfg        Config
	arm        Arm
	number     int // of the run
	data       *Data
	feed       *feed
	val        []item
	unlabelled int // training samples without a label
	pretrained *Pretrained
	trainer    *nn.Trainer
	panel      *panel     // shares the trainer's parameters; nil without validation
	best       *nn.Params // of state.Best
	state      state
	checkpoint nn.Checkpoint
	progress   func(Progress)
}

// state is what a training remembers besides weights.
type state struct {
	Best    Point   `json:"best"`
	History []Point `json:"history"`
	Since   sums    `json:"since"`
}

// sums are over what was since the last point.
type sums struct {
	Steps    int     `json:"steps"`
	Loss     float64 `json:"loss"`
	CE       float64 `json:"ce"`
	Distance float64 `json:"distance"`
	Guided   int     `json:"guided"`
	Guidance float64 `json:"guidance"` // 1 - alpha of the guided images
}

// last is the step of the last point.
func (s *state) last() int {
	if len(s.History) == 0 {
		return 0
	}
	return s.History[len(s.History)-1].Step
}

func newTraining(ctx context.Context, cfg Config, data *Data, arm Arm, run int, dir string) (*training, error) {
	t := &training{cfg: cfg, arm: arm, number: run, data: data}
	if err := t.choose(ctx); err != nil {
		return nil, err
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	id, err := t.fingerprint()
	if err != nil {
		return nil, err
	}
	t.checkpoint = nn.Checkpoint{Dir: dir, Fingerprint: id, Replace: storage.AtomicWrite}
	return t, t.checkpoint.Restore(t.trainer, t.best, &t.state)
}

// choose finds the samples to train on and to validate with.
func (t *training) choose(ctx context.Context) error {
	seed := runSeed(t.cfg.Seed, t.number)
	p := newPlan(t.arm, t.data.set, seed)
	if err := t.data.check(t.cfg, p); err != nil {
		return err
	}
	t.cfg.Epochs = t.cfg.epochs(p.n)
	_, t.unlabelled = t.data.labelled(trainSplit)
	p.guided = p.guided && t.cfg.needsMaps()
	if p.guided && t.arm == Mean {
		if err := t.data.loadMean(ctx, t.cfg.Workers); err != nil {
			return err
		}
	}
	t.feed = &feed{cfg: t.cfg, data: t.data, plan: p, seed: seed}
	if t.val, _ = t.data.labelled(validationSplit); len(t.data.classesOf(t.val)) < 2 {
		t.val = nil
	}
	return nil
}

// build makes the programs and the first weights.
func (t *training) build() error {
	params, classes := nn.NewParams(t.feed.seed), len(t.data.classes)
	g, err := trainingGraph(t.cfg, params, classes, t.feed.plan.guided && t.cfg.guides())
	if err != nil {
		return err
	}
	steps, options := t.feed.steps(), t.cfg.options()
	options.Profile = t.cfg.Profile.operators()
	t.trainer, err = nn.NewTrainer(g, nn.Training{
		Optimizer: t.cfg.Optimizer.internal(), Schedule: t.cfg.Optimizer.schedule(float64(steps) / float64(t.cfg.Epochs)),
		Steps: steps, Seed: t.feed.seed, Options: options,
	})
	if err != nil {
		return err
	}
	t.feed.grid = t.trainer.Program().InputShape(mapInput).W
	if t.pretrained, err = loadPretrained(t.cfg, params); err != nil {
		return err
	}
	if len(t.val) > 0 {
		t.panel, err = newPanel(evaluationGraph, t.cfg, params, classes, len(t.val), t.cfg.Batch, false, t.cfg.options())
	}
	t.best = params.Clone()
	return err
}

// fingerprint names the training: what is computed, on what.
func (t *training) fingerprint() (string, error) {
	text, err := t.cfg.canonical()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s %d\n%s\n", text, t.arm, t.number, t.data.hash())
	if t.pretrained != nil {
		fmt.Fprintln(h, t.pretrained.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// run takes the steps that are left.
func (t *training) run(ctx context.Context) error {
	err := t.settle(ctx) // what was due when the training was interrupted
	if err == nil {
		err = t.steps(ctx)
	}
	switch {
	case err == nil:
		return t.save()
	case ctx.Err() != nil:
		return errors.Join(fmt.Errorf("stopped after %d of %d steps: %w", t.trainer.Done(), t.feed.steps(), err), t.save())
	}
	return err
}

func (t *training) save() error {
	return t.checkpoint.Save(t.trainer, t.best, t.state.Best.Step, t.state)
}

func (t *training) steps(ctx context.Context) error {
	defer t.feed.close()
	for step, err := range t.trainer.ImageSteps(ctx, t.feed.fill) {
		if err != nil {
			return err
		}
		t.count(step)
		if err := t.settle(ctx); err != nil {
			return err
		}
		if t.progress != nil {
			t.progress(t.report(step))
		}
		if t.trainer.Done()%t.cfg.checkpointEvery() == 0 {
			if err := t.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// count adds a step to the sums.
func (t *training) count(step nn.Step) {
	s, p := &t.state.Since, t.trainer.Program()
	s.Steps++
	s.Loss += float64(step.Loss)
	for _, v := range p.Output(ceOutput) {
		s.CE += float64(v)
	}
	distances, alphas := p.Output(distanceOutput), p.Output(alphaOutput)
	if alphas == nil {
		alphas = p.Input(ceWeightInput)
	}
	for i, w := range p.Input(mapWeightInput) {
		if w > 0 {
			s.Guided++
			s.Distance += float64(distances[i])
			s.Guidance += 1 - float64(alphas[i])
		}
	}
}

func (t *training) report(step nn.Step) Progress {
	p := Progress{
		Arm: t.arm, Run: t.number, Step: step.Index + 1, Steps: t.feed.steps(),
		Epoch: t.feed.epochs(step.Index + 1), Epochs: t.cfg.Epochs,
		Loss: float64(step.Loss), Rate: step.Rate, Best: t.state.Best.Validation,
	}
	if n := len(t.state.History); n > 0 {
		p.Validation = t.state.History[n-1].Validation
	}
	return p
}

// settle ends an epoch, where one has ended and that has not been done.
func (t *training) settle(ctx context.Context) error {
	done := t.trainer.Done()
	if done == 0 || t.feed.epochs(done) == t.feed.epochs(done-1) || t.state.last() == done {
		return nil
	}
	if err := t.trainer.CheckFinite(); err != nil {
		return err
	}
	s := t.state.Since
	guided := float64(max(s.Guided, 1))
	point := Point{
		Epoch: t.feed.epochs(done), Step: done, Guided: s.Guided,
		TrainLoss: s.Loss / float64(s.Steps), TrainCE: s.CE / float64(s.Steps*t.cfg.Batch), TrainMap: s.Distance / guided,
		Alpha: 1 - s.Guidance/guided,
	}
	if t.panel != nil {
		v, err := t.validate(ctx)
		if err != nil {
			return err
		}
		point.Validation = &v
	}
	t.state.Since = sums{}
	t.state.History = append(t.state.History, point)
	if t.better(point) {
		t.state.Best = point
		return t.best.CopyFrom(t.trainer.Params())
	}
	return nil
}

// validate judges the present weights.
func (t *training) validate(ctx context.Context) (Scores, error) {
	found, losses, err := gather(over(ctx, t.panel, t.data.read(ctx, t.val), t.data.decode, func(s source, _ decoded, r result) judged {
		return judge(s, r)
	}))
	if err != nil {
		return Scores{}, fmt.Errorf("validation after step %d: %w", t.trainer.Done(), err)
	}
	v := scoresOf(found, losses)
	return v, nn.CheckLoss("validation loss", v.Loss, t.trainer.Done())
}

// better reports whether a point is to be kept in place of the best so far.
func (t *training) better(p Point) bool {
	best := t.state.Best
	if best.Step == 0 || t.cfg.Select == "last" {
		return true
	}
	switch t.cfg.Select {
	case "accuracy":
		return p.Validation.Accuracy >= best.Validation.Accuracy
	case "loss":
		return p.Validation.Loss <= best.Validation.Loss
	}
	return p.Validation.AUC >= best.Validation.AUC
}

// model is what the training has come to.
func (t *training) model() *Model {
	p := t.feed.plan
	return &Model{cfg: t.cfg, classes: t.data.classes, params: t.best, summary: Summary{
		Arm: t.arm, Run: t.number, Train: p.n, Validation: len(t.val), Mapped: p.mapped, Unlabelled: t.unlabelled,
		Steps: t.feed.steps(), Best: t.state.Best, History: t.state.History, Pretrained: t.pretrained,
	}}
}
