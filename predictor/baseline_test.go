package predictor

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/storage"
)

// baselineOf is the configuration of a method without a network.
func baselineOf(method string) Config {
	return Config{Method: method, Size: 16, Resize: "squash", Folds: 3, Seed: 1, Workers: 1}
}

var methods = []string{meanMethod, centreMethod, pcaMethod}

func TestBaselinesScoreAsTheLinesBesideAPredictor(t *testing.T) {
	train, held := examples(t, "train", 30), examples(t, "val", 10)
	for _, resize := range []string{"squash", "pad"} {
		for method, line := range map[string]func(*Report) Scores{
			meanMethod:   func(r *Report) Scores { return r.MeanMap },
			centreMethod: func(r *Report) Scores { return r.Centre },
		} {
			cfg := baselineOf(method)
			cfg.Resize = resize
			r, err := fit(t, cfg, train, nil).Score(t.Context(), held, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Predictor != line(r) || r.Predictor.CC.N != len(held) {
				t.Errorf("%s, %s: found %+v, want %+v", method, resize, r.Predictor, line(r))
			}
		}
	}
}

func TestThePCABaselineIsARidgeRegressionOnPrincipalComponents(t *testing.T) {
	text, err := os.ReadFile("testdata/pca.json") // by scikit-learn
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Images         [][]float64
		Maps           [][]float32
		New, Predicted []float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		mean := make([]float64, len(c.Maps[0]))
		for _, m := range c.Maps {
			for i, v := range m {
				mean[i] += float64(v) / float64(len(c.Maps))
			}
		}
		found := fitPCA(c.Images, c.Maps).draw(c.New, narrow(mean))
		for i, v := range found {
			if math.Abs(float64(v)-c.Predicted[i]) > 1e-5 {
				t.Errorf("%d images: cell %d is %v, want %v", len(c.Images), i, v, c.Predicted[i])
			}
		}
	}
}

func TestThePCABaselineOfImagesAllAlikeIsTheMeanMap(t *testing.T) {
	train := examples(t, "train", 6)
	for i := range train {
		train[i].Image = train[0].Image
	}
	m := fit(t, baselineOf(pcaMethod), train, nil)
	if n := len(m.pca.components); n != 0 {
		t.Fatalf("found %d components, want none", n)
	}
	mean := fit(t, baselineOf(meanMethod), train, nil)
	s := []storage.Sample{{ID: "a", Image: examples(t, "val", 1)[0].Image}}
	if !bytes.Equal(annotated(t, m, s, Options{})[0].Map.Bytes, annotated(t, mean, s, Options{})[0].Map.Bytes) {
		t.Error("found another map than the mean")
	}
	if again := reloaded(t, m); !bytes.Equal(saved(t, again), saved(t, m)) {
		t.Error("the model without components does not come back")
	}
}

// reloaded is a model from its file.
func reloaded(t *testing.T, m *Model) *Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestABaselineComesBackAsItWasSaved(t *testing.T) {
	list := samples(t, 5)
	for _, method := range methods {
		cfg, train := baselineOf(method), examples(t, "train", 12)
		m := fit(t, cfg, train, nil)
		folds, err := FitFolds(t.Context(), cfg, train, t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Calibrate(folds)
		want, again := annotated(t, m, list, Options{}), reloaded(t, m)
		for i, p := range annotated(t, again, list, Options{Workers: 2, Batch: 2}) {
			if !bytes.Equal(p.Map.Bytes, want[i].Map.Bytes) || p.Quality != want[i].Quality || math.IsNaN(float64(p.Quality)) {
				t.Errorf("%s: sample %d has another map or quality (%v, want %v)", method, i, p.Quality, want[i].Quality)
			}
		}
		if again.Summary().Train != len(train) || again.Summary().Validation != 0 {
			t.Errorf("%s: found %+v, want all examples to have trained", method, again.Summary())
		}
	}
}

func TestABaselineOfBlankMapsIsRefused(t *testing.T) {
	train := examples(t, "train", 3)
	for i := range train {
		train[i].Map = blank(t)
	}
	_, err := Fit(t.Context(), baselineOf(pcaMethod), train, nil, t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "found 3 examples, none with a map that is not blank") {
		t.Errorf("found error %v, want the blank maps to be named", err)
	}
}

func TestABaselineLooksAtFewFieldsOfItsConfiguration(t *testing.T) {
	if err := baselineOf(meanMethod).Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		`method "median": want`:         func(c *Config) { c.Method = "median" },
		"size 0: want":                  func(c *Config) { c.Size = 0 },
		"folds 1: want":                 func(c *Config) { c.Folds = 1 },
		"an ensemble of 2: want none":   func(c *Config) { c.Ensemble = 2 },
		"ensemble -1: want at least 0":  func(c *Config) { c.Ensemble = -1 },
		`resize "crop": want squash or`: func(c *Config) { c.Resize = "crop" },
	} {
		cfg := baselineOf(pcaMethod)
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found error %v, want %s", err, want)
		}
	}
}
