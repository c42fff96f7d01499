package cyborg

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// network is a configuration's network of two classes for evaluation, and its
// parameters.
func network(t *testing.T, cfg Config) (*nn.Graph, *nn.Params) {
	t.Helper()
	params := nn.NewParams(1)
	g, err := evaluationGraph(cfg, params, 2, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return g, params
}

func TestACheckpointOfPyTorchComputesWhatItDidThere(t *testing.T) {
	cfg := tiny()
	cfg.Pretrained = "testdata/resnet.pth"
	g, params := network(t, cfg)
	p, err := loadPretrained(cfg, params)
	if err != nil {
		t.Fatal(err)
	}
	if p.HeadReplaced || p.Missing != nil || p.Recentred {
		t.Errorf("found %+v, want all of the file", p)
	}
	program, err := nn.Compile(g, nn.Options{Precision: "f32", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	image := program.Input(imageInput)
	for i := range image {
		image[i] = float32(i%7)/7 - 0.5
	}
	if err := program.Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/logits.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if got := program.Output(logitsOutput)[i]; math.Abs(float64(got)-w) > 1e-6 {
			t.Errorf("logit %d: found %v, want %v", i, got, w)
		}
	}
}

// written is a safetensors file of tensors.
func written(t *testing.T, meta map[string]string, tensors ...weights.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(weights.Write(f, meta, tensors), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestATrainingStartsFromThePredictorsEncoder(t *testing.T) {
	cfg := tiny()
	cfg.Epochs = 1
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	_, params := network(t, cfg)
	var tensors []weights.Tensor
	for _, x := range params.Clone().Tensors() {
		if !strings.HasPrefix(x.Name, "fc.") {
			tensors = append(tensors, weights.Float32("encoder."+x.Name, x.Shape, x.Data))
		}
	}
	tensors = append(tensors, weights.Float32("segmentation_head.0.bias", []int{1}, []float32{1}))
	scratch := trained(t, cfg, d, Combined, 0)
	cfg.Pretrained = written(t, map[string]string{"format": "surrogaze-predictor"}, tensors...)
	m := trained(t, cfg, d, Combined, 0)
	if p := m.Summary().Pretrained; p == nil || !p.Encoder || !p.HeadReplaced {
		t.Errorf("found %+v, want an encoder without a last layer", p)
	}
	if sameWeights(m, scratch) == nil {
		t.Error("the weights are those of a training from scratch")
	}
}

func TestAllTensorsThatDoNotFitAreListed(t *testing.T) {
	cfg := tiny()
	_, params := network(t, cfg)
	tensors := slices.DeleteFunc(params.Clone().Tensors(), func(x weights.Tensor) bool {
		return strings.HasPrefix(x.Name, "bn1.running")
	})
	for i, x := range tensors {
		if x.Name == "conv1.weight" {
			tensors[i] = weights.Float32(x.Name, []int{4, 1, 3, 3}, x.Data[:36])
		}
	}
	tensors = append(tensors, weights.Float32("extra", []int{1}, []float32{1}), weights.Float32("module.bn1.bias", []int{4}, make([]float32, 4)))
	cfg.Pretrained = written(t, nil, tensors...)
	cfg.AllowMissing = []string{"bn1.*_mean"}
	before := params.Clone()
	_, err := loadPretrained(cfg, params)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("found %v, want a mismatch", err)
	}
	want := &MismatchError{
		Missing:    []string{`"bn1.running_var" [4]`},
		Unexpected: []string{`"extra" [1]`, `"module.bn1.bias" [4]`},
		Misshapen:  []string{`"conv1.weight" [4 1 3 3], want [4 3 3 3]`},
	}
	if diff := cmp.Diff(want, mismatch); diff != "" {
		t.Error(diff)
	}
	text := cfg.Pretrained + `: found tensors of another network: 1 missing, 2 unexpected, 1 of another shape
  missing     "bn1.running_var" [4]
  unexpected  "extra" [1]
  unexpected  "module.bn1.bias" [4]
  shape       "conv1.weight" [4 1 3 3], want [4 3 3 3]`
	if !strings.HasSuffix(err.Error(), text) {
		t.Errorf("found %v, want %s", err, text)
	}
	var data *storage.DataError
	if !errors.As(err, &data) {
		t.Error("no error of the data")
	}
	if diff := cmp.Diff(before.Tensors(), params.Tensors()); diff != "" {
		t.Errorf("the network changed: %s", diff)
	}
}

func TestWhatIsAllowedToBeMissingBeginsAsWithoutAFile(t *testing.T) {
	cfg := tiny()
	_, params := network(t, cfg)
	first := params.Clone()
	tensors := params.Clone().Tensors()
	for _, x := range tensors {
		for i := range x.Data {
			x.Data[i]++
		}
	}
	tensors = slices.DeleteFunc(tensors, func(x weights.Tensor) bool { return x.Name == "layer1.0.conv2.weight" })
	cfg.Pretrained = written(t, nil, append(tensors, weights.Float32("ema.step", nil, []float32{1}))...)
	cfg.AllowMissing = []string{"layer1.*", "ema.*"}
	p, err := loadPretrained(cfg, params)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"layer1.0.conv2.weight"}; !slices.Equal(p.Missing, want) {
		t.Errorf("found %q missing, want %q", p.Missing, want)
	}
	for _, x := range params.All() {
		kept := slices.Equal(x.Data, first.Get(x.Name).Data)
		if want := slices.Contains(p.Missing, x.Name); kept != want {
			t.Errorf("%s: kept %t, want %t", x.Name, kept, want)
		}
	}
}

func TestHalfALastLayerIsReplacedAsAWhole(t *testing.T) {
	cfg := tiny()
	_, params := network(t, cfg)
	first := params.Clone()
	tensors := slices.DeleteFunc(params.Clone().Tensors(), func(x weights.Tensor) bool { return x.Name == "fc.bias" })
	for _, x := range tensors {
		for i := range x.Data {
			x.Data[i]++
		}
	}
	cfg.Pretrained = written(t, nil, tensors...)
	p, err := loadPretrained(cfg, params)
	if err != nil || !p.HeadReplaced {
		t.Fatalf("found %+v, %v; want the last layer replaced", p, err)
	}
	if !slices.Equal(params.Get("fc.weight").Data, first.Get("fc.weight").Data) {
		t.Error("half of the last layer is the file's")
	}
	if want := "pretrained weights, last layer replaced"; p.String() != want {
		t.Errorf("found %q, want %q", p, want)
	}
}

func TestWeightsThatAreNoNumbersAreRefused(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		cfg := tiny()
		_, params := network(t, cfg)
		changed := params.Clone()
		changed.Get("bn1.bias").Data[2] = float32(bad)
		cfg.Pretrained = written(t, nil, changed.Tensors()...)
		_, err := loadPretrained(cfg, params)
		if err == nil || !strings.Contains(err.Error(), `tensor "bn1.bias": found `) || !strings.Contains(err.Error(), "at index 2, want finite numbers") {
			t.Errorf("%v: error %v", bad, err)
		}
	}
}

func TestA1x1ConvolutionMayBeWrittenAsALinearLayer(t *testing.T) {
	cfg := tiny()
	_, params := network(t, cfg)
	tensors := params.Clone().Tensors()
	for i, x := range tensors {
		switch x.Name {
		case "layer1.0.downsample.0.weight":
			tensors[i].Shape = x.Shape[:2]
		case "fc.weight":
			tensors[i].Shape = append(slices.Clone(x.Shape), 1, 1)
		}
	}
	cfg.Pretrained = written(t, nil, tensors...)
	if p, err := loadPretrained(cfg, params); err != nil || p.HeadReplaced {
		t.Errorf("found %+v, %v", p, err)
	}
}

func TestOnlyForeignWeightsAreRecentred(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of 21 million parameters")
	}
	cfg := tiny()
	cfg.Network, cfg.Size = "xception", 71
	_, params := network(t, cfg)
	tensors := params.Clone().Tensors()
	for name, c := range map[string]struct {
		meta map[string]string
		want bool
	}{"of timm": {map[string]string{formatKey: "pt"}, true}, "ours": {map[string]string{formatKey: format}, false}} {
		cfg.Pretrained = written(t, c.meta, tensors...)
		p, err := loadPretrained(cfg, params)
		if err != nil || p.Recentred != c.want {
			t.Errorf("%s: found %+v, %v; want recentred %t", name, p, err, c.want)
		}
	}
}
