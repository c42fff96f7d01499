package predictor

import (
	"path/filepath"
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
	if len(tensors) != len(m.params.All()) {
		t.Errorf("found %d tensors, want %d", len(tensors), len(m.params.All()))
	}
	for _, x := range tensors {
		if m.params.Get(x.Name) == nil {
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

func TestAnUnknownFormatIsRefused(t *testing.T) {
	if err := model(t).Export(filepath.Join(t.TempDir(), "m"), "pickle"); err == nil || !strings.Contains(err.Error(), `"pickle": want onnx or safetensors`) {
		t.Errorf("found %v, want an error that names the formats", err)
	}
}
