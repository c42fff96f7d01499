package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/bench/pytorch"
	"github.com/surrogaze/surrogaze/predictor"
)

func TestClassifiersHaveLargerBatchesUnlessOneIsGiven(t *testing.T) {
	var j job
	for name, want := range map[string]int{"unet256": 64, "unet-resnet50": 64, "resnet50+cyborg": 128} {
		if got := j.of(name).Batch; got != want {
			t.Errorf("%s: batch %d, want %d", name, got, want)
		}
	}
	j.Batch = 3
	if got := j.of("unet256").Batch; got != 3 {
		t.Errorf("batch %d, want the 3 given", got)
	}
}

func TestEverySideIsALineOfTheFile(t *testing.T) {
	c := comparison{out: filepath.Join(t.TempDir(), "found.jsonl")}
	found := pytorch.Finding{Job: c.of("unet256"), Sides: []*pytorch.Side{
		{Name: pytorch.Ours, Rounds: [][]float64{{1, 2, 9}}, Memory: 5},
		{Name: "eager", Rounds: [][]float64{{4}}, Memory: 7, Told: 6},
	}}
	for range 2 {
		if err := c.record(t.Context(), found); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(c.out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want two each time:\n%s", len(lines), text)
	}
	for i, want := range []line{{Side: pytorch.Ours, Median: 2, Memory: 5}, {Side: "eager", Median: 4, Memory: 7, Allocated: 6}} {
		var got line
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		if got.Side != want.Side || got.Median != want.Median || got.Memory != want.Memory || got.Allocated != want.Allocated || got.Batch != 64 {
			t.Errorf("line %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestTheModelToRaceIsAPredictor(t *testing.T) {
	if testing.Short() {
		t.Skip("fits a network for one step")
	}
	path := filepath.Join(t.TempDir(), "predictor.safetensors")
	if err := model(t.Context(), []string{path}); err != nil {
		t.Fatal(err)
	}
	m, err := predictor.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if cfg := m.Config(); cfg.Size != 256 || cfg.Mirror {
		t.Errorf("%+v, want the network of annotate.py", cfg)
	}
}
