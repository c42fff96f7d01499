// Command classifiers trains a classifier of every published network for a few steps,
// and writes its file, the same as ONNX, and what it says of the images beside it;
// check.py loads the one in torchvision or timm and the other in onnxruntime, and
// compares. The script run does both.
//
//	go run ./bench/readback/classifiers FOLDER
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/storage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: classifiers FOLDER")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "classifiers:", err)
		os.Exit(1)
	}
}

// size is the side of images and networks, so that nothing is resampled.
const size = 112

// config asks for the map of the predicted class, as ONNX has it.
func config(network string) cyborg.Config {
	c := cyborg.DefaultConfig()
	c.CAMClass = "predicted"
	c.Network, c.Size, c.Batch, c.Epochs, c.Select = network, size, 2, 6, "last"
	c.Precision, c.Workers = "f32", runtime.NumCPU()
	return c
}

// verdict is what a classifier says of an image.
type verdict struct {
	Label  int       `json:"label"`
	Scores []float64 `json:"scores"` // probability of each class
	CAM    []float32 `json:"cam"`    // of the class with the highest score
}

// write leaves NETWORK.safetensors and NETWORK.onnx, the test images ID.png, and verdicts.json: the
// verdicts by network and image.
func write(ctx context.Context, dir string) error {
	set, err := writeSet(dir)
	if err != nil {
		return err
	}
	verdicts := map[string]map[string]verdict{}
	for _, network := range []string{"resnet18", "resnet50", "densenet121", "inception-v3", "xception"} {
		if verdicts[network], err = writeClassifier(ctx, set, network, dir); err != nil {
			return fmt.Errorf("%s: %w", network, err)
		}
	}
	text, err := json.Marshal(verdicts)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "verdicts.json"), text, 0o644)
}

func writeClassifier(ctx context.Context, set *storage.Dataset, network, dir string) (map[string]verdict, error) {
	cfg := config(network)
	data, err := cyborg.OpenData(set, cfg, 1<<30)
	if err != nil {
		return nil, err
	}
	m, err := cyborg.Train(ctx, cfg, data, cyborg.None, 0, filepath.Join(dir, "training", network), nil)
	if err != nil {
		return nil, err
	}
	e, err := m.Evaluate(ctx, data, "test", cyborg.Options{Workers: cfg.Workers, Precision: cfg.Precision})
	if err != nil {
		return nil, err
	}
	verdicts := map[string]verdict{}
	for _, s := range e.Samples {
		verdicts[s.ID] = verdict{s.Label, s.Scores, s.CAM.Pix}
	}
	if err := m.Export(filepath.Join(dir, network+".onnx"), "onnx"); err != nil {
		return nil, err
	}
	return verdicts, m.Save(filepath.Join(dir, network+".safetensors"))
}

// writeSet writes a data set of four images to train on and two to test, and these
// also as files.
func writeSet(dir string) (*storage.Dataset, error) {
	folder := filepath.Join(dir, "set")
	w, err := storage.Create(folder, storage.Schema{Classes: []string{"live", "spoof", "unclear"}})
	if err != nil {
		return nil, err
	}
	for i, split := range []string{"train", "train", "train", "train", "test", "test"} {
		if err := writeSample(w, i, split, dir); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return storage.Open(folder)
}

func writeSample(w *storage.Writer, i int, split, dir string) error {
	var b bytes.Buffer
	if err := png.Encode(&b, noise(uint64(i))); err != nil {
		return err
	}
	id := fmt.Sprintf("image-%d", i)
	err := w.Append(storage.Sample{
		ID: id, Image: storage.Encoded{Bytes: b.Bytes()}, Label: int64(i % 3), Split: split, SaliencyQuality: storage.NoQuality(),
	})
	if err != nil || split != "test" {
		return err
	}
	return os.WriteFile(filepath.Join(dir, id+".png"), b.Bytes(), 0o644)
}

// noise is an image of random blocks, opaque.
func noise(seed uint64) image.Image {
	const block = 7
	random := rand.New(rand.NewPCG(seed, 0))
	colours := make([]uint8, size/block*size/block*3)
	for i := range colours {
		colours[i] = uint8(random.Uint32())
	}
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	for i := range size * size {
		x, y := i%size, i/size
		copy(m.Pix[4*i:], colours[3*(y/block*(size/block)+x/block):][:3])
		m.Pix[4*i+3] = 255
	}
	return m
}
