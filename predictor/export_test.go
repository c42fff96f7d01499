package predictor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/weights"
)

func TestExportedParametersAreTheNetworksAlone(t *testing.T) {
	m := model(t)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Export(path, "safetensors"); err != nil {
		t.Fatal(err)
	}
	meta, tensors, err := weights.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if meta["format"] != "pt" || meta["kind"] != "predictor" || meta["network"] != "unet" {
		t.Errorf("found the metadata %q, want those of a predictor in PyTorch's layout", meta)
	}
	if len(tensors) != len(m.members[0].All()) {
		t.Errorf("found %d tensors, want %d", len(tensors), len(m.members[0].All()))
	}
	for _, x := range tensors {
		if m.members[0].Get(x.Name) == nil {
			t.Errorf("tensor %q is no parameter", x.Name)
		}
	}
}

func TestTheMapOfBothDirectionsIsExportedWhereTheModelDrawsIt(t *testing.T) {
	m := *model(t)
	for _, mirror := range []bool{true, false} {
		m.cfg.Mirror = mirror
		graph, err := m.onnx()
		if err != nil {
			t.Fatal(err)
		}
		var ops []string
		for _, n := range graph.Nodes {
			ops = append(ops, n.Op)
		}
		last := graph.Nodes[len(graph.Nodes)-1]
		if got := strings.Contains(strings.Join(ops, " "), "Slice"); got != mirror || last.Out[0] != mapOutput {
			t.Errorf("mirror %v: found the nodes %v, the last of which makes %q", mirror, ops, last.Out)
		}
	}
}

func TestOnlyASingleNetworkIsExported(t *testing.T) {
	pair := *model(t)
	pair.members = append(slices.Clone(pair.members), pair.members[0])
	for want, m := range map[string]*Model{
		`a predictor of 2 networks (method "")`:     &pair,
		`a predictor of 0 networks (method "mean")`: fit(t, baselineOf(meanMethod), examples(t, "train", 6), nil),
	} {
		for _, to := range []string{"onnx", "safetensors"} {
			path := filepath.Join(t.TempDir(), "m")
			if err := m.Export(path, to); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("to %s: found %v, want %s to be refused", to, err, want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Errorf("to %s: a file was left behind", to)
			}
		}
	}
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	if err := model(t).Export(filepath.Join(t.TempDir(), "m"), "pickle"); err == nil || !strings.Contains(err.Error(), `"pickle": want onnx or safetensors`) {
		t.Errorf("found %v, want an error that names the formats", err)
	}
}
