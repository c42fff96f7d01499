// Command training trains a ResNet-18 with the CYBORG loss for a few steps of all
// images, and writes the data set, the weights that it began with and the loss of every
// step; check.py does the same by the code of docs/models.md, and compares. The script
// run does both.
//
//	go run ./bench/readback/training FOLDER
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/storage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: training FOLDER")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "training:", err)
		os.Exit(1)
	}
}

// write leaves set/data/*.parquet, start.safetensors, and losses.json.
func write(ctx context.Context, dir string) error {
	set, labelled, err := writeSet(filepath.Join(dir, "set"))
	if err != nil {
		return err
	}
	cfg := config()
	cfg.Batch = labelled
	start := filepath.Join(dir, "start.safetensors")
	begun, err := train(ctx, cfg, set, cyborg.None, filepath.Join(dir, "beginning"))
	if err != nil {
		return err
	}
	if err := begun.Save(start); err != nil {
		return err
	}
	cfg.Pretrained, cfg.Epochs = start, 3
	m, err := train(ctx, cfg, set, cyborg.Combined, filepath.Join(dir, "training"))
	if err != nil {
		return err
	}
	var losses []float64
	for _, p := range m.Summary().History {
		losses = append(losses, p.TrainLoss)
	}
	text, err := json.Marshal(losses)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "losses.json"), text, 0o644)
}

// config is what docs/models.md does, of one step an epoch and without augmentation, on
// images that are not resampled.
func config() cyborg.Config {
	c := cyborg.DefaultConfig()
	c.Network, c.Size, c.Alpha, c.Epochs, c.Select = "resnet18", synthetic.Size, 0.5, 1, "last"
	c.Optimizer = cyborg.Optimizer{Name: "sgd", LR: 0.005, Momentum: 0.9, Schedule: "constant"}
	c.Augment = cyborg.Augment{}
	c.Precision, c.Workers = "f32", runtime.NumCPU()
	return c
}

func train(ctx context.Context, cfg cyborg.Config, set *storage.Dataset, arm cyborg.Arm, dir string) (*cyborg.Model, error) {
	data, err := cyborg.OpenData(set, cfg, 1<<30)
	if err != nil {
		return nil, err
	}
	return cyborg.Train(ctx, cfg, data, arm, 0, dir, nil)
}

// writeSet writes images with human and predicted maps, one without and one without a
// label, and counts those with one.
func writeSet(dir string) (*storage.Dataset, int, error) {
	samples, err := testset.Drawn(8)
	if err != nil {
		return nil, 0, err
	}
	samples[1].SaliencySource = storage.SourcePredictor
	samples[2].Saliency, samples[2].SaliencySource = storage.Encoded{}, ""
	samples[3].Label = storage.NoLabel
	w, err := storage.Create(dir, storage.Schema{Classes: synthetic.Classes})
	if err != nil {
		return nil, 0, err
	}
	for _, s := range samples {
		s.Split = "train"
		if err := w.Append(s); err != nil {
			return nil, 0, errors.Join(err, w.Abort())
		}
	}
	if err := w.Close(); err != nil {
		return nil, 0, err
	}
	set, err := storage.Open(dir)
	return set, len(samples) - 1, err
}
