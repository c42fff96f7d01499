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
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/bench/pytorch"
	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/internal/nn"
)

const (
	serveCommand = "serve"               // our side
	theirs       = "bench/cpu/theirs.py" // PyTorch's
	batch        = 8                     // images in a step
	defaultCases = "unet64,unet128,resnet18,resnet50,densenet121,inception_v3,xception,resnet18+cyborg"
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
		return serve(ctx, args[1:], os.Stdin, os.Stdout)
	}
	return compare(ctx, args)
}

// job is what is measured, and with how many threads.
type job struct {
	pytorch.Job
	threads int
}

func (j *job) registerThreads(f *flag.FlagSet) {
	f.IntVar(&j.threads, "threads", runtime.NumCPU(), "threads of each side")
}

// options are those of our side.
func (j *job) options() nn.Options { return nn.Options{Workers: j.threads} }

// masks are the variables that keep both sides to an instruction set.
var masks = map[string]map[string]string{
	"avx2":   {"SURROGAZE_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
	"avx512": {"SURROGAZE_ISA": "avx512", "ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}

func compare(ctx context.Context, args []string) error {
	j := job{Job: pytorch.Job{Batch: batch}}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	j.registerThreads(f)
	f.StringVar(&j.Precision, "precision", "f32", "f32 or bf16, on both sides")
	f.IntVar(&j.Reps, "reps", 5, "repetitions in a round")
	cases := f.String("cases", defaultCases, "networks, each with +cyborg behind it for the CYBORG loss")
	wanted := f.String("tasks", pytorch.StepTask+","+pytorch.InferenceTask, "what is measured")
	modes := f.String("modes", "eager,channels_last,compile", "of PyTorch; compile is channels_last too")
	out := f.String("out", "", "file to write the table to as well")
	profiles := f.String("profiles", "", "folder for tables of what our operators take in a step of each case")
	isa := f.String("isa", "", "avx2 or avx512: use no better instructions, on both sides")
	rounds := f.Int("rounds", 5, "rounds in which the sides take turns")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *rounds < 1 || j.Reps < 1 || j.threads < 1 {
		return fmt.Errorf("found arguments %q, %d rounds, %d repetitions, %d threads; want no arguments and at least 1 of each",
			f.Args(), *rounds, j.Reps, j.threads)
	}
	if err := setMask(*isa); err != nil {
		return err
	}
	c := pytorch.Comparison{Job: j.Job, Modes: strings.Split(*modes, ","), Rounds: *rounds, Start: j.start,
		Done: func(ctx context.Context, found pytorch.Finding) error {
			if *profiles == "" || found.Task != pytorch.StepTask {
				return nil
			}
			return writeProfile(ctx, job{found.Job, j.threads}, filepath.Join(*profiles, found.Case+".md"))
		}}
	err := c.All(ctx, strings.Split(*cases, ","), strings.Split(*wanted, ","))
	if len(c.Found) == 0 {
		return cmp.Or(err, errors.New("found nothing to measure"))
	}
	table := c.Table(title(c.About(), j.threads, args))
	_, printed := fmt.Print(table)
	err = errors.Join(err, printed)
	if *out != "" {
		err = errors.Join(err, os.WriteFile(*out, []byte(table), 0o644))
	}
	return err
}

// setMask keeps both sides to an instruction set, if one is named. torch.compile's cache
// does not tell instruction sets apart, and what was generated for one fails on another:
// each has its own.
func setMask(isa string) error {
	if isa == "" {
		return nil
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
	return os.Setenv("TORCHINDUCTOR_CACHE_DIR", filepath.Join(os.TempDir(), "torchinductor-"+isa))
}

// title says where the sides ran and how.
func title(about string, threads int, flags []string) string {
	text := fmt.Sprintf("%s; %s; %d threads", doctor.Inspect().CPU, about, threads)
	if len(flags) > 0 {
		text += fmt.Sprintf("; flags `%s`", strings.Join(flags, " "))
	}
	return text
}

// start starts a side.
func (j *job) start(ctx context.Context, name string, of pytorch.Job) (*pytorch.Side, error) {
	threads := strconv.Itoa(j.threads)
	args := append(of.Args(), "--threads", threads)
	program := cmp.Or(os.Getenv("PYTHON"), "python3")
	if name == pytorch.Ours {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program, args = self, append([]string{serveCommand}, args...)
	} else {
		args = append([]string{theirs, "--mode", name}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+threads, "OMP_NUM_THREADS="+threads)
	return pytorch.Start(name, cmd)
}
