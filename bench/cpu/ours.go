package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/internal/nn"
)

// The tasks.
const (
	stepTask      = "step" // forward, loss, backward, optimiser
	inferenceTask = "inference"
)

// warm is the number of repetitions before the first that counts.
const warm = 3

// job is what one process measures.
type job struct {
	Case, Task, Precision string
	Threads, Reps         int
}

// message is a line that a side writes: first Parameters and About, then Times for
// every line that it reads, in milliseconds, at last Memory in bytes.
type message struct {
	Parameters int       `json:"parameters,omitempty"`
	About      string    `json:"about,omitempty"`
	Times      []float64 `json:"times,omitempty"`
	Memory     int64     `json:"memory"`
}

// serve is our side of the comparison, as theirs.py is PyTorch's.
func serve(ctx context.Context, j job, in io.Reader, out io.Writer) error {
	resetPeak()
	before := status("VmRSS")
	w, err := newWork(ctx, j, nil)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.repeat(warm, nil); err != nil {
		return err
	}
	lines := json.NewEncoder(out)
	if err := lines.Encode(message{Parameters: w.parameters, About: about()}); err != nil {
		return err
	}
	for s := bufio.NewScanner(in); s.Scan(); {
		m := message{Times: make([]float64, j.Reps)}
		if err := w.repeat(j.Reps, m.Times); err != nil {
			return err
		}
		if err := lines.Encode(m); err != nil {
			return err
		}
	}
	return lines.Encode(message{Memory: max(status("VmHWM")-before, 0)})
}

func about() string {
	m := doctor.Inspect()
	return fmt.Sprintf("surrogaze (%s, %s)", m.ISA, runtime.Version())
}

// work is a compiled network.
type work struct {
	parameters int // trainable
	once       func() error
	stop       func()
}

// newWork compiles a job's network, measured by a profile if that is not nil.
func newWork(ctx context.Context, j job, profile *nn.Profile) (*work, error) {
	params, mode := nn.NewParams(1), nn.Train
	if j.Task == inferenceTask {
		mode = nn.Eval
	}
	g, err := graph(j.Case, mode, params)
	if err != nil {
		return nil, err
	}
	w := &work{stop: func() {}}
	for _, p := range params.All() {
		if p.Trainable {
			w.parameters += len(p.Data)
		}
	}
	options := nn.Options{Precision: j.Precision, Workers: j.Threads, Constant: j.Task == inferenceTask, Profile: profile}
	if j.Task == inferenceTask {
		p, err := nn.Compile(g, options)
		if err != nil {
			return nil, err
		}
		fill(imageInput, p.Input(imageInput))
		w.once = p.Run
		return w, nil
	}
	t, err := nn.NewTrainer(g, nn.Training{
		Optimizer: nn.Optimizer{Name: "sgd", LR: 1e-3, Momentum: 0.9}, Steps: math.MaxInt32, Options: options,
	})
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(t.Steps(ctx, theSameBatch))
	w.stop = stop
	w.once = func() error { _, err, _ := next(); return err }
	return w, nil
}

// repeat does the work some times and notes how many milliseconds each took.
func (w *work) repeat(n int, times []float64) error {
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

// fill gives an input its values.
func fill(name string, x []float32) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		switch name {
		case imageInput:
			x[i] = float32(rng.NormFloat64())
		case labelInput:
			x[i] = float32(rng.IntN(classes))
		case mapInput:
			x[i] = rng.Float32()
		case weightInput:
			x[i] = alpha
		case mapWeightInput:
			x[i] = 1 - alpha
		}
	}
}

// writeProfile writes what the operators of a job's steps take.
func writeProfile(ctx context.Context, j job, path string) error {
	var profile nn.Profile
	w, err := newWork(ctx, j, &profile)
	if err != nil {
		return err
	}
	err = w.repeat(1+j.Reps, nil)
	w.stop()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := profile.Write(f, doctor.Bench(ctx).Of); err != nil {
		return err
	}
	return f.Close()
}

// status is a size in bytes from the kernel's account of this process, 0 where there
// is none.
func status(field string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// resetPeak makes the kernel forget the largest size so far, where it can.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
