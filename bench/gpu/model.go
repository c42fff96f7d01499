package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/predictor"
)

// model writes a predictor of the network of annotate.py.
func model(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("model", flag.ContinueOnError)
	widths := f.String("widths", "32,64,128,256", "channels of the levels")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("found arguments %q; want one file", f.Args())
	}
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg := predictor.DefaultConfig()
	cfg.Network, cfg.Widths, cfg.StemKernel, cfg.StemStride, cfg.Size = "unet", nil, 3, 1, 256
	for _, width := range strings.Split(*widths, ",") {
		n, err := strconv.Atoi(width)
		if err != nil {
			return fmt.Errorf("widths: %w", err)
		}
		cfg.Widths = append(cfg.Widths, n)
	}
	cfg.Mirror, cfg.Steps, cfg.Batch, cfg.Workers, cfg.Precision = false, 1, 2, runtime.NumCPU(), "f32"
	examples, err := drawn(4)
	if err != nil {
		return err
	}
	m, err := predictor.Fit(ctx, cfg, examples[:2], examples[2:], filepath.Join(dir, "fit"), nil)
	if err != nil {
		return err
	}
	return m.Save(f.Arg(0))
}

// drawn are generated images with their maps.
func drawn(n int) ([]predictor.Example, error) {
	samples, err := testset.Drawn(n)
	examples := make([]predictor.Example, len(samples))
	for i, s := range samples {
		examples[i] = predictor.Example{ID: s.ID, Image: s.Image, Map: s.Saliency}
	}
	return examples, err
}
