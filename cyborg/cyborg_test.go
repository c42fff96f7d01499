package cyborg

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/storage"
)

// tiny is a network that takes milliseconds a step: 20 pixels to a grid of 5.
func tiny() Config {
	c := DefaultConfig()
	c.Network = "custom"
	c.Stem = Stem{Kernel: 3, Stride: 2, Width: 4}
	c.Widths, c.Blocks, c.Strides = []int{6}, []int{1}, []int{2}
	c.Size, c.Batch, c.Epochs = 20, 4, 3
	c.CheckpointEvery = 3
	return c
}

// drawn is a synthetic sample with the map of its disc as a human one.
func drawn(t testing.TB, split string, i int) storage.Sample {
	t.Helper()
	x := synthetic.Draw(7, split, i)
	picture, err := x.PNG()
	if err != nil {
		t.Fatal(err)
	}
	return storage.Sample{
		ID: x.ID, Image: storage.Encoded{Bytes: picture}, Label: int64(x.Label), Split: x.Split, Group: x.Group,
		Saliency: drawnMap(t, split, i), SaliencySource: storage.SourceHuman, SaliencyQuality: storage.NoQuality(),
	}
}

func drawnMap(t testing.TB, split string, i int) storage.Encoded {
	t.Helper()
	m, err := synthetic.Draw(7, split, i).MapPNG()
	if err != nil {
		t.Fatal(err)
	}
	return storage.Encoded{Bytes: m}
}

// blank is a map that says nothing.
func blank(t testing.TB) storage.Encoded {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return storage.Encoded{Bytes: b.Bytes()}
}

// kinds are the training samples of mixed, one kind a line: what maps they have.
const kinds = 6

// mixed are n training samples of all kinds in turn, 8 validation and 6 test
// samples:
//
//	0 a human map, and an out-of-fold prediction beside it
//	1 a human map without a prediction
//	2 a predicted map, with a human one kept as reference
//	3 a predicted map
//	4 no map
//	5 a predicted map that is blank
//
// The last training sample has no label.
func mixed(t testing.TB, n int) []storage.Sample {
	t.Helper()
	var samples []storage.Sample
	for i := range n {
		s := drawn(t, "train", i)
		if i%kinds > 1 {
			s.SaliencySource, s.SaliencyModel = storage.SourcePredictor, "m"
		}
		switch i % kinds {
		case 0:
			s.Predicted = drawnMap(t, "train", 1000+i)
		case 2:
			s.Reference = s.Saliency
			s.Saliency = drawnMap(t, "train", 1000+i)
		case 4:
			s.Saliency, s.SaliencySource, s.SaliencyModel = storage.Encoded{}, "", ""
		case 5:
			s.Saliency = blank(t)
		}
		if i == n-1 {
			s.Label = storage.NoLabel
		}
		samples = append(samples, s)
	}
	for i := range 8 {
		samples = append(samples, drawn(t, "val", i))
	}
	for i := range 6 {
		s := drawn(t, "test", i)
		s.Reference, s.Saliency = s.Saliency, storage.Encoded{}
		s.SaliencySource = ""
		samples = append(samples, s)
	}
	return samples
}

// dataset writes samples into row groups of about so many bytes.
func dataset(t testing.TB, groupBytes int64, samples []storage.Sample) *storage.Dataset {
	t.Helper()
	dir := t.TempDir()
	w, err := storage.CreateWith(dir, storage.Schema{Classes: synthetic.Classes, References: true, Predictions: true},
		storage.Layout{RowGroupBytes: groupBytes, ShardBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	set, err := storage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const (
	oneGroup  = 1 << 30
	cacheAll  = 1 << 30
	smallRows = 6 << 10 // about three samples
)

func opened(t testing.TB, set *storage.Dataset, cfg Config, budget int64) *Data {
	t.Helper()
	d, err := OpenData(set, cfg, budget)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func trained(t testing.TB, cfg Config, d *Data, arm Arm, run int) *Model {
	t.Helper()
	m, err := Train(context.Background(), cfg, d, arm, run, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// file is a model's file.
func file(t testing.TB, m *Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sameWeights reports the first parameter in which two models differ.
func sameWeights(a, b *Model) error {
	for _, p := range a.params.All() {
		q := b.params.Get(p.Name)
		for i, v := range p.Data {
			if v != q.Data[i] {
				return fmt.Errorf("%s[%d]: %v and %v", p.Name, i, v, q.Data[i])
			}
		}
	}
	return nil
}
