package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/surrogaze/surrogaze/bench/pytorch"
	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/internal/nn"
)

const (
	serveCommand = "serve" // our side
	decay        = 1e-4    // of the weights, as in theirs.py
)

// version is that of the source, which the script build sets.
var version = "unknown"

// job is what is measured, and where.
type job struct {
	pytorch.Job
	device string
}

func (j *job) registerDevice(f *flag.FlagSet) {
	f.StringVar(&j.device, "device", "cuda", "cuda[:n], or cpu to try the comparison out")
}

// register makes flags of what is common to the commands.
func (j *job) register(f *flag.FlagSet) {
	j.registerDevice(f)
	f.StringVar(&j.Precision, "precision", "bf16", "bf16, tf32 or f32, on both sides")
	f.IntVar(&j.Batch, "batch", 0, "images in a step, 0 = 64 for those that draw maps, 128 for classifiers")
	f.IntVar(&j.Size, "size", 0, "side of the images, 0 = the network's own")
	f.IntVar(&j.Reps, "reps", 10, "repetitions in a round")
}

// check reports the first thing wrong with what is common to the commands.
func (j *job) check(f *flag.FlagSet) error {
	if f.NArg() > 0 || j.Reps < 1 || min(j.Batch, j.Size) < 0 {
		return fmt.Errorf("found arguments %q, %d repetitions, batch %d, size %d; want no arguments and positive numbers",
			f.Args(), j.Reps, j.Batch, j.Size)
	}
	return nil
}

// of is the job for a case.
func (j *job) of(name string) pytorch.Job {
	of := j.Job
	of.Case, of.Decay = name, decay
	switch {
	case of.Batch > 0:
	case strings.HasPrefix(name, "unet"):
		of.Batch = 64
	default:
		of.Batch = 128
	}
	return of
}

// options are those of our side.
func (j *job) options() nn.Options {
	return nn.Options{Device: j.device, Workers: runtime.NumCPU()}
}

// serve is our side of the comparison, as theirs.py is PyTorch's.
func serve(ctx context.Context, args []string) error {
	var j job
	f := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	j.Register(f)
	j.registerDevice(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	w, err := pytorch.NewWork(ctx, j.of(j.Case), j.options())
	if err != nil {
		return err
	}
	defer w.Close()
	about := fmt.Sprintf("surrogaze %s (%s)", version, runtime.Version())
	return w.Serve(os.Stdin, os.Stdout, about, func() int64 { return 0 })
}

// profile prints what the operators take in a step of each case.
func profile(ctx context.Context, args []string) error {
	var j job
	f := flag.NewFlagSet("profile", flag.ContinueOnError)
	j.register(f)
	cases := f.String("cases", defaultCases, "networks, each with +cyborg behind it for the CYBORG loss")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := j.check(f); err != nil {
		return err
	}
	for _, name := range strings.Split(*cases, ",") {
		of := j.of(name)
		of.Task = pytorch.StepTask
		fmt.Printf("\n## %s, batch %d\n\n", name, of.Batch)
		if err := pytorch.WriteProfile(ctx, os.Stdout, of, j.options(), doctor.PeaksOf(ctx)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
