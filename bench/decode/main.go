// Command decode compares decoding JPEG files to RGB with Pillow's, on one thread
// each, in turn. The script run prepares Python and calls it.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/internal/raster"
)

const theirs = "bench/decode/theirs.py"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "decode:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	python := cmp.Or(os.Getenv("PYTHON"), "python3")
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	images := f.String("images", "", "folder of JPEG files to decode, instead of generated ones")
	most := f.Int("most", 100, "number of files of that folder")
	rounds := f.Int("rounds", 31, "rounds in which the sides take turns")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *rounds < 1 || *most < 1 {
		return fmt.Errorf("found arguments %q, %d rounds, %d files; want no arguments and at least 1 of each", f.Args(), *rounds, *most)
	}
	var cases []work
	if *images != "" {
		cases, err = folder(*images, *most)
	} else {
		var dir string
		if dir, err = os.MkdirTemp("", "decode"); err == nil {
			defer os.RemoveAll(dir)
			cases, err = generated(ctx, python, dir)
		}
	}
	if err != nil {
		return err
	}
	return compare(ctx, python, cases, *rounds)
}

// work is what is decoded in one turn: all files, Reps times.
type work struct {
	name   string
	pixels int
	bytes  int64

	Paths []string `json:"paths"`
	Reps  int      `json:"reps"`
}

// enough is the number of pixels that a turn decodes at least.
const enough = 400_000

func newWork(name string, paths []string) (work, error) {
	w := work{name: name, Paths: paths}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return w, err
		}
		width, height, err := raster.Size(data)
		if err != nil {
			return w, fmt.Errorf("%s: %w", path, err)
		}
		w.pixels += width * height
		w.bytes += int64(len(data))
	}
	w.Reps = max(1, enough/w.pixels)
	return w, nil
}

// folder is one work of the files of a folder.
func folder(dir string, most int) ([]work, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("folder %q: found no file *.jpg", dir)
	}
	paths = paths[:min(most, len(paths))]
	w, err := newWork(fmt.Sprintf("%d files", len(paths)), paths)
	return []work{w}, err
}

// generated writes images and makes each a work of its own.
func generated(ctx context.Context, python, dir string) ([]work, error) {
	cmd := exec.CommandContext(ctx, python, theirs, "generate", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("generate images: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return nil, err
	}
	var cases []work
	for _, path := range paths {
		name := strings.TrimLeft(strings.TrimSuffix(filepath.Base(path), ".jpg"), "0")
		w, err := newWork(name, []string{path})
		if err != nil {
			return nil, err
		}
		cases = append(cases, w)
	}
	return cases, nil
}

// pillow is the process of the other side.
type pillow struct {
	cmd   *exec.Cmd
	in    *json.Encoder
	out   *json.Decoder
	close func() error
	about string
}

func startPillow(ctx context.Context, python string) (*pillow, error) {
	p := &pillow{cmd: exec.CommandContext(ctx, python, theirs, "serve")}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out, p.close = json.NewEncoder(in), json.NewDecoder(out), in.Close
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.out.Decode(&p.about); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: no first line: %w", theirs, err), p.end())
	}
	return p, nil
}

func (p *pillow) decode(w work) (ms float64, err error) {
	if err = p.in.Encode(w); err == nil {
		err = p.out.Decode(&ms)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", theirs, err)
	}
	return ms, nil
}

func (p *pillow) end() error { return errors.Join(p.close(), p.cmd.Wait()) }

func decode(w work) (ms float64, err error) {
	files := make([][]byte, len(w.Paths))
	for i, path := range w.Paths {
		if files[i], err = os.ReadFile(path); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	for range w.Reps {
		for i, data := range files {
			if _, err := raster.Decode(data); err != nil {
				return 0, fmt.Errorf("%s: %w", w.Paths[i], err)
			}
		}
	}
	return 1e3 * time.Since(begin).Seconds() / float64(w.Reps), nil
}

// compare measures all works and prints a table.
func compare(ctx context.Context, python string, cases []work, rounds int) (err error) {
	p, err := startPillow(ctx, python)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	sides := []func(work) (float64, error){decode, p.decode}
	var table strings.Builder
	fmt.Fprintf(&table, "%s; surrogaze (%s); %s; one thread each, medians of %d rounds in turn.\n\n", doctor.Inspect().CPU, runtime.Version(), p.about, rounds)
	table.WriteString("| images | bits a pixel | ours, ms | Pillow, ms | ratio | ratio of the fastest |\n|---|--:|--:|--:|--:|--:|\n")
	logs, fastestLogs := 0.0, 0.0
	for _, w := range cases {
		times, err := inTurn(w, sides, rounds)
		if err != nil {
			return err
		}
		ours, theirs := median(times[0]), median(times[1])
		fastest := slices.Min(times[0]) / slices.Min(times[1])
		logs, fastestLogs = logs+math.Log(ours/theirs), fastestLogs+math.Log(fastest)
		fmt.Fprintf(&table, "| %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n",
			w.name, 8*float64(w.bytes)/float64(w.pixels), ours, theirs, ours/theirs, fastest)
	}
	n := float64(len(cases))
	fmt.Fprintf(&table, "| geometric mean | | | | %.2f | %.2f |\n", math.Exp(logs/n), math.Exp(fastestLogs/n))
	_, err = fmt.Print(table.String())
	return err
}

// inTurn lets the sides do the work in turn, the first to begin changing, and returns
// the times of each; one round before does not count.
func inTurn(w work, sides []func(work) (float64, error), rounds int) ([][]float64, error) {
	times := make([][]float64, len(sides))
	for round := range rounds + 1 {
		for i := range sides {
			side := (i + round) % len(sides)
			ms, err := sides[side](w)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				times[side] = append(times[side], ms)
			}
		}
	}
	return times, nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
