package predictor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// classifier writes the weights of a ResNet-18 of five classes that begin with a seed.
func classifier(t *testing.T, seed uint64) (string, *nn.Params) {
	t.Helper()
	params := nn.NewParams(seed)
	g := nn.NewGraph(nn.Eval, params)
	backbone.ResNet18().Build(g, g.Input(imageInput, op.Shape{N: 1, C: 3, H: 32, W: 32}), 5)
	path := filepath.Join(t.TempDir(), "resnet18.safetensors")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(g.Err(), weights.Write(f, nil, params.Tensors()), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, params
}

func TestAnEncoderStartsFromAClassifiersWeights(t *testing.T) {
	if testing.Short() {
		t.Skip("networks of 14 million parameters")
	}
	cfg := encoded()
	cfg.Steps, cfg.ValidateEvery, cfg.Optimizer.LR = 1, 1, 1e-9
	path, trained := classifier(t, 7)
	cfg.Pretrained = path
	train, dir := examples(t, "train", 6), t.TempDir()
	m, err := Fit(t.Context(), cfg, train, nil, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	const name = "layer4.1.conv2.weight"
	for i, v := range m.members[0].Get("encoder." + name).Data {
		if want := trained.Get(name).Data[i]; v-want > 1e-6 || want-v > 1e-6 {
			t.Fatalf("%s: found %v at index %d, want %v", name, v, i, want)
		}
	}
	want, err := ReadPretrained(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Summary().Pretrained; got == nil || got.SHA256 != want.SHA256 || got.HeadReplaced || len(got.Missing) > 0 {
		t.Errorf("found %+v in the summary, want %+v", got, want)
	}
	if !bytes.Contains(saved(t, m), []byte(want.SHA256)) {
		t.Error("the model's file does not name the weights")
	}
	cfg.Pretrained, _ = classifier(t, 8)
	if _, err := Fit(t.Context(), cfg, train, nil, dir, nil); err == nil || !strings.Contains(err.Error(), "found a run with another configuration or other data") {
		t.Errorf("found error %v for a fit from other weights in the same folder", err)
	}
}

func TestWeightsThatAnEncoderCannotStartFromAreErrorsOfTheData(t *testing.T) {
	cfg := encoded()
	cfg.Pretrained = filepath.Join(t.TempDir(), "nothing")
	var data *storage.DataError
	if _, err := ReadPretrained(cfg); !errors.As(err, &data) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: found error %v", err)
	}
	cfg.Pretrained, _ = classifier(t, 7)
	cfg.Network = "unet-densenet121"
	var mismatch *MismatchError
	if _, err := ReadPretrained(cfg); !errors.As(err, &data) || !errors.As(err, &mismatch) || !slices.Contains(mismatch.Missing, `"encoder.features.norm0.weight" [64]`) {
		t.Errorf("weights of another network: found error %v", err)
	}
}

func TestAPlainUNetTakesNoClassifiersWeights(t *testing.T) {
	cfg := tiny()
	cfg.Pretrained = "resnet18.pth"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `pretrained weights for network "unet": want one with a classifier as its encoder`) {
		t.Errorf("found error %v", err)
	}
}
