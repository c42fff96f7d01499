package config

// DefaultConfig is what a file that says nothing gets: the recipe of the
// project's study on small image sets with longer trainings and another loss of the
// predictor (docs/method.md), without a data set. A file that chooses other networks gets
// what suits them.
func DefaultConfig() *Config {
	adamw := Optimizer{Name: "adamw", LR: 3e-3, WeightDecay: 1e-2, Schedule: "one-cycle", Warmup: 0.15, Gamma: 0.1}
	return &Config{
		Seed:      1,
		Device:    "auto",
		Precision: "auto",
		Data: Data{
			Root:        ".",
			Annotated:   Annotated{Format: "folder", Images: "images", Labels: "labels.csv", Maps: "maps"},
			Unannotated: []Source{},
			Classes:     []string{},
			Split:       Split{Val: 0.15, Test: 0.2, By: "group"},
			MaxBad:      0.01,
		},
		Predictor: Predictor{
			Network: "unet", Widths: []int{16, 32, 64, 96}, Stem: Stem{Kernel: 5, Stride: 2}, Size: 96, Resize: "squash", AllowMissing: []string{},
			Loss: "bce+cc", Steps: 800, Batch: 16, Select: "last", Folds: 5, Optimizer: adamw,
			Augment: Augment{Flip: true, Transpose: true, Zoom: 0.2, Color: 0.2, Brightness: 0.2},
		},
		Annotate:   Annotate{Annotator: "predictor", Ensemble: 1, Batch: 32, Mirror: true, RISE: RISE{Masks: 500, Cells: 7, Keep: 0.5}},
		Classifier: Classifier{Network: "resnet-small", Size: 96, Resize: "squash", AllowMissing: []string{}, CAM: CAM{Class: "true", Features: "pool_input"}},
		Train: Train{
			Arms: []string{"none", "human", "predicted", "combined"}, Seeds: 5, Alpha: 0.1, AlphaSchedule: "fixed", AlphaEnd: 1, Trust: "auto", Guidance: "mse",
			Batch: 16, Select: "last", Optimizer: adamw,
			Augment: Augment{Flip: true, Transpose: true, Zoom: 0.2, Color: 0.2, Brightness: 0.2},
		},
		Evaluate: Evaluate{Split: "test"},
		Export:   []Export{{To: "hf-parquet"}},
		Report:   Report{Examples: 24},
	}
}

// The sides of the squares that published weights come from, and how a training
// begins with weights that know something: at a rate that does not undo them, and with
// the alpha that was published for such.
const (
	publishedSize      = 224
	publishedSizeLarge = 299
	fineTuningRate     = 3e-4
	fineTuningAlpha    = 0.5
)

// adaptDefaults changes the defaults that do not suit the networks that were chosen and
// what they begin with. What a file or an override says stays.
func (d *decoder) adaptDefaults(c *Config) {
	p := &c.Predictor
	if p.Network != "unet" {
		adaptDefault(d, "predictor.widths", &p.Widths, nil)
		adaptDefault(d, "predictor.stem", &p.Stem, Stem{})
		adaptDefault(d, "predictor.size", &p.Size, publishedSize)
	}
	if p.Pretrained != "" {
		d.fineTune("predictor.optimizer", &p.Optimizer)
	}
	switch c.Classifier.Network {
	case "resnet18", "resnet50", "densenet121":
		adaptDefault(d, "classifier.size", &c.Classifier.Size, publishedSize)
	case "inception-v3", "xception":
		adaptDefault(d, "classifier.size", &c.Classifier.Size, publishedSizeLarge)
	}
	if c.Classifier.Pretrained != "" {
		d.fineTune("train.optimizer", &c.Train.Optimizer)
		adaptDefault(d, "train.alpha", &c.Train.Alpha, fineTuningAlpha)
	}
}

// fineTune adapts the rate of Adam; that of SGD has no default that suits it anyway.
func (d *decoder) fineTune(key string, o *Optimizer) {
	if o.Name != "sgd" {
		adaptDefault(d, key+".lr", &o.LR, fineTuningRate)
	}
}

// adaptDefault changes a key's default.
func adaptDefault[T any](d *decoder, key string, value *T, suited T) {
	if !d.given(key) {
		*value = suited
	}
}
