package cyborg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// Model is a trained classifier. It is safe for concurrent use.
type Model struct {
	cfg     Config
	classes []string
	params  *nn.Params
	summary Summary
}

// Summary says how a model came about.
type Summary struct {
	Arm        Arm `json:"arm"`
	Run        int `json:"run"`
	Train      int `json:"train"`      // samples trained on
	Validation int `json:"validation"` // samples that every epoch was judged by
	// Mapped is the number of training samples with a map that the arm uses, be it
	// blank or not; Point.Guided counts where there was something to be seen.
	Mapped     int         `json:"mapped"`
	Unlabelled int         `json:"unlabelled"` // samples of the split train left out for want of a label
	Steps      int         `json:"steps"`
	Best       Point       `json:"best"`       // the epoch kept
	History    []Point     `json:"history"`    // all epochs, in order
	Pretrained *Pretrained `json:"pretrained"` // nil if trained from scratch
}

// Config is what the model was trained with. Of a loaded model it lacks the
// fields without a JSON name.
func (m *Model) Config() Config { return m.cfg }

// Classes are the names of the classes in the order of their indices. The caller
// does not change them.
func (m *Model) Classes() []string { return m.classes }

// Summary says how the model came about.
func (m *Model) Summary() Summary { return m.summary }

// ErrFormat says that a file of weights is of no classifier.
var ErrFormat = errors.New("no classifier")

// Keys and values of a model file's metadata.
const (
	formatKey     = "format"
	format        = "surrogaze-classifier"
	versionKey    = "version"
	version       = "1"
	descriptorKey = "model"
)

// descriptor is what a model file says besides its weights.
type descriptor struct {
	Config        Config        `json:"config"`
	Classes       []string      `json:"classes"`
	Preprocessing preprocessing `json:"preprocessing"`
	Summary       Summary       `json:"summary"`
}

// preprocessing is for readers in other languages: RGB in [0, 1], brought to
// size x size by antialiased bilinear resampling, in its own shape between black
// bars if resize is "pad", less mean, divided by std.
type preprocessing struct {
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
}

// Save writes the model to one safetensors file, in place of what path held. Its
// tensors have the names and shapes of torchvision, for xception of timm's
// legacy_xception: load_state_dict takes them strictly, because PyTorch itself sets the
// counts of batches that a file without versions lacks. The same model gives the same
// bytes.
func (m *Model) Save(path string) error {
	text, err := json.Marshal(descriptor{m.cfg, m.classes, preprocessing{raster.ChannelMean, raster.ChannelStd}, m.summary})
	if err != nil {
		return fmt.Errorf("save the classifier: %w", err)
	}
	meta := map[string]string{formatKey: format, versionKey: version, descriptorKey: string(text)}
	err = storage.AtomicWrite(path, func(w io.Writer) error { return m.params.Write(w, meta) })
	if err != nil {
		return fmt.Errorf("save the classifier: %w", err)
	}
	return nil
}

// LoadModel reads a model that Save wrote.
func LoadModel(path string) (*Model, error) {
	m, err := readModel(path)
	if err != nil {
		return nil, fmt.Errorf("load classifier %q: %w", path, err)
	}
	return m, nil
}

func readModel(path string) (*Model, error) {
	meta, tensors, err := weights.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if meta[formatKey] != format {
		return nil, fmt.Errorf("%w: found format %q, want %s", ErrFormat, meta[formatKey], format)
	}
	if meta[versionKey] != version {
		return nil, fmt.Errorf("found version %q, want %s", meta[versionKey], version)
	}
	var d descriptor
	if err := json.Unmarshal([]byte(meta[descriptorKey]), &d); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", descriptorKey, err)
	}
	if p := (preprocessing{raster.ChannelMean, raster.ChannelStd}); d.Preprocessing != p {
		return nil, fmt.Errorf("found preprocessing %v, want %v", d.Preprocessing, p)
	}
	d.Config.Workers = 1
	if err := d.Config.Validate(); err != nil {
		return nil, err
	}
	if len(d.Classes) < 2 {
		return nil, fmt.Errorf("found %d classes, want at least two", len(d.Classes))
	}
	m := &Model{cfg: d.Config, classes: d.Classes, params: nn.NewParams(0), summary: d.Summary}
	if _, err := evaluationGraph(m.cfg, m.params, len(m.classes), 1, false); err != nil {
		return nil, err
	}
	return m, m.params.Load(tensors)
}
