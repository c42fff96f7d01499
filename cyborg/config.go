package cyborg

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// Config decides what a training computes. Of the fields without a JSON name,
// Pretrained does too, by the content of its file, which a model names by its
// hash; AllowMissing decides only whether that file is taken, the others only where
// and how fast.
type Config struct {
	// Network is "resnet18", "resnet50", "densenet121", "inception-v3", "xception",
	// "resnet-small", or "custom": a residual network of Stem, Widths, Blocks and
	// Strides, which the others do not look at.
	Network string `json:"network"`
	Stem    Stem   `json:"stem"`
	Widths  []int  `json:"widths"`  // channels of each stage
	Blocks  []int  `json:"blocks"`  // residual blocks of each stage
	Strides []int  `json:"strides"` // stride of each stage's first block
	Size    int    `json:"size"`    // side of the square input in pixels
	// Resize is how an image fills that square: "squash" gives up its shape, "pad"
	// keeps it between black bars.
	Resize string `json:"resize"`
	// CAMClass is whose activation map is compared: that of the "true" class, of the
	// "predicted" one, or the "difference" of the true class's and the mean of the
	// others', taken before scaling.
	CAMClass string `json:"cam_class"`
	// CAMFeatures is what that map is made of: what feeds the average pooling,
	// "pool_input" or "", or "reference", the tensor that CYBORG's published code takes.
	CAMFeatures string  `json:"cam_features,omitempty"`
	Alpha       float64 `json:"alpha"` // weight of the cross-entropy; 1 leaves the distance from maps out
	// AlphaSchedule is the course of Alpha over the training: "fixed" or "", "linear" or
	// "cosine" to AlphaEnd, or "adaptive": in every step the cross-entropy's share of the
	// cross-entropy and the distance of the mapped images, whatever Alpha.
	AlphaSchedule string  `json:"alpha_schedule,omitempty"`
	AlphaEnd      float64 `json:"alpha_end,omitempty"`
	// Discount is the share of the guidance that predicted maps lose beside human ones:
	// 0 is none, 1 all of it.
	Discount float64 `json:"discount,omitempty"`
	Guidance string  `json:"guidance"` // distance of CAM and map: "mse", "bce", "kl" or "cc"
	// Entropy is the weight of the entropy of every image's CAM, in nats, in every arm:
	// more makes maps focus. 0 is none.
	Entropy float64 `json:"entropy,omitempty"`
	// Blur is the standard deviation, in pixels of the square input, of the blur of
	// training images where the map that guides them is low. 0 is none.
	Blur float64 `json:"blur,omitempty"`
	// Epochs is the number of passes through the training samples; 0 is as many as make
	// 2560 steps, half of that from pretrained weights, but 20 to 200.
	Epochs int `json:"epochs"`
	Batch  int `json:"batch"`
	// Select is the epoch that is kept, by the samples of the split val: of the
	// highest "auc" or "accuracy", of the lowest "loss" (the cross-entropy alone),
	// or the "last". Ties go to the later.
	Select    string    `json:"select"`
	Optimizer Optimizer `json:"optimizer"`
	Augment   Augment   `json:"augment"`
	Seed      uint64    `json:"seed"`

	// Pretrained is a file of the network's weights to start from, safetensors or
	// PyTorch's, with the names of torchvision or timm, or of a predictor around the
	// network, whose encoder is taken; "" is none. A last layer of another number of
	// classes is left out.
	Pretrained string `json:"-"`
	// AllowMissing are patterns, as path.Match has them, of the names of parameters
	// that Pretrained may lack and of tensors that it may have beyond the network's.
	AllowMissing []string `json:"-"`
	// CheckpointEvery is the number of steps that a killed training may lose; 0 is
	// 50.
	CheckpointEvery int `json:"-"`
	// Workers is the number of cores that may be used, at least 1.
	Workers   int    `json:"-"`
	Device    string `json:"-"` // "auto", "cpu" or "cuda[:n]"
	Precision string `json:"-"` // "auto", "f32", "tf32" or "bf16"
	// Profile, if not nil, measures the steps of one training.
	Profile *Profile `json:"-"`
}

// Stem is the first convolution of a custom network and the max pooling after it.
type Stem struct {
	Kernel int `json:"kernel"` // odd
	Stride int `json:"stride"`
	Width  int `json:"width"`
	Pool   int `json:"pool"` // window of the pooling of stride 2: 2 or 3, 0 for none
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
	// StepEpochs and Gamma make "step" multiply the rate by Gamma each StepEpochs
	// epochs.
	StepEpochs int     `json:"step_epochs"`
	Gamma      float64 `json:"gamma"`
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

// DefaultConfig is the recipe that worked from scratch on a few hundred images in
// the project's study of small image sets.
func DefaultConfig() Config {
	return Config{
		Network: "resnet-small", Size: 96, Resize: "squash", CAMClass: "true",
		Alpha: 0.1, Guidance: "mse", Batch: 16, Select: "last",
		Optimizer: Optimizer{Name: "adamw", LR: 3e-3, WeightDecay: 1e-2, Schedule: "one-cycle", Warmup: 0.15, Gamma: 0.1},
		Augment:   Augment{Flip: true, Transpose: true, Zoom: 0.2, Color: 0.2, Brightness: 0.2},
		Seed:      1, Workers: 1,
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
	report(c.validateNetwork())
	report(c.validateLoss())
	want(c.Discount >= 0 && c.Discount <= 1, "discount %v: want 0 to 1", c.Discount)
	want(c.Epochs >= 0, "epochs %d: want at least 0", c.Epochs)
	want(c.Batch >= 1, "batch %d: want at least 1", c.Batch)
	switch c.Select {
	case "auc", "accuracy", "loss", "last":
	default:
		report(fmt.Errorf("select %q: want auc, accuracy, loss or last", c.Select))
	}
	for _, pattern := range c.AllowMissing {
		_, err := path.Match(pattern, "")
		want(err == nil, "allow missing %q: want a pattern such as layer4.*", pattern)
	}
	want(c.CheckpointEvery >= 0, "checkpoint every %d steps: want at least 0", c.CheckpointEvery)
	want(c.Workers >= 1, "workers %d: want at least 1", c.Workers)
	report(c.Optimizer.internal().Validate())
	report(c.Optimizer.schedule(1).Validate())
	report(c.resizing().Validate())
	report(raster.Augment(c.Augment).Validate())
	_, err := c.options().Resolve()
	report(err)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("cyborg config: %w", err)
	}
	return nil
}

func (c Config) validateLoss() error {
	problems := []error{c.validateAlpha()}
	switch c.CAMClass {
	case trueCAM, predictedCAM, differenceCAM:
	default:
		problems = append(problems, fmt.Errorf("class of the CAM %q: want true, predicted or difference", c.CAMClass))
	}
	switch c.CAMFeatures {
	case "", poolInput, referenceFeatures:
	default:
		problems = append(problems, fmt.Errorf("features of the CAM %q: want pool_input or reference", c.CAMFeatures))
	}
	if !(c.Entropy >= 0 && c.Entropy <= math.MaxFloat32) {
		problems = append(problems, fmt.Errorf("weight of the entropy %v: want at least 0", c.Entropy))
	}
	if !(c.Blur >= 0 && c.Blur <= mostBlur) {
		problems = append(problems, fmt.Errorf("blur %v: want 0 to %d pixels", c.Blur, mostBlur))
	}
	_, err := op.ParseMapLoss(c.Guidance)
	return errors.Join(append(problems, err)...)
}

// mostBlur leaves little of any image that fits a network.
const mostBlur = 100

func (c Config) validateNetwork() error {
	net, err := c.network()
	if err != nil {
		return err
	}
	if grid := net.Grid(c.Size); grid < 2 {
		return fmt.Errorf("size %d: the network's class activation map has a side of %d, want at least 2", c.Size, max(grid, 0))
	}
	return nil
}

// network is the shape of the network.
func (c Config) network() (backbone.Network, error) {
	switch c.Network {
	case "resnet18":
		return backbone.ResNet18(), nil
	case "resnet50":
		return backbone.ResNet50(), nil
	case "densenet121":
		return backbone.DenseNet121(), nil
	case "inception-v3":
		return backbone.InceptionV3(), nil
	case "xception":
		return backbone.LegacyXception(), nil
	case "resnet-small":
		return backbone.ResNetSmall(), nil
	case "custom":
		net := backbone.ResNet{Stem: backbone.Stem(c.Stem), Widths: c.Widths, Strides: c.Strides, Blocks: c.Blocks, Init: nn.FanInUniform}
		return net, net.Validate()
	}
	return nil, fmt.Errorf("network %q: want resnet18, resnet50, densenet121, inception-v3, xception, resnet-small or custom", c.Network)
}

func (c Config) resizing() raster.Resizing { return raster.Resizing(c.Resize) }

func (c Config) options() nn.Options {
	return nn.Options{Device: c.Device, Precision: c.Precision, Workers: c.Workers}
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

// schedule is the course of the learning rate where an epoch has so many steps.
func (o Optimizer) schedule(epoch float64) nn.Schedule {
	every := int(float64(o.StepEpochs)*epoch + 0.5)
	if o.StepEpochs > 0 {
		every = max(every, 1)
	}
	return nn.Schedule{Kind: o.Schedule, Warmup: o.Warmup, Every: every, Gamma: o.Gamma}
}

// epochs is how often a training sees n samples.
func (c Config) epochs(n int) int {
	const least, most = 20, 200
	if c.Epochs > 0 {
		return c.Epochs
	}
	steps := 2560
	if c.Pretrained != "" {
		steps /= 2
	}
	return min(max((steps*c.Batch+n-1)/n, least), most)
}
