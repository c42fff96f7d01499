package predictor

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/storage"
)

// tiny is a fit of a second or less that learns nothing much.
func tiny() Config {
	c := DefaultConfig()
	c.Widths, c.StemKernel, c.StemStride, c.Size = []int{4, 8}, 3, 2, 16
	c.Steps, c.Batch, c.ValidateEvery, c.CheckpointEvery = 12, 4, 4, 5
	c.Folds, c.Select = 3, "cc"
	return c
}

// examples are the first n synthetic images of a split with their maps, in
// groups of ten.
func examples(t testing.TB, split string, n int) []Example {
	t.Helper()
	list := make([]Example, n)
	for i := range list {
		s := synthetic.Draw(1, split, i)
		img, err := s.PNG()
		if err != nil {
			t.Fatal(err)
		}
		human, err := s.MapPNG()
		if err != nil {
			t.Fatal(err)
		}
		list[i] = Example{
			ID: s.ID, Group: s.Group,
			Image: storage.Encoded{Bytes: img, Path: s.ID + ".png"}, Map: storage.Encoded{Bytes: human},
		}
	}
	return list
}

// blank is a map that says nothing.
func blank(t testing.TB) storage.Encoded {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 5, 5))); err != nil {
		t.Fatal(err)
	}
	return storage.Encoded{Bytes: b.Bytes()}
}

// fit fits without interruption.
func fit(t testing.TB, cfg Config, train, val []Example) *Model {
	t.Helper()
	m, err := Fit(t.Context(), cfg, train, val, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// saved is the model's file.
func saved(t testing.TB, m *Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
