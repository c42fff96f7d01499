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
	updates  *updates
	exec     *executor
	step     int
	// statistics are the parameters that a forward pass moves.
	statistics []statistic
}

// statistic is a batch norm's running statistic and what it was before a step.
type statistic struct {
	*Param
	before []float32
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
	t := &Trainer{program: p, params: g.params, training: training}
	t.updates = newUpdates(p, training.Optimizer)
	t.exec = newExecutor(training.Options.Profile.around(t.updates, training.Optimizer), p.env.Workers)
	for _, x := range g.params.All() {
		if !x.Trainable {
			t.statistics = append(t.statistics, statistic{x, make([]float32, len(x.Data))})
		}
	}
	return t, nil
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
	return func(yield func(Step, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		group, ctx := errgroup.WithContext(ctx)
		empty, full := t.buffers(), make(chan Batch, prefetched)
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
func (t *Trainer) next(ctx context.Context, empty chan<- Batch, full <-chan Batch) (Step, error) {
	if err := ctx.Err(); err != nil {
		return Step{Index: t.step}, err
	}
	select {
	case b := <-full:
		t.load(b)
		empty <- b
		return t.take()
	case <-ctx.Done():
		return Step{Index: t.step}, ctx.Err()
	}
}

// prefetched is the number of batches that may wait for their step.
const prefetched = 2

func (t *Trainer) buffers() chan Batch {
	c := make(chan Batch, prefetched)
	for range prefetched {
		b := Batch{}
		for name, v := range t.program.list.inputs {
			b[name] = make([]float32, len(v.data))
		}
		c <- b
	}
	return c
}

func (t *Trainer) prefetch(ctx context.Context, source Source, empty <-chan Batch, full chan<- Batch) error {
	for step := t.step; step < t.training.Steps; step++ {
		var b Batch
		select {
		case b = <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := source(ctx, step, b); err != nil {
			return fmt.Errorf("batch of step %d: %w", step, err)
		}
		full <- b
	}
	return nil
}

func (t *Trainer) load(b Batch) {
	for name, v := range t.program.list.inputs {
		copy(v.data, b[name])
	}
}

// take computes one step and moves the parameters.
func (t *Trainer) take() (Step, error) {
	rate := t.training.Optimizer.LR * t.training.Schedule.Factor(t.step, t.training.Steps)
	for _, s := range t.statistics {
		copy(s.before, s.Data)
	}
	t.program.SetStep(t.training.Seed, t.step)
	t.program.Run()
	s := Step{Index: t.step, Loss: t.program.Loss(), Rate: rate}
	if err := CheckLoss("loss", float64(s.Loss), t.step); err != nil {
		for _, s := range t.statistics {
			copy(s.Data, s.before)
		}
		return s, err
	}
	t.step++
	t.updates.set(t.step, rate)
	t.exec.run()
	return s, nil
}

const stepKey = "step"

// Save writes a checkpoint: parameters, the optimiser's state and the step,
// with the caller's own metadata, of which the key "step" is the trainer's.
func (t *Trainer) Save(w io.Writer, meta map[string]string) error {
	all := map[string]string{}
	maps.Copy(all, meta)
	all[stepKey] = strconv.Itoa(t.step)
	if err := weights.Write(w, all, append(t.params.Tensors(), t.updates.moments.Tensors()...)); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// CheckFinite is a [DivergedError] if a parameter is no finite number, as after a
// step whose gradient was none.
func (t *Trainer) CheckFinite() error {
	for _, x := range t.params.All() {
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
	momentValues, err := t.updates.moments.match(moments)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.params.assign(values)
	t.updates.moments.assign(momentValues)
	t.step = step
	return nil
}
