package cyborg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

func TestAModelComesBackAsItWasSaved(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	m := trained(t, cfg, d, Combined, 1)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file(t, m), file(t, back)) {
		t.Error("saved again, the model has another file")
	}
	if !reflect.DeepEqual(m.Summary(), back.Summary()) || !slices.Equal(m.Classes(), back.Classes()) {
		t.Errorf("found %+v of classes %q, want %+v of %q", back.Summary(), back.Classes(), m.Summary(), m.Classes())
	}
	a, err := m.Evaluate(context.Background(), d, "test", Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := back.Evaluate(context.Background(), d, "test", Options{})
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("the loaded model judges otherwise (error %v)", err)
	}
}

func TestForeignModelFilesAreRefused(t *testing.T) {
	cfg := tiny()
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll), None, 0)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	meta, tensors, err := weights.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(map[string]string) []weights.Tensor
		want   string
	}{
		"another format":   {func(m map[string]string) []weights.Tensor { m[formatKey] = "x"; return tensors }, `format "x"`},
		"another version":  {func(m map[string]string) []weights.Tensor { m[versionKey] = "9"; return tensors }, `version "9"`},
		"no description":   {func(m map[string]string) []weights.Tensor { m[descriptorKey] = "{"; return tensors }, descriptorKey},
		"a missing tensor": {func(map[string]string) []weights.Tensor { return tensors[1:] }, tensors[0].Name},
		"an unknown tensor": {func(map[string]string) []weights.Tensor {
			return append(slices.Clone(tensors), weights.Uint64("extra", 1))
		}, "extra"},
		"a tensor with infinity": {func(map[string]string) []weights.Tensor {
			bad := slices.Clone(tensors)
			bad[2].Data = slices.Repeat([]float32{float32(math.Inf(-1))}, len(bad[2].Data))
			return bad
		}, fmt.Sprintf("tensor %q: found -Inf at index 0, want finite numbers", tensors[2].Name)},
	} {
		changed := map[string]string{}
		for k, v := range meta {
			changed[k] = v
		}
		var b bytes.Buffer
		if err := weights.Write(&b, changed, c.change(changed)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadModel(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one about %s and %s", name, err, c.want, path)
		}
	}
}

func TestAnEvaluationSaysWhatItsSamplesSay(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 12)
	samples[len(samples)-1].Label = storage.NoLabel
	samples[len(samples)-2].Reference = storage.Encoded{}
	samples[len(samples)-3].Reference = blank(t)
	d := opened(t, dataset(t, smallRows, samples), cfg, cacheAll)
	m := trained(t, cfg, d, Combined, 0)
	e, err := m.Evaluate(context.Background(), d, "test", Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if e.N != 5 || e.Unlabelled != 1 || len(e.Samples) != 5 {
		t.Fatalf("%d samples, %d unlabelled, %d scored, want 5, 1, 5", e.N, e.Unlabelled, len(e.Samples))
	}
	var loss float64
	var scores []float64
	var positive []bool
	for i, s := range e.Samples {
		want := samples[len(samples)-6+i]
		if s.ID != want.ID || s.Label != int(want.Label) || math.Abs(s.Scores[0]+s.Scores[1]-1) > 1e-12 {
			t.Errorf("sample %d is %+v, want %s of class %d and scores that add up to 1", i, s, want.ID, want.Label)
		}
		loss -= math.Log(s.Scores[s.Label]) / 5
		scores, positive = append(scores, s.Scores[1]), append(positive, s.Label == 1)
	}
	if math.Abs(e.Loss-loss) > 1e-12 || e.AUC != metric.AUC(scores, positive) || e.EER != metric.EER(scores, positive) {
		t.Errorf("loss %v, AUC %v, EER %v do not follow from the samples", e.Loss, e.AUC, e.EER)
	}
	maps, err := m.Maps(context.Background(), samples[len(samples)-6:len(samples)-1], Options{})
	if err != nil {
		t.Fatal(err)
	}
	var cc, iou, entropy float64
	mean := make([]float64, 25)
	for i, p := range maps {
		if slices.Min(p.Pix) != 0 || slices.Max(p.Pix) != 1 || p.W != 5 || p.H != 5 {
			t.Errorf("map %d is %d x %d from %v to %v, want 5 x 5 from 0 to 1", i, p.W, p.H, slices.Min(p.Pix), slices.Max(p.Pix))
		}
		if !slices.Equal(p.Pix, e.Samples[i].CAM.Pix) {
			t.Errorf("sample %d has another CAM than its map", i)
		}
		for k, v := range p.Pix {
			mean[k] += float64(v) / 5
		}
		entropy += metric.Entropy(p.Pix) / 5
		if i > 2 { // those without a human map that shows something
			if a := e.Samples[i].Agreement; !math.IsNaN(a.CC) || !math.IsNaN(a.IoU) {
				t.Errorf("sample %d has the agreement %+v, want none", i, a)
			}
			continue
		}
		human, err := raster.DecodeMap(samples[len(samples)-6+i].Reference.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		target := make([]float32, 25)
		raster.ResizeMap(target, 5, 5, human)
		low, high := slices.Min(target), slices.Max(target)
		for k := range target {
			target[k] = (target[k] - low) / (high - low)
		}
		found := e.Samples[i].Agreement
		for _, m := range []struct {
			name      string
			got, want float64
		}{
			{"CC", found.CC, metric.CC(p.Pix, target)}, {"SIM", found.SIM, metric.SIM(p.Pix, target)},
			{"KL", found.KL, metric.KL(p.Pix, target)}, {"MSE", found.MSE, metric.MSE(p.Pix, target)},
			{"NSS", found.NSS, metric.NSS(p.Pix, target, 0.5)}, {"AUC", found.AUC, metric.MapAUC(p.Pix, target, 0.5)},
			{"IoU", found.IoU, metric.IoU(p.Pix, target, 0.5)},
		} {
			if !(math.Abs(m.got-m.want) <= 1e-5) {
				t.Errorf("sample %d has %s %v, want %v", i, m.name, m.got, m.want)
			}
		}
		cc += found.CC / 3
		iou += found.IoU / 3
	}
	if e.Mapped != 3 || math.Abs(e.Agreement.CC-cc) > 1e-12 || math.Abs(e.Agreement.IoU-iou) > 1e-12 {
		t.Errorf("agreement %+v over %d, want CC %v, IoU %v over 3", e.Agreement, e.Mapped, cc, iou)
	}
	if math.Abs(e.Entropy-entropy) > 1e-6 {
		t.Errorf("entropy %v, want %v", e.Entropy, entropy)
	}
	for k, v := range e.MeanCAM.Pix {
		if math.Abs(float64(v)-mean[k]) > 1e-6 {
			t.Errorf("mean CAM[%d] is %v, want %v", k, v, mean[k])
		}
	}
}

func TestBarsBesideAPaddedImageAreNotJudged(t *testing.T) {
	cfg := tiny()
	cfg.Resize = "pad"
	p := &panel{grid: 8, resizing: cfg.resizing()}
	human := raster.NewPlane(64, 32) // the right half of an image that has rows 2 to 5 of the grid
	for i := range human.Pix {
		human.Pix[i] = float32(i % 64 / 32)
	}
	cam := make([]float32, 64)
	for i := range cam {
		if row := i / 8; row < 2 || row > 5 {
			cam[i] = 0.7
		} else {
			cam[i] = 0.2 + 0.4*float32(i%8/4)
		}
	}
	of := decoded{width: 64, height: 32, human: cfg.resizing().ReduceMap(human, cfg.Size)}
	if a := p.agreement(cam, of); math.Abs(a.CC-1) > 1e-6 || a.IoU != 1 {
		t.Errorf("found the agreement %+v, want CC and IoU of 1", a)
	}
	if m := p.shown(cam, of); m.W != 8 || m.H != 4 || slices.Min(m.Pix) != 0 || slices.Max(m.Pix) != 1 || slices.Contains(m.Pix, 0.7) {
		t.Errorf("found the map %v, want 8 x 4 from 0 to 1 without the bars", m)
	}
}

func TestAPaddedImagesMapHasItsShape(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 30, 60))); err != nil {
		t.Fatal(err)
	}
	cfg := tiny()
	cfg.Resize = "pad"
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll), Combined, 0)
	maps, err := m.Maps(context.Background(), []storage.Sample{{ID: "tall", Image: storage.Encoded{Bytes: b.Bytes()}}}, Options{})
	if err != nil || maps[0].W != 3 || maps[0].H != 5 { // half of a grid of 5, rounded up
		t.Errorf("found the maps %+v (error %v), want one of 3 x 5", maps, err)
	}
}

func TestNeitherWorkersNorMemoryChangeAnEvaluation(t *testing.T) {
	cfg := tiny()
	set := dataset(t, smallRows, mixed(t, 12))
	d := opened(t, set, cfg, cacheAll)
	m := trained(t, cfg, d, Combined, 0)
	want, err := m.Evaluate(context.Background(), d, "val", Options{Batch: 3})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Evaluate(context.Background(), opened(t, set, cfg, 0), "val", Options{Batch: 3, Workers: 2})
	if err != nil || !reflect.DeepEqual(want, got) {
		t.Errorf("two workers without a cache judge otherwise (error %v)", err)
	}
	best := m.Summary().Best.Validation
	if math.Abs(best.Loss-want.Loss) > 1e-6 || best.AUC != want.AUC || best.Accuracy != want.Accuracy {
		t.Errorf("found %+v, want what the training saw, %+v", want, best)
	}
}

func TestSeveralClassesAreTrainedAndJudged(t *testing.T) {
	cfg := tiny()
	samples := mixed(t, 12)
	for i := range samples {
		if samples[i].Label != storage.NoLabel {
			samples[i].Label = int64(i % 3)
		}
	}
	dir := t.TempDir()
	w, err := storage.Create(dir, storage.Schema{References: true, Predictions: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	set, err := storage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := opened(t, set, cfg, cacheAll)
	if !slices.Equal(d.Classes(), []string{"0", "1", "2"}) {
		t.Fatalf("classes %q, want those of the labels", d.Classes())
	}
	e, err := trained(t, cfg, d, Combined, 0).Evaluate(context.Background(), d, "test", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Samples[0].Scores) != 3 || math.IsNaN(e.AUC) || math.IsNaN(e.EER) {
		t.Errorf("%d scores, AUC %v, EER %v, want 3 and numbers", len(e.Samples[0].Scores), e.AUC, e.EER)
	}
}

func TestANetworkThatOverflowsIsNotJudged(t *testing.T) {
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	m := trained(t, cfg, d, None, 0)
	for _, name := range []string{"fc.weight", "fc.bias"} {
		for i := range m.params.Get(name).Data {
			m.params.Get(name).Data[i] = math.MaxFloat32
		}
	}
	_, err := m.Evaluate(context.Background(), d, "test", Options{})
	if err == nil || !strings.Contains(err.Error(), `split "test": sample "test-0000`) || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("found error %v, want one that names a sample", err)
	}
}

func TestAModelRefusesDataThatItWasNotMadeFor(t *testing.T) {
	cfg := tiny()
	set := dataset(t, oneGroup, mixed(t, 12))
	d := opened(t, set, cfg, cacheAll)
	m := trained(t, cfg, d, None, 0)
	larger := cfg
	larger.Size = 24
	if _, err := m.Evaluate(context.Background(), opened(t, set, larger, 0), "test", Options{}); err == nil || !strings.Contains(err.Error(), "size 24 (squash), want 20") {
		t.Errorf("another size: error %v", err)
	}
	if _, err := Train(context.Background(), larger, d, None, 0, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "size 20 (squash), want 24") {
		t.Errorf("another size in training: error %v", err)
	}
	padded := cfg
	padded.Resize = "pad"
	if _, err := m.Evaluate(context.Background(), opened(t, set, padded, 0), "test", Options{}); err == nil || !strings.Contains(err.Error(), "size 20 (pad), want 20 (squash)") {
		t.Errorf("another resizing: error %v", err)
	}
	if _, err := m.Evaluate(context.Background(), d, "nowhere", Options{}); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("no samples: error %v", err)
	}
	d.classes = []string{"a", "b"}
	if _, err := m.Evaluate(context.Background(), d, "test", Options{}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("other classes: error %v", err)
	}
}

func TestMapsOfASampleThatCannotBeDecodedNameIt(t *testing.T) {
	cfg := tiny()
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll), None, 0)
	_, err := m.Maps(context.Background(), []storage.Sample{drawn(t, "test", 0), {ID: "bad"}}, Options{})
	var bad *SampleError
	if !errors.As(err, &bad) || bad.ID != "bad" {
		t.Errorf("error %v", err)
	}
	unlabelled := drawn(t, "test", 0)
	unlabelled.Label = storage.NoLabel
	maps, err := m.Maps(context.Background(), []storage.Sample{unlabelled}, Options{})
	if err != nil || slices.Max(maps[0].Pix) != 1 {
		t.Errorf("a sample without a label has the map %v (error %v), want that of the predicted class", maps, err)
	}
}

func TestATrainingWithoutEpochsHasAsManyAsMakeEnoughSteps(t *testing.T) {
	for _, c := range []struct {
		epochs, batch, n int
		pretrained       string
		want             int
	}{
		{0, 16, 512, "", 80}, // 2560 steps of 16
		{0, 16, 510, "", 81},
		{0, 16, 512, "weights.pth", 40},
		{0, 16, 50, "", 200},
		{0, 16, 100_000, "", 20},
		{0, 4, 256, "", 40},
		{7, 16, 512, "", 7},
		{7, 16, 512, "weights.pth", 7},
	} {
		if got := (Config{Epochs: c.epochs, Batch: c.batch, Pretrained: c.pretrained}).epochs(c.n); got != c.want {
			t.Errorf("%+v: %d epochs", c, got)
		}
	}
}

func TestTheStepScheduleCountsEpochs(t *testing.T) {
	o := Optimizer{Schedule: "step", StepEpochs: 12, Gamma: 0.1}
	if got := o.schedule(91.05).Every; got != 1093 { // 12 epochs of 1821 samples, 20 a step
		t.Errorf("the rate falls each %d steps, want 1093", got)
	}
	if got := o.schedule(0.01).Every; got != 1 {
		t.Errorf("the rate falls each %d steps, want 1", got)
	}
}

func TestNetworksTakeImagesThatLeaveAMap(t *testing.T) {
	for name, smallest := range map[string]int{
		"resnet18": 33, "resnet50": 33, "densenet121": 61, "inception-v3": 107, "xception": 39, "resnet-small": 11,
	} {
		cfg := DefaultConfig()
		cfg.Network, cfg.Size = name, smallest
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s of %d pixels: %v", name, smallest, err)
		}
		cfg.Size--
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "side of 1") {
			t.Errorf("%s of %d pixels: error %v, want one of the map's side", name, cfg.Size, err)
		}
	}
}

func TestEveryNetworkTrainsWithItsMap(t *testing.T) {
	if testing.Short() {
		t.Skip("networks of up to 25 million parameters")
	}
	for name, size := range map[string]int{"resnet50": 40, "densenet121": 64, "inception-v3": 107, "xception": 40} {
		t.Run(name, func(t *testing.T) {
			cfg := tiny()
			cfg.Network, cfg.Size, cfg.Batch, cfg.CAMFeatures = name, size, 2, "reference"
			net, err := cfg.network()
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			g, err := trainingGraph(cfg, params, 2, true)
			if err != nil {
				t.Fatal(err)
			}
			p, err := nn.Compile(g, nn.Options{Precision: "f32", Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(p.Input(mapInput)), cfg.Batch*net.Grid(size)*net.Grid(size); got != want {
				t.Errorf("maps of %d cells, want %d", got, want)
			}
			for name, v := range map[string]float32{imageInput: 0.5, labelInput: 1, mapInput: 0.5, ceWeightInput: 1, mapWeightInput: 1} {
				for i := range p.Input(name) {
					p.Input(name)[i] = v * float32(i%2)
				}
			}
			if err := p.Run(); err != nil {
				t.Fatal(err)
			}
			if loss := p.Loss(); !(loss > 0 && loss < 100) {
				t.Errorf("loss %v", loss)
			}
			heads := 0
			for _, tensor := range params.Tensors() {
				if net.Published().IsHead(tensor.Name) {
					heads++
				}
			}
			if heads != 2 {
				t.Errorf("%d tensors of the last layer, want 2", heads)
			}
			if _, err := evaluationGraph(cfg, params, 2, 1, true); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAllProblemsOfAConfigurationAreReported(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	bad := Config{
		Network: "custom", Stem: Stem{Kernel: 2}, CAMClass: "both", CAMFeatures: "last", Entropy: -1, Blur: 101, Alpha: 2, Discount: -1, Guidance: "l1", Epochs: -1, Select: "best",
		Optimizer: Optimizer{Name: "lion", Schedule: "saw"}, Augment: Augment{Zoom: 2}, CheckpointEvery: -1,
		Device: "tpu", Workers: 0,
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"stem kernel 2", `"both"`, `"last"`, "entropy -1", "blur 101", "alpha 2", "discount -1", `"l1"`, "epochs -1", "batch 0", `"best"`, `"lion"`, `"saw"`, "zoom", "checkpoint every -1", `"tpu"`, "workers 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in:\n%v", want, err)
		}
	}
	small := DefaultConfig()
	small.Size = 8
	if err := small.Validate(); err == nil || !strings.Contains(err.Error(), "side of 1") {
		t.Errorf("an image of 8 pixels: %v", err)
	}
}
