package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// fitted is the file of a predictor that learnt nothing much.
func fitted(t testing.TB) string {
	t.Helper()
	cfg := predictor.DefaultConfig()
	cfg.Widths, cfg.StemKernel, cfg.StemStride, cfg.Size, cfg.Steps, cfg.Batch = []int{4}, 3, 2, 16, 2, 2
	var examples []predictor.Example
	for i := range 6 {
		x := synthetic.Draw(1, "train", i)
		image, err := x.PNG()
		if err != nil {
			t.Fatal(err)
		}
		human, err := x.MapPNG()
		if err != nil {
			t.Fatal(err)
		}
		examples = append(examples, predictor.Example{ID: x.ID, Image: storage.Encoded{Bytes: image}, Map: storage.Encoded{Bytes: human}})
	}
	m, err := predictor.Fit(t.Context(), cfg, examples[:4], examples[4:], t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnInterruptedPredictionLeavesNothing(t *testing.T) {
	set, out := t.TempDir(), t.TempDir()
	if err := testset.Write(set, testset.Small); err != nil {
		t.Fatal(err)
	}
	model := fitted(t)
	for to, name := range map[string]string{"parquet": "p.parquet", "overlays": "overlays"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := pipeline.Predict(ctx, pipeline.PredictOptions{
			Model: model, Data: []string{filepath.Join(set, "images")}, To: to, Out: filepath.Join(out, name), Workers: 2, Batch: 4,
			Observe: func(e pipeline.Event) {
				if e.Kind == pipeline.Progress && e.Done > 9 {
					cancel()
				}
			},
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: found %v, want %v", to, err, context.Canceled)
		}
	}
	left, err := os.ReadDir(out)
	if err != nil || len(left) > 0 {
		t.Errorf("found %v (%v), want nothing", left, err)
	}
}

func TestDataOfEveryKindArePredicted(t *testing.T) {
	set, dir := t.TempDir(), t.TempDir()
	if err := testset.Write(set, testset.Small); err != nil {
		t.Fatal(err)
	}
	shards, err := filepath.Glob(filepath.Join(set, "unannotated", "data", "*.parquet"))
	if err != nil || len(shards) == 0 {
		t.Fatalf("found the shards %v (%v), want some", shards, err)
	}
	foreign := filepath.Join("..", "storage", "testdata")
	model, images := fitted(t), filepath.Join(set, "images")
	for i, c := range []struct {
		data   []string
		format string
		want   int64
	}{
		{[]string{images}, "", 64},
		{[]string{filepath.Join(images, "test-00000.png"), images}, "images", 65},
		{[]string{shards[0]}, "", 20},
		{[]string{filepath.Join(set, "unannotated")}, "", 20},
		{[]string{filepath.Join(set, "unannotated", "data", "*.parquet"), images}, "", 84},
		{[]string{filepath.Join(foreign, "saved", "one")}, "", 6},
		{[]string{filepath.Join(foreign, "saved", "dict")}, "", 6},
		{[]string{filepath.Join(foreign, "arrow", "stream.arrows")}, "", 6},
		{[]string{filepath.Join(foreign, "parquet", "pandas.parquet"), filepath.Join(foreign, "arrow", "file.arrow")}, "", 12},
	} {
		out := filepath.Join(dir, fmt.Sprint(i, ".parquet"))
		s, err := pipeline.Predict(t.Context(), pipeline.PredictOptions{
			Model: model, Data: c.data, Format: c.format, To: "parquet", Out: out, Workers: 2, MaxBad: 1,
		})
		if err != nil {
			t.Errorf("%v: %v", c.data, err)
			continue
		}
		if s.Images != c.want {
			t.Errorf("%v: found %v, want %d images", c.data, s, c.want)
		}
		if _, err := os.Stat(out); err != nil {
			t.Error(err)
		}
	}
}
