// Command epoch measures how close training on image files comes to the rate of its
// bare steps. A ResNet is trained on a data set of JPEG images through the public
// packages; from the second epoch on it takes turns with a network of the same kind
// whose batch is always there. What a core of the host does for each image is measured
// by itself.
//
//	go run ./bench/epoch [FLAGS]         --help lists them
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "epoch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("epoch", flag.ContinueOnError)
	images := f.String("images", "", "folder of JPEG files to train on, instead of generated ones")
	count := f.Int("count", 64, "number of images")
	network := f.String("network", "resnet18", "what is trained: resnet18 or resnet50")
	device := f.String("device", "auto", "what it is trained on: auto, cpu, cuda or cuda:<number>")
	precision := f.String("precision", "auto", "of the training: auto, f32 or bf16")
	size := f.Int("size", 224, "side of the network's input")
	batch := f.Int("batch", 8, "images in a step")
	threads := f.Int("threads", runtime.NumCPU(), "cores of either side")
	turns := f.Int("turns", 15, "turns of both sides")
	steps := f.Int("steps", 5, "steps in a turn")
	mebibytes := f.Int64("budget", 2048, "memory for decoded images in MiB")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || min(*count, *batch, *threads, *turns, *steps) < 1 || *mebibytes < 0 {
		return fmt.Errorf("found arguments %q, or a number that is not positive; want no arguments and at least 1 of everything", f.Args())
	}
	files, err := generated(*count)
	if *images != "" {
		files, err = read(*images, *count)
	}
	if err != nil {
		return err
	}
	cfg := config(*network, *size, *batch, *threads)
	cfg.Device, cfg.Precision = *device, *precision
	drawn, sent, err := host(cfg, files)
	if err != nil {
		return err
	}
	c := comparison{steps: *steps, turns: *turns, batch: *batch}
	cfg.Epochs = c.epochs(len(files))
	if c.bare, err = newBare(ctx, cfg); err != nil {
		return err
	}
	defer c.bare.stop()
	if err := c.train(ctx, cfg, files, *mebibytes<<20); err != nil {
		return err
	}
	fmt.Printf("%s; surrogaze (%s); %s at %d, batch %d, %d threads, device %s; medians of %d turns of %d steps.\n\n",
		doctor.Inspect().CPU, runtime.Version(), *network, *size, *batch, *threads, *device, *turns, *steps)
	fmt.Printf("| %d images, %d MiB for decoded ones | bare, images/s | share |\n|--:|--:|--:|\n| %.2f | %.2f | %.1f %% |\n",
		len(files), *mebibytes, median(c.trained), median(c.bared), 100*median(c.shares))
	fmt.Printf("\n| a core of the host: draws, images/s | hands on to a GPU, images/s |\n|--:|--:|\n| %.0f | %.0f |\n", drawn, sent)
	return nil
}

func config(network string, size, batch, threads int) cyborg.Config {
	cfg := cyborg.DefaultConfig()
	cfg.Network, cfg.Size, cfg.Batch, cfg.Workers, cfg.Select = network, size, batch, threads, "last"
	cfg.Optimizer = cyborg.Optimizer{Name: "sgd", LR: 1e-3, Momentum: 0.9, Schedule: "constant"}
	return cfg
}

// train writes the data set and trains on it, in turns with the bare steps.
func (c *comparison) train(ctx context.Context, cfg cyborg.Config, files [][]byte, budget int64) (err error) {
	dir, err := os.MkdirTemp("", "epoch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	set, err := write(filepath.Join(dir, "set"), files)
	if err != nil {
		return err
	}
	data, err := cyborg.OpenData(set, cfg, budget)
	if err != nil {
		return err
	}
	ctx, c.stop = context.WithCancel(ctx)
	defer c.stop()
	_, err = cyborg.Train(ctx, cfg, data, cyborg.None, 0, filepath.Join(dir, "training"), c.after)
	if c.err != nil || len(c.shares) == c.turns {
		return c.err
	}
	return err
}

// write makes a data set of two classes in turn.
func write(dir string, files [][]byte) (*storage.Dataset, error) {
	w, err := storage.Create(dir, storage.Schema{Classes: []string{"even", "odd"}, Unmapped: true})
	if err != nil {
		return nil, err
	}
	for i, data := range files {
		err := w.Append(storage.Sample{
			ID: fmt.Sprint(i), Image: storage.Encoded{Bytes: data}, Label: int64(i % 2), Split: "train", SaliencyQuality: storage.NoQuality(),
		})
		if err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return storage.Open(dir)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
