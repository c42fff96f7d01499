package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
)

// ours is the name of our side; the others have those of PyTorch's modes.
const ours = "ours"

// side is a process that measures one job when it is told to.
type side struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	first  message
	rounds [][]float64
	memory int64
}

// masks are the variables that keep both sides to an instruction set.
var masks = map[string]map[string]string{
	"":       nil,
	"avx2":   {"SURROGAZE_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
	"avx512": {"SURROGAZE_ISA": "avx512", "ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}

// start starts the process of a side and waits until it is warm.
func (c *comparison) start(ctx context.Context, name string, j job) (*side, error) {
	args := []string{"--case", j.Case, "--task", j.Task, "--precision", j.Precision,
		"--threads", strconv.Itoa(j.Threads), "--reps", strconv.Itoa(j.Reps)}
	program := c.python
	if name == ours {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program, args = self, append([]string{serveCommand}, args...)
	} else {
		args = append([]string{theirs, "--mode", name}, args...)
	}
	s := &side{name: name, cmd: exec.CommandContext(ctx, program, args...)}
	threads := strconv.Itoa(j.Threads)
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS="+threads, "OMP_NUM_THREADS="+threads)
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(out)
	if err := s.out.Decode(&s.first); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: no first line: %w", name, err), s.end())
	}
	return s, nil
}

// measure lets the side measure one round.
func (s *side) measure() error {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	var m message
	if err := s.out.Decode(&m); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.rounds = append(s.rounds, m.Times)
	return nil
}

// finish asks for the memory and ends the process.
func (s *side) finish() error {
	if err := s.in.Close(); err != nil {
		return err
	}
	var m message
	if err := s.out.Decode(&m); err != nil {
		return fmt.Errorf("%s: no last line: %w", s.name, err)
	}
	s.memory = m.Memory
	return nil
}

// end ends the process, whatever it is at.
func (s *side) end() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.cmd.Wait() // killed
	return nil
}

// median is the middle one of all times.
func (s *side) median() float64 { return median(slices.Concat(s.rounds...)) }

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
