package predictor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// Model is a fitted predictor. It is not changed by use, but by Calibrate.
type Model struct {
	cfg         Config
	members     []*nn.Params // the networks of Config.Ensemble; none of a baseline
	mean        []float32    // mean of the training maps, (size, size)
	pca         *pca         // of method "pca"
	calibration *Calibration
	summary     Summary
}

// Summary says how a model came about.
type Summary struct {
	Train      int     `json:"train"`      // examples trained on
	Validation int     `json:"validation"` // examples that judged its points, and may have chosen one
	Blank      int     `json:"blank"`      // examples left out for a blank map
	Best       Point   `json:"best"`       // the checkpoint kept
	History    []Point `json:"history"`    // all points, in order
	// Members are the courses of an ensemble's networks behind the first.
	Members []Member `json:"members,omitempty"`
	// Pretrained is nil if all began at random.
	Pretrained *Pretrained `json:"pretrained,omitempty"`
}

// Config is what the model was fitted with. Of a loaded model it lacks where and
// how fast that was.
func (m *Model) Config() Config { return m.cfg }

// Summary says how the model came about.
func (m *Model) Summary() Summary { return m.summary }

// Calibrated is the number of human maps that the quality estimate was
// calibrated on.
func (m *Model) Calibrated() int {
	if m.calibration == nil {
		return 0
	}
	return m.calibration.Maps
}

// ErrFormat says that a file of weights is of no predictor.
var ErrFormat = errors.New("no predictor")

// Keys and values of a model file's metadata, and the tensor that is no
// parameter.
const (
	formatKey     = "format"
	format        = "surrogaze-predictor"
	versionKey    = "version"
	version       = "1"
	descriptorKey = "model"
	meanTensor    = "baseline.mean_map"
)

// descriptor is what a model file says besides its weights.
type descriptor struct {
	Config        Config        `json:"config"`
	Preprocessing preprocessing `json:"preprocessing"`
	Calibration   *Calibration  `json:"calibration"`
	Summary       Summary       `json:"summary"`
}

// preprocessing is for readers in other languages: RGB in [0, 1], brought to
// size x size by antialiased bilinear resampling, in its own shape between black
// bars if resize is "pad", less mean, divided by std.
type preprocessing struct {
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
}

// Save writes the model to one safetensors file, in place of what path held. The
// same model gives the same bytes.
func (m *Model) Save(path string) error {
	text, err := json.Marshal(descriptor{m.cfg, preprocessing{raster.ChannelMean, raster.ChannelStd}, m.calibration, m.summary})
	if err != nil {
		return fmt.Errorf("save the predictor: %w", err)
	}
	meta := map[string]string{formatKey: format, versionKey: version, descriptorKey: string(text)}
	tensors, err := memberTensors(m.members)
	if err != nil {
		return fmt.Errorf("save the predictor: %w", err)
	}
	tensors = append(tensors, weights.Float32(meanTensor, []int{m.cfg.Size, m.cfg.Size}, m.mean))
	if m.pca != nil {
		tensors = append(tensors, m.pca.tensors(m.cfg.Size)...)
	}
	err = storage.AtomicWrite(path, func(w io.Writer) error { return weights.Write(w, meta, tensors) })
	if err != nil {
		return fmt.Errorf("save the predictor: %w", err)
	}
	return nil
}

// Load reads a model that Save wrote.
func Load(path string) (*Model, error) {
	m, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("load predictor %q: %w", path, err)
	}
	return m, nil
}

func read(path string) (*Model, error) {
	meta, tensors, err := weights.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d descriptor
	if err := d.parse(meta); err != nil {
		return nil, err
	}
	m := &Model{cfg: d.Config, calibration: d.Calibration, summary: d.Summary}
	return m, m.take(tensors)
}

// parse reads and checks a model file's metadata.
func (d *descriptor) parse(meta map[string]string) error {
	if meta[formatKey] != format {
		return fmt.Errorf("%w: found format %q, want %s", ErrFormat, meta[formatKey], format)
	}
	if meta[versionKey] != version {
		return fmt.Errorf("found version %q, want %s", meta[versionKey], version)
	}
	if err := json.Unmarshal([]byte(meta[descriptorKey]), d); err != nil {
		return fmt.Errorf("metadata %q: %w", descriptorKey, err)
	}
	if p := (preprocessing{raster.ChannelMean, raster.ChannelStd}); d.Preprocessing != p {
		return fmt.Errorf("found preprocessing %v, want %v", d.Preprocessing, p)
	}
	d.Config.Workers = 1
	return d.Config.Validate()
}

// take makes the model of a configuration from a file's tensors.
func (m *Model) take(tensors []weights.Tensor) error {
	var others []weights.Tensor
	values := 0
	for _, t := range tensors {
		values += len(t.Data)
		if t.Name == meanTensor {
			m.mean = t.Data
		} else {
			others = append(others, t)
		}
	}
	if want := m.cfg.leastValues(); float64(values) < want {
		return fmt.Errorf("found %d values, want at least %.0f for size %d and widths %v", values, want, m.cfg.Size, m.cfg.Widths)
	}
	if want := m.cfg.Size * m.cfg.Size; len(m.mean) != want {
		return fmt.Errorf("tensor %q: found %d values, want %d", meanTensor, len(m.mean), want)
	}
	if err := weights.CheckFinite(meanTensor, m.mean); err != nil {
		return err
	}
	if !m.cfg.usesNetwork() {
		return m.takeBaseline(others)
	}
	return m.takeMembers(others)
}

// leastValues is a lower bound of the values in a model file: the mean map's, and of
// a U-Net, which may be of any width, the stem's and those of one 3x3 convolution a
// level. A file that claims a network many times its own size is refused by it before
// the network is made.
func (c Config) leastValues() float64 {
	area := func(side int) float64 { return float64(side) * float64(side) }
	n := area(c.Size)
	if c.Network != "unet" {
		return n
	}
	one := 3 * area(c.StemKernel) * float64(c.Widths[0])
	for _, w := range c.Widths {
		one += 9 * area(w)
	}
	return n + float64(c.members())*one
}

// Options say where and how fast a model runs, never what it gives.
type Options struct {
	Workers   int    // cores that may be used; 0 is 1
	Batch     int    // images a forward pass; 0 is 16
	Device    string // "auto" or "", "cpu", or "cuda[:n]"
	Precision string // "auto" or "", "f32", "tf32" or "bf16"
}

func (o Options) internal() nn.Options {
	return nn.Options{Device: o.Device, Precision: o.Precision, Workers: max(o.Workers, 1)}
}

// finished are the options for a model that is not trained any more.
func (o Options) finished() nn.Options {
	n := o.internal()
	n.Constant = true
	return n
}

var (
	// ErrDeviceMemory says that something did not fit a GPU's memory.
	ErrDeviceMemory = nn.ErrDeviceMemory
	// ErrDeviceLost says that a GPU has failed in the middle of its work, for good.
	ErrDeviceLost = nn.ErrDeviceLost
)

// Notice says why the device "auto" came to the CPU; empty where nobody would expect
// another, or the options cannot be met.
func (o Options) Notice() string {
	t, err := o.internal().Resolve()
	if err != nil {
		return ""
	}
	return t.Notice
}

// Ran is what a computation with these options runs on at present, its steps left
// open.
func (o Options) Ran() (storage.Ran, error) {
	t, err := o.internal().Resolve()
	if err != nil {
		return storage.Ran{}, err
	}
	return storage.Ran{Device: t.Device, Hardware: t.ISA, Precision: t.Precision}, nil
}

func (o Options) batch() int {
	if o.Batch > 0 {
		return o.Batch
	}
	return 16
}

// predictAll predicts the maps of samples.
func (m *Model) predictAll(ctx context.Context, samples []*sample, options Options) ([]prediction, error) {
	if len(samples) == 0 {
		return nil, nil
	}
	t, err := m.team(len(samples), options)
	if err != nil {
		return nil, err
	}
	return t.predict(ctx, samples)
}

// team draws the model's maps of n images.
func (m *Model) team(n int, options Options) (*team, error) {
	if !m.cfg.usesNetwork() {
		options = Options{Workers: options.Workers, Batch: options.Batch, Device: "cpu"}
	}
	o := options.finished()
	return newTeam(o, n, options.batch(), func(members, batch int) ([]drawer, error) {
		if !m.cfg.usesNetwork() {
			return newBaselines(m, members, batch), nil
		}
		return newEnsembles(m.cfg, m.members, members, batch, o)
	})
}
