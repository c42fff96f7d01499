// Package modelfile writes trained networks for other programs: ONNX for runtimes,
// and safetensors of the parameters alone for PyTorch. Both say in their metadata what
// the network wants and gives; docs/models.md shows how Python reads it.
package modelfile

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Description is what a file says of its network.
type Description struct {
	Kind    string // "classifier" or "predictor"
	Network string // its name in configurations
	Classes []string
	Size    int // side of the square input in pixels
	Resize  raster.Resizing
	Outputs map[string]string // meaning of each by name
}

// preprocessing is the way from a file to the input "image": the image as displayed,
// in RGB from 0 to 1, brought to size x size, less mean, divided by std; with "pad" it
// is put in the middle of a black square before. Where its shorter side (with "pad",
// its longer one) has more than reduce times size pixels it is brought to size x size
// (with "pad", that side to size) first, rounded to 8 bits.
type preprocessing struct {
	Layout        string     `json:"layout"`
	Channels      string     `json:"channels"`
	Range         [2]int     `json:"range"`
	Size          int        `json:"size"`
	Resize        string     `json:"resize"`
	Reduce        int        `json:"reduce"`
	Interpolation string     `json:"interpolation"`
	Antialias     bool       `json:"antialias"`
	Mean          [3]float32 `json:"mean"`
	Std           [3]float32 `json:"std"`
}

// reduce is how many times the network's side images may have and still be resampled
// as they are.
const reduce = 2

// metadata is the description as texts; what are no plain words are JSON.
func (d Description) metadata() (map[string]string, error) {
	meta := map[string]string{"kind": d.Kind, "network": d.Network}
	values := map[string]any{
		"outputs": d.Outputs,
		"preprocessing": preprocessing{
			Layout: "NCHW", Channels: "RGB", Range: [2]int{0, 1}, Size: d.Size, Resize: string(d.Resize), Reduce: reduce,
			Interpolation: "bilinear", Antialias: true, Mean: raster.ChannelMean, Std: raster.ChannelStd,
		},
	}
	if d.Classes != nil {
		values["classes"] = d.Classes
	}
	for key, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", key, err)
		}
		meta[key] = string(text)
	}
	return meta, nil
}

// WriteONNX writes a network to a file, in place of what path held.
func WriteONNX(path string, d Description, graph *onnx.Graph) error {
	meta, err := d.metadata()
	if err != nil {
		return err
	}
	m := onnx.Model{Graph: graph, Metadata: meta, Doc: fmt.Sprintf("A %s (%s) by Surrogaze. Its metadata say what the input image is and what the outputs mean.", d.Kind, d.Network)}
	return storage.AtomicWrite(path, m.Write)
}

// WriteSafetensors writes the parameters to a file, in place of what path held, by the
// names of the network's best-known Python implementation, which loads them strictly.
func WriteSafetensors(path string, d Description, params *nn.Params) error {
	meta, err := d.metadata()
	if err != nil {
		return err
	}
	meta["format"] = "pt" // what readers take for PyTorch's layout
	return storage.AtomicWrite(path, func(w io.Writer) error { return params.Write(w, meta) })
}
