package nn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"

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

// DivergedError reports a loss that is no finite number.
type DivergedError struct {
	Step int
	Loss float32
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("training diverged at step %d: loss %v, want a finite number (a lower learning rate may help)", e.Step, e.Loss)
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
}

// NewTrainer compiles a training graph and adds the optimiser's step to it.
func NewTrainer(g *Graph, training Training) (*Trainer, error) {
	if g.loss == nil && g.err == nil {
		return nil, errors.New("trainer: the graph has no loss")
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
	t.exec = &executor{sections: sections(t.updates.phases), workers: p.env.Workers}
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
		stop := func(s Step, err error) {
			cancel()
			if werr := group.Wait(); werr != nil && !errors.Is(werr, context.Canceled) {
				err = werr
			}
			if err != nil {
				yield(s, err)
			}
		}
		for t.step < t.training.Steps {
			var b Batch
			select {
			case b = <-full:
			case <-ctx.Done():
				stop(Step{Index: t.step}, ctx.Err())
				return
			}
			if err := ctx.Err(); err != nil {
				stop(Step{Index: t.step}, err)
				return
			}
			t.load(b)
			empty <- b
			s, err := t.take()
			if err != nil {
				stop(s, err)
				return
			}
			if !yield(s, nil) {
				cancel()
				_ = group.Wait() // the caller has left: nobody to tell
				return
			}
		}
		stop(Step{}, nil)
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
	t.program.SetStep(t.training.Seed, t.step)
	t.program.Run()
	s := Step{Index: t.step, Loss: t.program.Loss(), Rate: rate}
	if l := float64(s.Loss); math.IsNaN(l) || math.IsInf(l, 0) {
		return s, &DivergedError{s.Index, s.Loss}
	}
	t.step++
	t.updates.set(t.step, rate)
	t.exec.run()
	return s, nil
}

const stepKey = "step"

// Save writes a checkpoint: parameters, the optimiser's state and the step,
// with the caller's own metadata.
func (t *Trainer) Save(w io.Writer, meta map[string]string) error {
	all := map[string]string{stepKey: strconv.Itoa(t.step)}
	for k, v := range meta {
		all[k] = v
	}
	if err := weights.Write(w, all, append(t.params.Tensors(), t.updates.tensors()...)); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// Restore continues from a checkpoint's tensors and metadata.
func (t *Trainer) Restore(meta map[string]string, tensors []weights.Tensor) error {
	step, err := strconv.Atoi(meta[stepKey])
	if err != nil || step < 0 || step > t.training.Steps {
		return fmt.Errorf("checkpoint: step %q, want one in [0, %d]", meta[stepKey], t.training.Steps)
	}
	rest, err := t.updates.restore(tensors)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := t.params.Load(rest); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.step = step
	return nil
}
