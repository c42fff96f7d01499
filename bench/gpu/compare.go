package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/surrogaze/surrogaze/bench/pytorch"
)

const (
	theirs       = "bench/gpu/theirs.py" // PyTorch's side
	defaultCases = "unet256,unet-resnet50,resnet50+cyborg,densenet121+cyborg,inception_v3+cyborg,xception+cyborg"
)

// comparison is what is to be compared, and how.
type comparison struct {
	job
	pytorch.Comparison
	cases, tasks []string
	upload       bool
	out          string
}

func compare(ctx context.Context, args []string) error {
	var c comparison
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	c.register(f)
	cases := f.String("cases", defaultCases, "networks, each with +cyborg behind it for the CYBORG loss")
	wanted := f.String("tasks", pytorch.StepTask+","+pytorch.InferenceTask, "what is measured")
	modes := f.String("modes", "eager,compile", "of PyTorch: eager, compile, or a mode of torch.compile; empty: our side alone")
	compiling := f.Int("compile", 0, "measure nothing, but let so many processes of PyTorch at a time compile: the next comparison then finds that in PyTorch's cache")
	f.BoolVar(&c.upload, "upload", false, "let PyTorch copy the images to the device for every repetition, as our side does")
	f.StringVar(&c.out, "out", "", "file to add what is found to, a line of JSON for every side of every case")
	f.IntVar(&c.Rounds, "rounds", 3, "rounds in which the sides take turns")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := c.check(f); err != nil {
		return err
	}
	if c.Rounds < 1 {
		return fmt.Errorf("rounds: want at least 1, found %d", c.Rounds)
	}
	c.Start, c.Done = c.start, c.record
	c.Modes = strings.FieldsFunc(*modes, func(r rune) bool { return r == ',' })
	c.cases, c.tasks = strings.Split(*cases, ","), strings.Split(*wanted, ",")
	if *compiling > 0 {
		return c.compile(ctx, *compiling)
	}
	err := c.all(ctx)
	if len(c.Found) == 0 {
		return cmp.Or(err, errors.New("found nothing to measure"))
	}
	_, printed := fmt.Print(c.Table(title(ctx, c.About(), args)))
	return errors.Join(err, printed)
}

// all compares the cases, each in its own batches.
func (c *comparison) all(ctx context.Context) error {
	var failed []error
	for _, name := range c.cases {
		c.Comparison.Job = c.of(name)
		failed = append(failed, c.All(ctx, []string{name}, c.tasks))
	}
	return errors.Join(failed...)
}

// compile lets PyTorch's processes compile, so many at a time.
func (c *comparison) compile(ctx context.Context, parallel int) error {
	commands := make(chan *exec.Cmd)
	failed := make([]error, parallel)
	var workers sync.WaitGroup
	for i := range parallel {
		workers.Go(func() {
			for cmd := range commands {
				failed[i] = errors.Join(failed[i], cmd.Run())
			}
		})
	}
	for _, name := range c.cases {
		j := c.of(name)
		for _, j.Task = range c.tasks {
			for _, mode := range c.Modes {
				if mode != "eager" {
					commands <- c.theirs(ctx, mode, j)
				}
			}
		}
	}
	close(commands)
	workers.Wait()
	return errors.Join(failed...)
}

// title says where the sides ran and how.
func title(ctx context.Context, about string, flags []string) string {
	text := about
	if gpu, err := query(ctx, "0", "name,driver_version"); err == nil {
		text = gpu + "; " + about
	}
	if len(flags) > 0 {
		text += fmt.Sprintf("; flags `%s`", strings.Join(flags, " "))
	}
	return text
}

// start starts a side and finds out how much of the device's memory it takes, with
// whatever its libraries and its allocator keep.
func (c *comparison) start(ctx context.Context, name string, j pytorch.Job) (*pytorch.Side, error) {
	cmd := c.theirs(ctx, name, j)
	if name == pytorch.Ours {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, self, append([]string{serveCommand, "--device", c.device}, j.Args()...)...)
	}
	before := c.memory(ctx)
	s, err := pytorch.Start(name, cmd)
	if err != nil {
		return nil, err
	}
	s.Memory = max(c.memory(ctx)-before, 0)
	return s, nil
}

// theirs is PyTorch's side in a mode.
func (c *comparison) theirs(ctx context.Context, mode string, j pytorch.Job) *exec.Cmd {
	args := append([]string{theirs, "--mode", mode, "--device", c.device}, j.Args()...)
	if c.upload {
		args = append(args, "--upload")
	}
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("PYTHON"), "python3"), args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// memory is what all processes take of the device's, in bytes, 0 where nobody knows.
func (c *comparison) memory(ctx context.Context) int64 {
	device, index, _ := strings.Cut(c.device, ":")
	if device != "cuda" {
		return 0
	}
	text, err := query(ctx, cmp.Or(index, "0"), "memory.used")
	if err != nil {
		return 0
	}
	mebibytes, _ := strconv.ParseInt(text, 10, 64)
	return mebibytes << 20
}

// query asks NVIDIA's tool about a GPU.
func query(ctx context.Context, gpu, what string) (string, error) {
	text, err := exec.CommandContext(ctx, "nvidia-smi", "--id="+gpu, "--query-gpu="+what, "--format=csv,noheader,nounits").Output()
	return strings.TrimSpace(string(text)), err
}

// line is what is written of a side.
type line struct {
	Case       string      `json:"case"`
	Task       string      `json:"task"`
	Precision  string      `json:"precision"`
	Batch      int         `json:"batch"`
	Size       int         `json:"size,omitempty"`
	Side       string      `json:"side"`
	About      string      `json:"about"`
	Parameters int         `json:"parameters"`
	Median     float64     `json:"median_ms"`
	Rounds     [][]float64 `json:"rounds_ms"`
	Memory     int64       `json:"memory"`    // that the process takes of the device's
	Allocated  int64       `json:"allocated"` // of which PyTorch's tensors, at most
}

// record adds a finding to the file.
func (c *comparison) record(_ context.Context, found pytorch.Finding) error {
	if c.out == "" {
		return nil
	}
	f, err := os.OpenFile(c.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := json.NewEncoder(f)
	for _, s := range found.Sides {
		err := lines.Encode(line{
			Case: found.Case, Task: found.Task, Precision: found.Precision, Batch: found.Batch, Size: found.Size,
			Side: s.Name, About: s.About, Parameters: s.Parameters,
			Median: s.Median(), Rounds: s.Rounds, Memory: s.Memory, Allocated: s.Told,
		})
		if err != nil {
			return err
		}
	}
	return f.Close()
}
