package nn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/weights"
)

// Batch holds the inputs of one step by name, planar, in the shapes of the
// graph's inputs.
type Batch map[string][]float32

// Source fills the batch of a step. A trainer calls it from one goroutine, with
// rising steps, ahead of the computation.
type Source func(ctx context.Context, step int, b Batch) error

// Training says how to minimise a graph's loss.
type Training struct {
	Optimizer Optimizer
	Schedule  Schedule
	Steps     int    // length of the run, which the schedule spreads over
	Seed      uint64 // of the dropout masks
	Options   Options
}

// Step is what a training step came to.
type Step struct {
	Index int // from 0
	Loss  float32
	Rate  float64 // learning rate
}

// DivergedError reports a training that came to something else than finite numbers.
type DivergedError struct {
	Steps int    // that had been taken
	Found string // such as "loss NaN"
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("diverged after %d steps: found %s, want finite numbers (a lower learning rate may help)", e.Steps, e.Found)
}

// CheckLoss is a [DivergedError] if the loss named so, found after some steps, is no
// finite number.
func CheckLoss(name string, loss float64, steps int) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return &DivergedError{steps, fmt.Sprintf("%s %v", name, loss)}
	}
	return nil
}

// Trainer minimises the loss of one graph over its parameters. It is the one
// training loop of the house: logging, validation and checkpoints are plain
// statements in the body of the caller's loop over [Trainer.Steps].
type Trainer struct {
	program  *Program
	params   *Params
	training Training
	stepper  stepper
	step     int
}

// NewTrainer compiles a training graph and adds the optimiser's step to it.
func NewTrainer(g *Graph, training Training) (*Trainer, error) {
	if g.err == nil && (g.loss == nil || g.mode != Train) {
		return nil, errors.New("trainer: want a graph for training that has a loss")
	}
	if err := errors.Join(training.Optimizer.Validate(), training.Schedule.Validate()); err != nil {
		return nil, fmt.Errorf("trainer: %w", err)
	}
	if training.Steps < 1 {
		return nil, fmt.Errorf("trainer: %d steps, want at least 1", training.Steps)
	}
	p, err := Compile(g, training.Options)
	if err != nil {
		return nil, err
	}
	s, err := p.machine.stepper(training.Optimizer, training.Options.Profile)
	if err != nil {
		return nil, fmt.Errorf("trainer: %w", err)
	}
	return &Trainer{program: p, params: g.params, training: training, stepper: s}, nil
}

// Program is the compiled training graph, for its outputs.
func (t *Trainer) Program() *Program { return t.program }

// Params are the parameters that the trainer moves.
func (t *Trainer) Params() *Params { return t.params }

// Done is the number of steps that have been taken.
func (t *Trainer) Done() int { return t.step }

// Steps takes the steps that are left, one per iteration. The next batch is
// filled while a step computes. It ends early with the context's error, the
// source's, or a [DivergedError], in which case the parameters are as they were
// before the step.
func (t *Trainer) Steps(ctx context.Context, source Source) iter.Seq2[Step, error] {
	return t.ImageSteps(ctx, source.withoutViews())
}

// ImageSteps is Steps of a graph with inputs that views fill.
func (t *Trainer) ImageSteps(ctx context.Context, source ImageSource) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		group, ctx := errgroup.WithContext(ctx)
		empty, err := t.feeds()
		if err != nil {
			cancel()
			yield(Step{Index: t.step}, err)
			return
		}
		full := make(chan feed, prefetched)
		group.Go(func() error { return t.prefetch(ctx, source, empty, full) })
		finish := func() error {
			cancel()
			return group.Wait()
		}
		defer func() { _ = finish() }()
		for t.step < t.training.Steps {
			begin := time.Now()
			s, err := t.next(ctx, empty, full)
			if err != nil {
				if failed := finish(); failed != nil && !errors.Is(failed, context.Canceled) {
					err = failed
				}
				yield(s, err)
				return
			}
			t.training.Options.Profile.step(time.Since(begin))
			if !yield(s, nil) {
				return
			}
		}
	}
}

// next takes a step on the next batch.
func (t *Trainer) next(ctx context.Context, empty chan<- feed, full <-chan feed) (Step, error) {
	if err := ctx.Err(); err != nil {
		return Step{Index: t.step}, err
	}
	select {
	case f := <-full:
		defer func() { empty <- f }()
		if err := f.load(); err != nil {
			return Step{Index: t.step}, err
		}
		return t.take()
	case <-ctx.Done():
		return Step{Index: t.step}, ctx.Err()
	}
}

// prefetched is the number of batches that are filled, wait for their step or take it.
const prefetched = 3

func (t *Trainer) feeds() (chan feed, error) {
	c := make(chan feed, prefetched)
	for range prefetched {
		f, err := t.stepper.batch()
		if err != nil {
			return nil, fmt.Errorf("buffers of batches: %w", err)
		}
		c <- f
	}
	return c, nil
}

func (t *Trainer) prefetch(ctx context.Context, source ImageSource, empty <-chan feed, full chan<- feed) error {
	for step := t.step; step < t.training.Steps; step++ {
		var f feed
		select {
		case f = <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := source(ctx, step, f.buffers()); err != nil {
			return fmt.Errorf("batch of step %d: %w", step, err)
		}
		if err := f.send(); err != nil {
			return fmt.Errorf("batch of step %d: %w", step, err)
		}
		full <- f
	}
	return nil
}

// take computes one step and moves the parameters.
func (t *Trainer) take() (Step, error) {
	rate := t.training.Optimizer.LR * t.training.Schedule.Factor(t.step, t.training.Steps)
	t.program.SetStep(t.training.Seed, t.step)
	loss, err := t.stepper.step(t.step+1, rate)
	s := Step{Index: t.step, Loss: loss, Rate: rate}
	if err == nil {
		err = CheckLoss("loss", float64(loss), t.step)
	}
	if err != nil {
		return s, err
	}
	t.step++
	return s, nil
}

const stepKey = "step"

// Save writes a checkpoint: parameters, the optimiser's state and the step,
// with the caller's own metadata, of which the key "step" is the trainer's.
func (t *Trainer) Save(w io.Writer, meta map[string]string) error {
	all := map[string]string{}
	maps.Copy(all, meta)
	all[stepKey] = strconv.Itoa(t.step)
	if err := errors.Join(t.params.Fetch(), t.stepper.moments().Fetch()); err != nil {
		return err
	}
	if err := weights.Write(w, all, append(t.params.Tensors(), t.stepper.moments().Tensors()...)); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// CheckFinite is a [DivergedError] if a parameter is no finite number, as after a
// step whose gradient was none.
func (t *Trainer) CheckFinite() error {
	if err := t.params.Fetch(); err != nil {
		return err
	}
	for _, x := range t.params.list {
		if i := weights.NonFinite(x.Data); i >= 0 {
			return &DivergedError{t.step, fmt.Sprintf("%v in parameter %q", x.Data[i], x.Name)}
		}
	}
	return nil
}

// Restore continues from a checkpoint's tensors and metadata. An error changes
// nothing.
func (t *Trainer) Restore(meta map[string]string, tensors []weights.Tensor) error {
	step, err := strconv.Atoi(meta[stepKey])
	if err != nil || step < 0 || step > t.training.Steps {
		return fmt.Errorf("checkpoint: step %q, want one in [0, %d]", meta[stepKey], t.training.Steps)
	}
	var params, moments []weights.Tensor
	for _, x := range tensors {
		if strings.HasPrefix(x.Name, momentPrefix) {
			moments = append(moments, x)
		} else {
			params = append(params, x)
		}
	}
	values, err := t.params.match(params)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	momentValues, err := t.stepper.moments().match(moments)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.params.assign(values)
	t.stepper.moments().assign(momentValues)
	t.step = step
	return nil
}
