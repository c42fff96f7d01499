// Command cpu compares training steps and inference of the project's networks with
// PyTorch's on the same CPU. Both sides are processes of their own, which measure in
// turn. The script compare prepares Python and calls it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/doctor"
)

const (
	serveCommand = "serve"               // our side
	theirs       = "bench/cpu/theirs.py" // PyTorch's
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == serveCommand {
		var j job
		f := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
		j.register(f)
		f.StringVar(&j.Case, "case", "", "")
		f.StringVar(&j.Task, "task", "", "")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		return serve(ctx, j, os.Stdin, os.Stdout)
	}
	return compare(ctx, args)
}

func (j *job) register(f *flag.FlagSet) {
	f.StringVar(&j.Precision, "precision", "f32", "f32 or bf16, on both sides")
	f.IntVar(&j.Threads, "threads", runtime.NumCPU(), "threads of each side")
	f.IntVar(&j.Reps, "reps", 5, "repetitions in a round")
}

// comparison is what is to be compared, and what was found.
type comparison struct {
	job             // without case and task
	machine, python string
	options         []string // of the command line
	modes           []string
	rounds          int
	profiles        string
	about           []string // of both sides
	found           []finding
}

// finding is a case's task with all sides, ours first.
type finding struct {
	job
	sides []*side
}

func compare(ctx context.Context, args []string) error {
	c := comparison{machine: doctor.Inspect().CPU, python: cmp.Or(os.Getenv("PYTHON"), "python3"), options: args}
	var isa string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	c.register(f)
	cases := f.String("cases", defaultCases(), "networks, each with "+guidedSuffix+" behind it for the CYBORG loss")
	wanted := f.String("tasks", stepTask+","+inferenceTask, "what is measured")
	modes := f.String("modes", "eager,channels_last,compile", "of PyTorch; compile is channels_last too")
	out := f.String("out", "", "file to write the table to as well")
	f.StringVar(&c.profiles, "profiles", "", "folder for tables of what our operators take in a step of each case")
	f.StringVar(&isa, "isa", "", "avx2 or avx512: use no better instructions, on both sides")
	f.IntVar(&c.rounds, "rounds", 5, "rounds in which the sides take turns")
	if err := f.Parse(args); err != nil {
		return err
	}
	mask, ok := masks[isa]
	if !ok {
		return fmt.Errorf("isa %q: want avx2 or avx512", isa)
	}
	for name, value := range mask {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if f.NArg() > 0 || c.rounds < 1 || c.Reps < 1 || c.Threads < 1 {
		return fmt.Errorf("found arguments %q, %d rounds, %d repetitions, %d threads; want no arguments and at least 1 of each",
			f.Args(), c.rounds, c.Reps, c.Threads)
	}
	c.modes = strings.Split(*modes, ",")
	err := c.all(ctx, strings.Split(*cases, ","), strings.Split(*wanted, ","))
	if len(c.found) == 0 {
		return cmp.Or(err, errors.New("found nothing to measure"))
	}
	table := c.table()
	_, printed := fmt.Print(table)
	err = errors.Join(err, printed)
	if *out != "" {
		err = errors.Join(err, os.WriteFile(*out, []byte(table), 0o644))
	}
	return err
}

// all compares every task of every case; one that fails leaves the others.
func (c *comparison) all(ctx context.Context, cases, wanted []string) error {
	var failed []error
	for _, name := range cases {
		for _, task := range tasks(name) {
			if ctx.Err() != nil || !slices.Contains(wanted, task) {
				continue
			}
			j := c.job
			j.Case, j.Task = name, task
			if err := c.one(ctx, j); err != nil {
				failed = append(failed, fmt.Errorf("%s of %s: %w", task, name, err))
			}
		}
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// one compares one task of one case.
func (c *comparison) one(ctx context.Context, j job) (err error) {
	found := finding{job: j}
	defer func() {
		for _, s := range found.sides {
			err = errors.Join(err, s.end())
		}
	}()
	if err := c.startAll(ctx, &found); err != nil {
		return err
	}
	n := len(found.sides)
	for round := range c.rounds {
		for i := range n {
			if err := found.sides[(i+round)%n].measure(); err != nil {
				return err
			}
		}
	}
	for _, s := range found.sides {
		if err := s.finish(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s of %s, %s: %.1f ms\n", j.Task, j.Case, s.name, s.median())
	}
	c.found = append(c.found, found)
	c.about = []string{found.sides[0].first.About, found.sides[1].first.About}
	if c.profiles == "" || j.Task != stepTask {
		return nil
	}
	return writeProfile(ctx, j, filepath.Join(c.profiles, j.Case+".md"))
}

// startAll starts all sides. A mode of PyTorch that does not start is left out while
// another does.
func (c *comparison) startAll(ctx context.Context, found *finding) error {
	s, err := c.start(ctx, ours, found.job)
	if err != nil {
		return err
	}
	found.sides = append(found.sides, s)
	var failed []error
	for _, mode := range c.modes {
		s, err := c.start(ctx, mode, found.job)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s of %s: %v\n", found.Task, found.Case, err)
			failed = append(failed, err)
			continue
		}
		found.sides = append(found.sides, s)
	}
	if len(found.sides) == 1 {
		return errors.Join(failed...)
	}
	for _, s := range found.sides[1:] {
		if a, b := found.sides[0].first.Parameters, s.first.Parameters; a != b {
			return fmt.Errorf("not the same network: %d parameters, of PyTorch's %d", a, b)
		}
	}
	return nil
}

// best is PyTorch's fastest mode.
func (f *finding) best() *side {
	return slices.MinFunc(f.sides[1:], func(a, b *side) int { return cmp.Compare(a.median(), b.median()) })
}
