package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// writeModels leaves in dir, for check_models.py: NAME.safetensors and NAME.onnx of
// small models, NAME.parquet with what they say of the files in photos; and a network
// of every operator, operators.onnx, with operators.json: its input and outputs.
func writeModels(ctx context.Context, dir string) error {
	if err := writePhotos(filepath.Join(dir, "photos")); err != nil {
		return err
	}
	if err := writeOperators(dir); err != nil {
		return fmt.Errorf("operators: %w", err)
	}
	for _, resize := range []string{"squash", "pad"} {
		cfg := cyborg.DefaultConfig()
		cfg.Resize = resize
		if err := writeClassifier(ctx, dir, "classifier-"+resize, cfg); err != nil {
			return err
		}
		if err := writePredictor(ctx, dir, resize); err != nil {
			return err
		}
	}
	published := cyborg.DefaultConfig()
	published.CAMClass, published.CAMFeatures = "difference", "reference"
	return writeClassifier(ctx, dir, "classifier-difference-reference", published)
}

func writeClassifier(ctx context.Context, dir, name string, cfg cyborg.Config) error {
	path := filepath.Join(dir, name)
	if err := trainClassifier(ctx, cfg, path); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return apply(ctx, path, filepath.Join(dir, "photos"))
}

func writePredictor(ctx context.Context, dir, resize string) error {
	path := filepath.Join(dir, "predictor-"+resize)
	if err := fitPredictor(ctx, resize, path); err != nil {
		return fmt.Errorf("predictor: %w", err)
	}
	return apply(ctx, path, filepath.Join(dir, "photos"))
}

// apply exports a model and lets it judge images.
func apply(ctx context.Context, name, images string) error {
	model := name + ".safetensors"
	if err := pipeline.ExportModel(model, "onnx", name+".onnx"); err != nil {
		return err
	}
	_, err := pipeline.Predict(ctx, pipeline.PredictOptions{
		Model: model, Data: []string{images}, To: "parquet", Out: name + ".parquet", Workers: 1, Precision: "f32",
	})
	return err
}

// writePhotos writes images that are smaller and larger than the networks, square and
// not, and one that is displayed otherwise than stored.
func writePhotos(dir string) error {
	var p painter
	files := map[string][]byte{
		"small.png": p.png(p.image(20, 20, 3)), "exact.png": p.png(p.image(32, 32, 9)), "wide.png": p.png(p.image(60, 34, 2)),
		"large.png": p.png(p.image(150, 150, 6)), "tall.png": p.png(p.image(90, 200, 1)), "turned.jpg": turned(p.jpeg(p.image(50, 40, 8))),
		"deep.png": p.png(p.grey16(32, 32)),
	}
	if err := errors.Join(p.err, os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func trainClassifier(ctx context.Context, cfg cyborg.Config, name string) error {
	cfg.Size, cfg.Batch, cfg.Epochs, cfg.Precision = 32, 4, 4, "f32"
	samples, err := testset.Drawn(24)
	if err != nil {
		return err
	}
	folder := name + ".set"
	w, err := storage.Create(folder, storage.Schema{Classes: synthetic.Classes})
	if err != nil {
		return err
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	set, err := storage.Open(folder)
	if err != nil {
		return err
	}
	data, err := cyborg.OpenData(set, cfg, 1<<30)
	if err != nil {
		return err
	}
	m, err := cyborg.Train(ctx, cfg, data, cyborg.Human, 0, name+".training", nil)
	if err != nil {
		return err
	}
	return m.Save(name + ".safetensors")
}

func fitPredictor(ctx context.Context, resize, name string) error {
	cfg := predictor.DefaultConfig()
	cfg.Widths, cfg.Size, cfg.Resize, cfg.Steps, cfg.Batch, cfg.Precision = []int{6, 8}, 32, resize, 12, 4, "f32"
	samples, err := testset.Drawn(24)
	if err != nil {
		return err
	}
	var examples []predictor.Example
	for _, s := range samples {
		examples = append(examples, predictor.Example{ID: s.ID, Group: s.Group, Image: s.Image, Map: s.Saliency})
	}
	m, err := predictor.Fit(ctx, cfg, examples[:18], examples[18:], name+".fitting", nil)
	if err != nil {
		return err
	}
	return m.Save(name + ".safetensors")
}

// everyOperator builds a network for inference that has every layer, with odd
// geometries.
func everyOperator(g *nn.Graph) {
	x := g.Input("image", op.Shape{N: 3, C: 3, H: 21, W: 26})
	x = g.ReLU(g.BatchNormEps("bn", g.Conv("conv", x, nn.Conv{Out: 12, Kernel: 5, Stride: 2, Pad: 2}), 1e-3))
	x = g.MaxPool(x, 3, 2, 1)
	tall := g.Conv("tall", x, nn.Conv{Out: 5, Kernel: 5, Pad: 2, Rectangular: true, KernelW: 1, Bias: true})
	depthwise := g.Conv("depthwise", x, nn.Conv{Out: 12, Kernel: 3, Pad: 2, Dilation: 2, Groups: 12})
	x = g.Concat(tall, g.AvgPool(g.Add(depthwise, x), 3, 1, 1))
	logits, weight := g.Classifier("fc", g.GlobalAvgPool(x), 4)
	g.Output("logits", logits)
	g.Output("cam", g.CAM(x, weight, g.ArgMax(logits)))
	g.Output("difference", g.CAM(x, g.Contrast(weight), g.ArgMax(logits)))
	g.Output("map", g.Sigmoid(g.UpsampleNearest(g.Upsample(x, 3), 2)))
}

func writeOperators(dir string) error {
	params := nn.NewParams(5)
	g := nn.NewGraph(nn.Eval, params)
	everyOperator(g)
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"} {
		for i := range params.Get(name).Data {
			params.Get(name).Data[i] = 0.5 + random.Float32()
		}
	}
	graph, err := g.ONNX("operators")
	if err != nil {
		return err
	}
	if err := storage.AtomicWrite(filepath.Join(dir, "operators.onnx"), (&onnx.Model{Graph: graph}).Write); err != nil {
		return err
	}
	p, err := nn.Compile(g, nn.Options{Precision: "f32", Workers: 1})
	if err != nil {
		return err
	}
	values := map[string][]float32{"image": p.Input("image")}
	for i := range values["image"] {
		values["image"][i] = float32(random.NormFloat64())
	}
	if err := p.Run(); err != nil {
		return err
	}
	for _, v := range graph.Outputs {
		values[v.Name] = slices.Clone(p.Output(v.Name))
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "operators.json"), text, 0o644)
}
