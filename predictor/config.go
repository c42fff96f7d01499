package predictor

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// Config decides what a fit computes. Of the fields without a JSON name, Pretrained
// does too, by the content of its file, which a model names by its hash; AllowMissing
// decides only whether that file is taken, the others only where and how fast.
type Config struct {
	// Method is how an image comes to its map: "" by Network, or as a baseline by
	// "mean", the mean of the training maps, "centre", a Gaussian in the middle, or
	// "pca", a ridge regression on the principal components of the small grey image.
	// Of the fields below, baselines look at Size, Resize, Folds and Seed alone.
	Method string `json:"method,omitempty"`
	// Ensemble is the number of networks whose maps are averaged; 0 is 1. They differ
	// in their seeds.
	Ensemble int `json:"ensemble,omitempty"`
	// Network is "unet", of Widths, StemKernel and StemStride, which the others do not
	// look at; "unet-resnet18", "unet-resnet50", "unet-densenet121" or
	// "unetplusplus-resnet50", the decoders of segmentation_models_pytorch around
	// torchvision's classifiers.
	Network    string `json:"network"`
	Widths     []int  `json:"widths"` // channels of each level, from fine to coarse
	StemKernel int    `json:"stem_kernel"`
	StemStride int    `json:"stem_stride"`
	// Size is the side of the square input in pixels: of "unet" a multiple of
	// StemStride times 2 for each level but the first, of the others one of 32.
	Size int `json:"size"`
	// Resize is how an image fills that square: "squash" gives up its shape, "pad"
	// keeps it between black bars.
	Resize string `json:"resize"`
	Loss   string `json:"loss"` // "mse", "bce", "kl", "cc" or a sum such as "bce+cc"
	Steps  int    `json:"steps"`
	Batch  int    `json:"batch"`
	// Select is the checkpoint that is kept: of the highest validation "cc", of
	// the lowest validation "loss", or the "last". Ties go to the later.
	Select string `json:"select"`
	// Folds is how many models FitFolds fits.
	Folds int `json:"folds"`
	// ValidationShare of the examples, in whole groups, validates where that chooses
	// the checkpoint and no validation examples are given.
	ValidationShare float64 `json:"validation_share"`
	// ValidateEvery is the number of steps between points of the course, which
	// validation examples, where there are some, judge; 0 is a twentieth of Steps.
	ValidateEvery int       `json:"validate_every"`
	Optimizer     Optimizer `json:"optimizer"`
	Augment       Augment   `json:"augment"`
	// Mirror averages the maps of the image and of its mirror image.
	Mirror bool   `json:"mirror"`
	Seed   uint64 `json:"seed"`

	// Pretrained is a file of a classifier's weights for the encoder to start from,
	// safetensors or PyTorch's, with the names of torchvision; "" is none. The
	// classifier's last layer is left out.
	Pretrained string `json:"-"`
	// AllowMissing are patterns, as path.Match has them, of the names of the encoder's
	// parameters that Pretrained may lack and of tensors that it may have beyond them.
	AllowMissing []string `json:"-"`
	// CheckpointEvery is the number of steps that a killed fit may lose; 0 is 50.
	CheckpointEvery int `json:"-"`
	// Workers is the number of cores that may be used, at least 1.
	Workers   int    `json:"-"`
	Device    string `json:"-"` // "auto", "cpu" or "cuda[:n]"
	Precision string `json:"-"` // "auto", "f32", "tf32" or "bf16"
}

// Optimizer is an optimiser of torch.optim and the course of its learning rate.
type Optimizer struct {
	Name        string  `json:"name"` // "sgd", "adam" or "adamw"
	LR          float64 `json:"lr"`   // highest learning rate
	WeightDecay float64 `json:"weight_decay"`
	Momentum    float64 `json:"momentum"` // of sgd
	Nesterov    bool    `json:"nesterov"` // of sgd
	Schedule    string  `json:"schedule"` // "constant", "step", "cosine" or "one-cycle"
	Warmup      float64 `json:"warmup"`   // share of the steps in which the rate rises
	// StepEvery and Gamma make "step" multiply the rate by Gamma each StepEvery steps.
	StepEvery int     `json:"step_every"`
	Gamma     float64 `json:"gamma"`
}

// Augment is how far training may change an image and its map together. The zero
// value changes nothing.
type Augment struct {
	Flip       bool    `json:"flip"`       // mirror left to right, half of the time
	Transpose  bool    `json:"transpose"`  // swap the axes, half of the time
	Zoom       float64 `json:"zoom"`       // the window's side is 1-Zoom to 1+Zoom/4 of the image's
	Shift      float64 `json:"shift"`      // of the window, as a share of the image's side
	Color      float64 `json:"color"`      // relative change of each colour
	Brightness float64 `json:"brightness"` // relative change of all colours
}

// DefaultConfig is the recipe that learnt from a few dozen maps in the project's
// study of small image sets, with the loss and the steps that small regions need
// (docs/adr/0023).
func DefaultConfig() Config {
	return Config{
		Network: "unet", Widths: []int{16, 32, 64, 96}, StemKernel: 5, StemStride: 2, Size: 96, Resize: "squash",
		Loss: "bce+cc", Steps: 800, Batch: 16, Select: "last", Folds: 5, ValidationShare: 0.2,
		Optimizer: Optimizer{Name: "adamw", LR: 3e-3, WeightDecay: 1e-2, Schedule: "one-cycle", Warmup: 0.15, Gamma: 0.1},
		Augment:   Augment{Flip: true, Transpose: true, Zoom: 0.2, Color: 0.2, Brightness: 0.2},
		Mirror:    true, Seed: 1, Workers: 1,
	}
}

// Validate returns all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	report := func(err error) { problems = append(problems, err) }
	want := func(ok bool, format string, args ...any) {
		if !ok {
			report(fmt.Errorf(format, args...))
		}
	}
	want(c.Folds >= 2, "folds %d: want at least 2", c.Folds)
	want(c.Ensemble >= 0, "ensemble %d: want at least 0", c.Ensemble)
	want(c.Workers >= 1, "workers %d: want at least 1", c.Workers)
	report(c.resizing().Validate())
	_, err := c.options().Resolve()
	report(err)
	if c.usesNetwork() {
		report(c.validateNetwork())
		report(c.validateTraining())
	} else {
		report(c.validateBaseline())
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("predictor config: %w", err)
	}
	return nil
}

// validates reports whether validation examples choose the checkpoint.
func (c Config) validates() bool { return c.Select != "last" }

// validateTraining returns all that is wrong with how a network is trained.
func (c Config) validateTraining() error {
	var problems []error
	report := func(err error) { problems = append(problems, err) }
	want := func(ok bool, format string, args ...any) {
		if !ok {
			report(fmt.Errorf(format, args...))
		}
	}
	_, err := c.distances()
	report(err)
	want(c.Steps >= 1, "steps %d: want at least 1", c.Steps)
	want(c.Batch >= 1, "batch %d: want at least 1", c.Batch)
	want(c.Select == "cc" || c.Select == "loss" || c.Select == "last", "select %q: want cc, loss or last", c.Select)
	want(c.ValidationShare > 0 && c.ValidationShare < 1, "validation share %v: want above 0 and below 1", c.ValidationShare)
	want(c.ValidateEvery >= 0, "validate every %d steps: want at least 0", c.ValidateEvery)
	for _, pattern := range c.AllowMissing {
		_, err := path.Match(pattern, "")
		want(err == nil, "allow missing %q: want a pattern such as encoder.layer4.*", pattern)
	}
	want(c.CheckpointEvery >= 0, "checkpoint every %d steps: want at least 0", c.CheckpointEvery)
	report(c.Optimizer.internal().Validate())
	report(c.Optimizer.schedule().Validate())
	report(raster.Augment(c.Augment).Validate())
	return errors.Join(problems...)
}

// Bounds that no sensible U-Net reaches; beyond, Divisor could overflow.
const (
	maxLevels = 10
	maxStride = 16
)

func (c Config) validateNetwork() error {
	net, err := c.network()
	if err != nil {
		return err
	}
	if d := net.Divisor(); c.Size < d || c.Size%d != 0 {
		return fmt.Errorf("size %d: want a multiple of %d for network %q", c.Size, d, c.Network)
	}
	if c.Pretrained != "" {
		_, err = c.published()
	}
	return err
}

// network is the shape of the network.
func (c Config) network() (backbone.SaliencyNetwork, error) {
	switch c.Network {
	case "unet":
		return c.unet()
	case "unet-resnet18":
		return backbone.UNetOf(backbone.ResNet18()), nil
	case "unet-resnet50":
		return backbone.UNetOf(backbone.ResNet50()), nil
	case "unet-densenet121":
		return backbone.UNetOf(backbone.DenseNet121()), nil
	case "unetplusplus-resnet50":
		return backbone.UNetPlusPlusOf(backbone.ResNet50()), nil
	}
	return nil, fmt.Errorf("network %q: want unet, unet-resnet18, unet-resnet50, unet-densenet121 or unetplusplus-resnet50", c.Network)
}

func (c Config) unet() (backbone.UNet, error) {
	net := backbone.UNet{Widths: c.Widths, StemKernel: c.StemKernel, StemStride: c.StemStride}
	if err := net.Validate(); err != nil {
		return net, err
	}
	if len(c.Widths) > maxLevels || c.StemStride > maxStride {
		return net, fmt.Errorf("%d levels behind a stem of stride %d: want at most %d and %d", len(c.Widths), c.StemStride, maxLevels, maxStride)
	}
	return net, nil
}

func (c Config) resizing() raster.Resizing { return raster.Resizing(c.Resize) }

// use is how a fit runs its model.
func (c Config) use() Options {
	return Options{Workers: c.Workers, Batch: c.Batch, Device: c.Device, Precision: c.Precision}
}

func (c Config) options() nn.Options { return c.use().internal() }

func (c Config) validateEvery() int {
	if c.ValidateEvery > 0 {
		return c.ValidateEvery
	}
	return max(1, c.Steps/20)
}

func (c Config) checkpointEvery() int {
	if c.CheckpointEvery > 0 {
		return c.CheckpointEvery
	}
	return 50
}

// canonical is what of the configuration decides the result.
func (c Config) canonical() ([]byte, error) { return json.Marshal(c) }

func (o Optimizer) internal() nn.Optimizer {
	return nn.Optimizer{Name: o.Name, LR: o.LR, WeightDecay: o.WeightDecay, Momentum: o.Momentum, Nesterov: o.Nesterov}
}

func (o Optimizer) schedule() nn.Schedule {
	return nn.Schedule{Kind: o.Schedule, Warmup: o.Warmup, Every: o.StepEvery, Gamma: o.Gamma}
}
