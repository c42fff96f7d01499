package cyborg

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

func sequence(samples []storage.Sample) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, s := range samples {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// predictions are those of all samples, none of which may fail.
func predictions(t testing.TB, m *Model, samples []storage.Sample, options Options) []Prediction {
	t.Helper()
	var list []Prediction
	for x, err := range m.Predict(t.Context(), sequence(samples), options) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	return list
}

func TestAPredictionIsWhatTheEvaluationSays(t *testing.T) {
	cfg := tiny()
	cfg.CAMClass = "predicted"
	samples := mixed(t, 12)
	d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
	m := trained(t, cfg, d, Combined, 0)
	e, err := m.Evaluate(context.Background(), d, "test", Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	test := samples[len(samples)-6:]
	for _, options := range []Options{{Batch: 4}, {Workers: 3, Batch: 4}} {
		for i, x := range predictions(t, m, test, options) {
			want := e.Samples[i]
			if x.Sample.ID != want.ID || !slices.Equal(x.Scores, want.Scores) {
				t.Errorf("found %q with %v, want %q with %v", x.Sample.ID, x.Scores, want.ID, want.Scores)
			}
			if other := 1 - x.Class; x.Scores[x.Class] < x.Scores[other] || x.Logits[x.Class] < x.Logits[other] {
				t.Errorf("%q: found class %d with %v and %v, want the highest", want.ID, x.Class, x.Scores, x.Logits)
			}
			cam, err := raster.DecodeMap(x.CAM.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range want.CAM.Pix {
				if math.Abs(float64(v-cam.Pix[k])) > 1./65535 {
					t.Fatalf("%q: found the CAM %v, want %v", want.ID, cam.Pix, want.CAM.Pix)
				}
			}
		}
	}
}

func TestAnUndecodableImageIsNamedAndTheOthersPredicted(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 12)
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, samples), cfg, cacheAll), None, 0)
	few := slices.Clone(samples[:5])
	few[2].Image.Bytes = few[2].Image.Bytes[:99]
	n := 0
	for x, err := range m.Predict(t.Context(), sequence(few), Options{Batch: 3}) {
		bad := (*SampleError)(nil)
		if errors.As(err, &bad) != (n == 2) || x.Sample.ID != few[n].ID {
			t.Errorf("sample %d: found %q with %v", n, x.Sample.ID, err)
		}
		n++
	}
	if n != len(few) {
		t.Errorf("found %d predictions, want %d", n, len(few))
	}
}

func TestNoPredictionIsMadeOfWeightsThatAreNoNumbers(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 12)
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, samples), cfg, cacheAll), None, 0)
	m.params.Get("fc.bias").Data[0] = float32(math.NaN())
	for _, err := range m.Predict(t.Context(), sequence(samples[:1]), Options{}) {
		if err == nil {
			t.Error("found a prediction, want an error")
		}
	}
}

func TestExportedParametersAreThoseOfTheModel(t *testing.T) {
	cfg := tiny()
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll), None, 0)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Export(path, "safetensors"); err != nil {
		t.Fatal(err)
	}
	meta, tensors, err := weights.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if meta["format"] != "pt" || meta["kind"] != "classifier" || meta["classes"] == "" || meta["preprocessing"] == "" {
		t.Errorf("found the metadata %q, want those of a classifier in PyTorch's layout", meta)
	}
	if len(tensors) != len(m.params.All()) {
		t.Errorf("found %d tensors, want %d", len(tensors), len(m.params.All()))
	}
	for _, x := range tensors {
		if p := m.params.Get(x.Name); p == nil || !reflect.DeepEqual(p.Data, x.Data) {
			t.Errorf("tensor %q is not the model's", x.Name)
		}
	}
	if err := m.Export(path, "pickle"); err == nil {
		t.Error("found an export to pickle, want an error")
	}
}

func TestTheSameModelGivesTheSameONNX(t *testing.T) {
	cfg := tiny()
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll), None, 0)
	var files [2]bytes.Buffer
	for i := range files {
		graph, err := m.onnx()
		if err != nil {
			t.Fatal(err)
		}
		if len(graph.Inputs) != 1 || len(graph.Outputs) != 2 {
			t.Errorf("found the inputs %v and outputs %v, want image; logits and cam", graph.Inputs, graph.Outputs)
		}
		if err := (&onnx.Model{Graph: graph}).Write(&files[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0].Bytes(), files[1].Bytes()) {
		t.Error("found other bytes")
	}
}
