package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/predictor"
)

// validate reports what of a configuration cannot be used, and whether this machine can.
func validate(cfg *Config) error {
	p := &Pipeline{cfg: cfg, workers: 1}
	if _, err := p.predictOptions().Ran(); err != nil {
		return configError(err)
	}
	if found := problems(cfg); len(found) > 0 {
		return &ConfigError{Problems: found}
	}
	return nil
}

// problems are what of a configuration the packages below cannot use, on whatever
// machine. A file's values were checked one by one when it was loaded; this is about how
// they fit together.
func problems(cfg *Config) []config.Problem {
	anywhere := *cfg
	anywhere.Device, anywhere.Precision = "auto", "auto"
	p := &Pipeline{cfg: &anywhere, workers: 1}
	found := append(p.problemsOfPredictor(), p.problemsOfClassifier()...)
	if err := p.validateEncoder(); err != nil {
		found = append(found, config.Problem{Path: "classifier.pretrained", Text: err.Error()})
	}
	return found
}

// problemsAt are the problems that a package below found, at the key that they are of.
func problemsAt(path string, err error) []config.Problem {
	if err == nil {
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil { // the configuration is named by the key
		err = inner
	}
	all := []error{err}
	if joint, ok := err.(interface{ Unwrap() []error }); ok {
		all = joint.Unwrap()
	}
	var found []config.Problem
	for _, err := range all {
		found = append(found, config.Problem{Path: path, Text: err.Error()})
	}
	return found
}

func (p *Pipeline) problemsOfPredictor() []config.Problem {
	cfg := p.fitConfig()
	names := predictor.DefaultConfig()
	names.AllowMissing, names.Device, names.Precision = cfg.AllowMissing, cfg.Device, cfg.Precision
	if found := problemsAt("predictor.allow_missing", names.Validate()); len(found) > 0 {
		return found
	}
	return problemsAt("predictor", cfg.Validate())
}

// problemsOfClassifier holds the parts of the section classifier by themselves against
// otherwise good values, so that what is wrong is said of its key.
func (p *Pipeline) problemsOfClassifier() []config.Problem {
	cfg := p.classifierConfig(1)
	names, network := cyborg.DefaultConfig(), cyborg.DefaultConfig()
	names.AllowMissing, names.Device, names.Precision = cfg.AllowMissing, cfg.Device, cfg.Precision
	network.Network, network.Stem, network.Widths, network.Blocks, network.Strides, network.Size = cfg.Network, cfg.Stem, cfg.Widths, cfg.Blocks, cfg.Strides, cfg.Size
	network.Device, network.Precision = cfg.Device, cfg.Precision
	of := "classifier.size" // all that a network of a name leaves open
	if cfg.Network == "custom" {
		of = "classifier"
	}
	found := append(problemsAt(of, network.Validate()), problemsAt("classifier.allow_missing", names.Validate())...)
	if len(found) > 0 {
		return found
	}
	return problemsAt("train", cfg.Validate())
}

// ownEncoder is the value of classifier.pretrained for classifiers that start from the
// encoder of the run's own predictor.
const ownEncoder = "predictor"

func (p *Pipeline) fromOwnEncoder() bool { return p.cfg.Classifier.Pretrained == ownEncoder }

// validateEncoder wants the predictor to be one network that has the classifier for its
// encoder where that starts from it.
func (p *Pipeline) validateEncoder() error {
	if a := p.cfg.Annotate; p.fromOwnEncoder() && (a.Annotator != "predictor" || a.Ensemble > 1) {
		return fmt.Errorf("annotate.annotator %q, ensemble %d: want the predictor, and no ensemble, for a classifier that starts from its encoder", a.Annotator, a.Ensemble)
	}
	_, encoder, _ := strings.Cut(p.cfg.Predictor.Network, "-")
	if p.fromOwnEncoder() && encoder != p.cfg.Classifier.Network {
		return fmt.Errorf("predictor.network %q has no encoder for classifier.network %q, want the same behind its hyphen", p.cfg.Predictor.Network, p.cfg.Classifier.Network)
	}
	return nil
}

// ingestConfig is what of the configuration reaches the ingest stage. How many rows may
// be unusable decides whether there is a result, and not which.
type ingestConfig struct {
	Classes []string
	Split   config.Split
	Seed    int64
}

func (p *Pipeline) ingestConfig() ingestConfig {
	d := p.cfg.Data
	return ingestConfig{d.Classes, d.Split, p.cfg.Seed}
}

// requested is the precision as it was asked for. The device is left open, whatever was
// asked for: what one has begun another goes on with, and manifests say which did what.
type requested struct{ Device, Precision string }

func (p *Pipeline) requested() requested { return requested{"auto", p.cfg.Precision} }

// predictorConfig is what of the configuration reaches the fit.
func (p *Pipeline) predictorConfig() any {
	return struct {
		Predictor predictor.Config
		HumanMaps int
		Requested requested
	}{p.fitConfig(), p.cfg.Data.Annotated.HumanMaps, p.requested()}
}

// fitConfig is the predictor's configuration, or of a teacher that of its judge.
func (p *Pipeline) fitConfig() predictor.Config {
	switch a := p.cfg.Annotate; {
	case a.Teaches():
		return p.baselineConfig("mean", p.cfg.Classifier.Size, p.cfg.Classifier.Resize)
	case a.Annotator != "predictor":
		return p.baselineConfig(a.Annotator, p.cfg.Predictor.Size, p.cfg.Predictor.Resize)
	}
	cfg := p.networkConfig()
	if n := p.cfg.Annotate.Ensemble; n > 1 {
		cfg.Ensemble = n
	}
	return cfg
}

// baselineConfig is the configuration of a predictor without a network.
func (p *Pipeline) baselineConfig(method string, size int, resize string) predictor.Config {
	return predictor.Config{
		Method: method, Size: size, Resize: resize, Folds: p.cfg.Predictor.Folds, Seed: uint64(p.cfg.Seed),
		Workers: p.workers, Device: p.cfg.Device, Precision: p.cfg.Precision,
	}
}

// networkConfig is the configuration of a predictor of one network.
func (p *Pipeline) networkConfig() predictor.Config {
	c, d := p.cfg.Predictor, predictor.DefaultConfig()
	return predictor.Config{
		Network: c.Network, Widths: c.Widths, StemKernel: c.Stem.Kernel, StemStride: c.Stem.Stride,
		Size: c.Size, Resize: c.Resize, Pretrained: c.Pretrained, AllowMissing: c.AllowMissing, Loss: c.Loss, Steps: c.Steps, Batch: c.Batch, Select: c.Select,
		Folds: c.Folds, ValidationShare: d.ValidationShare,
		Optimizer: predictor.Optimizer{
			Name: c.Optimizer.Name, LR: c.Optimizer.LR, WeightDecay: c.Optimizer.WeightDecay,
			Momentum: c.Optimizer.Momentum, Nesterov: c.Optimizer.Nesterov,
			Schedule: c.Optimizer.Schedule, Warmup: c.Optimizer.Warmup,
			// A fit has no epochs: "step" decays each tenth of it per configured epoch.
			StepEvery: max(1, c.Optimizer.StepEpochs*c.Steps/10), Gamma: c.Optimizer.Gamma,
		},
		Augment: predictor.Augment(c.Augment),
		Mirror:  p.cfg.Annotate.Mirror,
		Seed:    uint64(p.cfg.Seed),
		Workers: p.workers, Device: p.cfg.Device, Precision: p.cfg.Precision,
	}
}

// teacherConfig is what of the configuration reaches a teacher.
func (p *Pipeline) teacherConfig() any {
	return struct {
		Classifier cyborg.Config
		Ensemble   int
		Mirror     bool
		RISE       *cyborg.RISE
		Folds      int
		HumanMaps  int
		Requested  requested
	}{
		p.classifierConfig(1), p.cfg.Annotate.Ensemble, p.cfg.Annotate.Mirror, p.teacherOptions().rise(uint64(p.cfg.Seed)),
		p.cfg.Predictor.Folds, p.cfg.Data.Annotated.HumanMaps, p.requested(),
	}
}

// drawing is what of the section annotate reaches the annotate stage by itself; the
// rest comes with the key of the annotator, and the batch changes no map.
type drawing struct {
	Annotator string `json:"annotator"`
	Mirror    bool   `json:"mirror"`
}

// reading is how an unannotated set is read. Which one it is says the fingerprint, and
// not where it lies.
type reading struct {
	Format  string            `json:"format"`
	Columns map[string]string `json:"columns,omitempty"`
}

func (p *Pipeline) readings() []reading {
	list := []reading{}
	for _, s := range p.cfg.Data.Unannotated {
		list = append(list, reading{s.Format, s.Columns})
	}
	return list
}

// annotateConfig is what of the configuration reaches the annotate stage.
func (p *Pipeline) annotateConfig() any {
	a := p.cfg.Annotate
	return struct {
		Annotate  drawing
		Classes   []string
		Split     config.Split
		Seed      int64
		Sources   []reading
		Requested requested
	}{drawing{a.Annotator, a.Mirror}, p.cfg.Data.Classes, p.cfg.Data.Split, p.cfg.Seed, p.readings(), p.requested()}
}

// trainConfig is what of the configuration reaches one training.
func (p *Pipeline) trainConfig(r run) any {
	trust := ""
	if r.arm.UsesPredicted() && p.cfg.Train.Trust == fullTrust {
		trust = fullTrust
	}
	return struct {
		Classifier cyborg.Config
		Arm        cyborg.Arm
		Run        int
		Trust      string `json:",omitempty"`
		Requested  requested
	}{p.classifierConfig(1), r.arm, r.seed, trust, p.requested()}
}

// classifierConfig is the classifiers' configuration for a number of cores.
func (p *Pipeline) classifierConfig(workers int) cyborg.Config {
	c, t := p.cfg.Classifier, p.cfg.Train
	cfg := cyborg.Config{
		Network: c.Network,
		Stem:    cyborg.Stem{Width: c.Stem.Width, Kernel: c.Stem.Kernel, Stride: c.Stem.Stride, Pool: c.Stem.Pool},
		Widths:  c.Widths, Blocks: c.Blocks, Strides: c.Strides,
		Size: c.Size, Resize: c.Resize, Pretrained: c.Pretrained, AllowMissing: c.AllowMissing, CAMClass: c.CAM.Class,
		Alpha: t.Alpha, Guidance: t.Guidance, Entropy: t.Entropy, Blur: t.Blur, Epochs: t.Epochs, Batch: t.Batch, Select: t.Select,
		Optimizer: cyborg.Optimizer{
			Name: t.Optimizer.Name, LR: t.Optimizer.LR, WeightDecay: t.Optimizer.WeightDecay,
			Momentum: t.Optimizer.Momentum, Nesterov: t.Optimizer.Nesterov,
			Schedule: t.Optimizer.Schedule, Warmup: t.Optimizer.Warmup,
			StepEpochs: t.Optimizer.StepEpochs, Gamma: t.Optimizer.Gamma,
		},
		Augment: cyborg.Augment(t.Augment),
		Seed:    uint64(p.cfg.Seed),
		Workers: max(1, workers), Device: p.cfg.Device, Precision: p.cfg.Precision,
	}
	// What is as it always was, or has no effect, stays out of the keys.
	switch t.AlphaSchedule {
	case "fixed":
	case "adaptive":
		cfg.Alpha, cfg.AlphaSchedule = 0, t.AlphaSchedule
	default:
		cfg.AlphaSchedule, cfg.AlphaEnd = t.AlphaSchedule, t.AlphaEnd
	}
	if c.CAM.Features != "pool_input" {
		cfg.CAMFeatures = c.CAM.Features
	}
	return cfg
}

// evaluateConfig is what of the configuration reaches an evaluation: nothing, for
// it covers all labelled splits.
type evaluateConfig struct{}

var errNoMaps = errors.New("no human maps among the train and val samples, want some to fit the predictor on")
