package pytorch

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"math"
	"time"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// The tasks.
const (
	StepTask      = "step" // forward, loss, backward, optimiser
	InferenceTask = "inference"
)

// warm is the number of repetitions before the first that counts.
const warm = 10

// Job is what one process measures.
type Job struct {
	Case, Task, Precision string
	Batch                 int     // images
	Size                  int     // side of the images; 0 is the network's own
	Reps                  int     // repetitions in a round
	Decay                 float64 // of the weights
}

// message is a line that a side writes: first Parameters and About, then Times for
// every line that it reads, in milliseconds, at last Memory in bytes.
type message struct {
	Parameters int       `json:"parameters,omitempty"`
	About      string    `json:"about,omitempty"`
	Times      []float64 `json:"times,omitempty"`
	Memory     int64     `json:"memory"`
}

// Work is a compiled network.
type Work struct {
	job        Job
	parameters int // trainable
	once       func() error
	stop       func()
}

// NewWork compiles a job's network for what options say. SGD with momentum and weight
// decay moves it.
func NewWork(ctx context.Context, j Job, options nn.Options) (*Work, error) {
	params := nn.NewParams(1)
	g, err := graph(j, params)
	if err != nil {
		return nil, err
	}
	w := &Work{job: j, stop: func() {}}
	for _, p := range params.All() {
		if p.Trainable {
			w.parameters += len(p.Data)
		}
	}
	options.Precision, options.Constant = j.Precision, j.Task == InferenceTask
	if j.Task == InferenceTask {
		p, err := nn.Compile(g, options)
		if err != nil {
			return nil, err
		}
		fill(imageInput, p.Input(imageInput))
		w.once = p.Run
		return w, nil
	}
	t, err := nn.NewTrainer(g, nn.Training{
		Optimizer: nn.Optimizer{Name: "sgd", LR: 1e-3, Momentum: 0.9, WeightDecay: j.Decay}, Steps: math.MaxInt32, Options: options,
	})
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(t.Steps(ctx, theSameBatch))
	w.stop = stop
	w.once = func() error { _, err, _ := next(); return err }
	return w, nil
}

// Close ends the work.
func (w *Work) Close() { w.stop() }

// Serve is our side of a comparison, as theirs.py is PyTorch's: it measures when it is
// told to. At the end it tells the memory that was taken.
func (w *Work) Serve(in io.Reader, out io.Writer, about string, memory func() int64) error {
	if err := w.repeat(warm, nil); err != nil {
		return err
	}
	lines := json.NewEncoder(out)
	if err := lines.Encode(message{Parameters: w.parameters, About: about}); err != nil {
		return err
	}
	for s := bufio.NewScanner(in); s.Scan(); {
		m := message{Times: make([]float64, w.job.Reps)}
		if err := w.repeat(w.job.Reps, m.Times); err != nil {
			return err
		}
		if err := lines.Encode(m); err != nil {
			return err
		}
	}
	return lines.Encode(message{Memory: memory()})
}

// repeat does the work some times and notes how many milliseconds each took.
func (w *Work) repeat(n int, times []float64) error {
	for i := range n {
		begin := time.Now()
		if err := w.once(); err != nil {
			return err
		}
		if times != nil {
			times[i] = 1e3 * time.Since(begin).Seconds()
		}
	}
	return nil
}

// theSameBatch fills the trainer's buffers, which it then leaves as they are.
func theSameBatch(_ context.Context, step int, b nn.Batch) error {
	if step < 8 { // more steps than there are buffers
		for name, x := range b {
			fill(name, x)
		}
	}
	return nil
}

// WriteProfile writes what the operators of a job's steps take.
func WriteProfile(ctx context.Context, out io.Writer, j Job, options nn.Options, peaks nn.Peaks) error {
	var profile nn.Profile
	options.Profile = &profile
	w, err := NewWork(ctx, j, options)
	if err != nil {
		return err
	}
	err = w.repeat(1+j.Reps, nil)
	w.Close()
	if err != nil {
		return err
	}
	return profile.Write(out, peaks)
}
