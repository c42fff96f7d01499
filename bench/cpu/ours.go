package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/bench/pytorch"
	"github.com/surrogaze/surrogaze/internal/doctor"
)

// serve is our side of the comparison, as theirs.py is PyTorch's.
func serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var j job
	f := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	j.Register(f)
	j.registerThreads(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	resetPeak()
	before := status("VmRSS")
	w, err := pytorch.NewWork(ctx, j.Job, j.options())
	if err != nil {
		return err
	}
	defer w.Close()
	about := fmt.Sprintf("surrogaze (%s, %s)", doctor.Inspect().ISA, runtime.Version())
	return w.Serve(in, out, about, func() int64 { return max(status("VmHWM")-before, 0) })
}

// writeProfile writes what the operators of a job's steps take.
func writeProfile(ctx context.Context, j job, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pytorch.WriteProfile(ctx, f, j.Job, j.options(), doctor.PeaksOf(ctx)); err != nil {
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
