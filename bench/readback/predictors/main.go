// Command predictors fits a predictor of every network around a published encoder for
// a few steps, and writes its parameters, the same as ONNX, and the maps that it draws
// of the images beside it; check.py loads the one in segmentation_models_pytorch and
// the other in onnxruntime, and compares. The script run does both.
//
//	go run ./bench/readback/predictors FOLDER
package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: predictors FOLDER")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "predictors:", err)
		os.Exit(1)
	}
}

// size is the side of the networks.
const size = 64

// write leaves NETWORK.safetensors, NETWORK.onnx, the images ID.png, and the maps
// NETWORK/ID.png.
func write(ctx context.Context, dir string) error {
	examples, err := drawn(8)
	if err != nil {
		return err
	}
	shown := examples[:2]
	for _, e := range shown {
		if err := os.WriteFile(filepath.Join(dir, e.ID+".png"), e.Image.Bytes, 0o644); err != nil {
			return err
		}
	}
	for _, network := range []string{"unet-resnet18", "unet-resnet50", "unet-densenet121", "unetplusplus-resnet50"} {
		if err := writePredictor(ctx, network, examples, shown, dir); err != nil {
			return fmt.Errorf("%s: %w", network, err)
		}
	}
	return nil
}

func writePredictor(ctx context.Context, network string, examples, shown []predictor.Example, dir string) error {
	cfg := predictor.DefaultConfig()
	cfg.Network, cfg.Widths, cfg.StemKernel, cfg.StemStride = network, nil, 0, 0
	cfg.Size, cfg.Steps, cfg.Batch, cfg.Precision, cfg.Workers = size, 4, 2, "f32", runtime.NumCPU()
	m, err := predictor.Fit(ctx, cfg, examples[:6], examples[6:], filepath.Join(dir, "fitting", network), nil)
	if err != nil {
		return err
	}
	for _, to := range []string{"onnx", "safetensors"} {
		if err := m.Export(filepath.Join(dir, network+"."+to), to); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, network), 0o755); err != nil {
		return err
	}
	for x, err := range m.Annotate(ctx, samples(shown), predictor.Options{Precision: cfg.Precision}) {
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, network, x.Sample.ID+".png"), x.Map.Bytes, 0o644); err != nil {
			return err
		}
	}
	return nil
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

func samples(examples []predictor.Example) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, e := range examples {
			if !yield(storage.Sample{ID: e.ID, Image: e.Image}, nil) {
				return
			}
		}
	}
}
