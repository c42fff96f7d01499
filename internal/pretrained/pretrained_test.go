package pretrained

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// written is a safetensors file of tensors.
func written(t *testing.T, tensors ...weights.Tensor) string {
	t.Helper()
	return writtenAs(t, nil, tensors...)
}

func writtenAs(t *testing.T, meta map[string]string, tensors ...weights.Tensor) string {
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

// input is an image for a graph.
func input(g *nn.Graph, side int) nn.Node {
	return g.Input("image", op.Shape{N: 1, C: 3, H: side, W: side})
}

// Networks that see 32 pixels, of few channels: a classifier, and a decoder around it.
var (
	dense = backbone.DenseNet{Width: 4, Growth: 4, Blocks: []int{2, 1}}
	unet  = backbone.UNetPlusPlus{Encoder: dense, Widths: []int{6, 5, 4}}
)

// classifier are the parameters of dense for three classes.
func classifier(t *testing.T, seed uint64) *nn.Params {
	t.Helper()
	params := nn.NewParams(seed)
	g := nn.NewGraph(nn.Eval, params)
	dense.Build(g, input(g, 32), 3)
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	return params
}

// predictor are the parameters of unet.
func predictor(t *testing.T) *nn.Params {
	t.Helper()
	params := nn.NewParams(1)
	g := nn.NewGraph(nn.Eval, params)
	unet.Build(g, input(g, 32))
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	return params
}

func TestAnEncoderTakesAClassifiersWeightsButForTheLastLayer(t *testing.T) {
	trained, params := classifier(t, 2), predictor(t)
	tensors := trained.Tensors()
	for i, x := range tensors { // as torchvision's files have it
		tensors[i].Name = strings.Replace(x.Name, "denselayer1.norm2", "denselayer1.norm.2", 1)
	}
	first := params.Clone()
	w, err := Load(written(t, tensors...), params, unet.Published(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.HeadReplaced || w.Missing != nil || w.Recentred || len(w.SHA256) != 64 {
		t.Errorf("found %+v, want all that the encoder has", w)
	}
	encoder := 0
	for _, x := range params.All() {
		want := first.Get(x.Name)
		if name, ok := strings.CutPrefix(x.Name, "encoder."); ok {
			want = trained.Get(name)
			encoder++
		}
		if !slices.Equal(x.Data, want.Data) {
			t.Errorf("%s: found other values than its own", x.Name)
		}
	}
	if want := len(trained.All()) - 2; encoder != want { // weight and bias of the last layer
		t.Errorf("found %d parameters of the encoder, want %d", encoder, want)
	}
}

func TestAClassifierTakesAPredictorsEncoderAndNothingElseOfIt(t *testing.T) {
	fitted, params := predictor(t), classifier(t, 2)
	for _, x := range fitted.All() { // a fit has changed what its first values were
		for i := range x.Data {
			x.Data[i] += 0.5
		}
	}
	tensors := append(fitted.Tensors(), weights.Float32("baseline.mean_map", []int{1}, []float32{1}))
	first := params.Clone()
	w, err := Load(writtenAs(t, map[string]string{"format": "surrogaze-predictor"}, tensors...), params, dense.Published(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Encoder || !w.HeadReplaced || w.Missing != nil || w.String() != "the encoder of a predictor, last layer replaced" {
		t.Errorf("found %+v (%s), want an encoder without a last layer", w, w)
	}
	for _, x := range params.All() {
		want := fitted.Get("encoder." + x.Name)
		if want == nil {
			want = first.Get(x.Name)
			if !dense.Published().IsHead(x.Name) {
				t.Errorf("%s: the encoder lacks it", x.Name)
			}
		}
		if !slices.Equal(x.Data, want.Data) {
			t.Errorf("%s: found other values than its own", x.Name)
		}
	}
	other := predictor(t)
	if w, err := Load(writtenAs(t, map[string]string{"format": "surrogaze-predictor"}, tensors...), other, unet.Published(), nil); err != nil || !w.Encoder {
		t.Errorf("another predictor: found %+v, %v", w, err)
	}
	if _, err := Load(written(t, tensors...), params, dense.Published(), nil); err == nil {
		t.Error("a file that does not say that it is a predictor's is taken for one")
	}
}

func TestWeightsOfAnotherEncoderAreListed(t *testing.T) {
	params := predictor(t)
	tensors := slices.DeleteFunc(classifier(t, 2).Tensors(), func(x weights.Tensor) bool { return x.Name == "features.norm0.bias" })
	path := written(t, append(tensors, weights.Float32("decoder.blocks.x_0_0.conv1.1.bias", []int{4}, make([]float32, 4)))...)
	_, err := Load(path, params, unet.Published(), nil)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("found %v, want a mismatch", err)
	}
	want := &MismatchError{Missing: []string{`"encoder.features.norm0.bias" [4]`}, Unexpected: []string{`"decoder.blocks.x_0_0.conv1.1.bias" [4]`}}
	if diff := cmp.Diff(want, mismatch); diff != "" {
		t.Error(diff)
	}
	w, err := Load(path, params, unet.Published(), []string{"encoder.*.bias", "decoder.*"})
	if err != nil || !slices.Equal(w.Missing, []string{"encoder.features.norm0.bias"}) {
		t.Errorf("found %+v, %v; want what is allowed to be missing", w, err)
	}
}

// thin is Xception with few channels.
var thin = backbone.Xception{Stem: [2]int{4, 6}, Entry: [3]int{8, 12, 17}, Middle: 1, Exit: [3]int{20, 24, 28}}

// logits are what thin says of an image.
func logits(t *testing.T, params *nn.Params, image []float32) []float32 {
	t.Helper()
	g := nn.NewGraph(nn.Eval, params)
	g.Output("logits", thin.Build(g, input(g, 43), 3).Logits)
	program, err := nn.Compile(g, nn.Options{Precision: "f32", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	copy(program.Input("image"), image)
	if err := program.Run(); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(program.Output("logits"))
}

func TestRecentredWeightsComputeTheSame(t *testing.T) {
	params := nn.NewParams(3)
	image := make([]float32, 3*43*43)
	for i := range image {
		image[i] = float32(i*i%255) / 255
	}
	centred := slices.Clone(image)
	for i := range centred {
		centred[i] = (centred[i] - 0.5) / 0.5
	}
	want := logits(t, params, centred)
	w, err := Load(written(t, params.Clone().Tensors()...), params, thin.Published(), nil)
	if err != nil || !w.Recentred {
		t.Fatalf("found %+v, %v; want it recentred", w, err)
	}
	normalized := slices.Clone(image)
	raster.Normalize(normalized)
	for i, got := range logits(t, params, normalized) {
		if math.Abs(float64(got-want[i])) > 1e-4*math.Abs(float64(want[i])) {
			t.Errorf("logit %d: found %v, want %v", i, got, want[i])
		}
	}
}
