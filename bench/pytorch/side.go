package pytorch

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
)

// Ours is the name of our side; the others have those of PyTorch's modes.
const Ours = "ours"

// Side is a process that measures one job when it is told to.
type Side struct {
	Name       string
	Parameters int
	About      string
	Rounds     [][]float64 // times in milliseconds
	// Memory is in bytes what its starter found it to take, or else what it tells
	// itself; 0 is unknown. Told is what it tells itself.
	Memory, Told int64

	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// Args are a job as arguments of a side.
func (j Job) Args() []string {
	return []string{"--case", j.Case, "--task", j.Task, "--precision", j.Precision,
		"--batch", strconv.Itoa(j.Batch), "--size", strconv.Itoa(j.Size), "--reps", strconv.Itoa(j.Reps)}
}

// Register makes flags of a job, as [Job.Args] writes them.
func (j *Job) Register(f *flag.FlagSet) {
	f.StringVar(&j.Case, "case", "", "network to measure, with +cyborg behind it for the CYBORG loss")
	f.StringVar(&j.Task, "task", StepTask, "what of it: "+StepTask+" or "+InferenceTask)
	f.StringVar(&j.Precision, "precision", "", "f32, tf32 or bf16")
	f.IntVar(&j.Batch, "batch", 0, "images in a step")
	f.IntVar(&j.Size, "size", 0, "side of the images, 0 = the network's own")
	f.IntVar(&j.Reps, "reps", 0, "repetitions in a round")
}

// Start starts the process of a side and waits until it is warm.
func Start(name string, cmd *exec.Cmd) (*Side, error) {
	s := &Side{Name: name, cmd: cmd}
	cmd.Stderr = os.Stderr
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(out)
	var first message
	if err := s.out.Decode(&first); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: no first line: %w", name, err), s.end())
	}
	s.Parameters, s.About = first.Parameters, first.About
	return s, nil
}

// measure lets the side measure one round.
func (s *Side) measure() error {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	var m message
	if err := s.out.Decode(&m); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	s.Rounds = append(s.Rounds, m.Times)
	return nil
}

// finish asks for the memory and ends the process.
func (s *Side) finish() error {
	if err := s.in.Close(); err != nil {
		return err
	}
	var m message
	if err := s.out.Decode(&m); err != nil {
		return fmt.Errorf("%s: no last line: %w", s.Name, err)
	}
	s.Told = m.Memory
	if s.Memory == 0 {
		s.Memory = s.Told
	}
	return nil
}

// end ends the process, whatever it is at.
func (s *Side) end() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.cmd.Wait() // killed
	return nil
}

// Median is the middle one of all times.
func (s *Side) Median() float64 { return median(slices.Concat(s.Rounds...)) }

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
