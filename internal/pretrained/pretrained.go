// Package pretrained sets the parameters of a network from a file of weights that
// were trained before, here or elsewhere.
package pretrained

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// Weights is where a network's first weights came from.
type Weights struct {
	SHA256 string `json:"sha256"` // of the file
	// HeadReplaced says that the file's last layer was of other classes, or was
	// missing, and the network's own was initialised at random.
	HeadReplaced bool `json:"head_replaced"`
	// Missing are the parameters that the file lacked, as it was allowed to. They were
	// initialised as if there were no file.
	Missing []string `json:"missing,omitempty"`
	// Recentred says that the weights were trained on images less 0.5, divided by
	// 0.5, and that the first layers were changed so that the network computes the
	// same from images less ImageNet's mean, divided by its deviation.
	Recentred bool `json:"recentred,omitempty"`
	// Encoder says that the file is a predictor's, of which the encoder was taken.
	Encoder bool `json:"encoder,omitempty"`
}

// String is the weights as the end of a sentence about a training.
func (w *Weights) String() string {
	text := "pretrained weights"
	if w.Encoder {
		text = "the encoder of a predictor"
	}
	if w.HeadReplaced {
		text += ", last layer replaced"
	}
	if len(w.Missing) > 0 {
		text += fmt.Sprintf(", %d parameters missing", len(w.Missing))
	}
	return text
}

// MismatchError says how the tensors of a weights file differ from the parameters
// of a network: all of them, by name and shape.
type MismatchError struct {
	Missing    []string // parameters that the file has no tensor for
	Unexpected []string // tensors that the network has no parameter for
	Misshapen  []string // tensors of another shape than their parameter's
}

func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "found tensors of another network: %d missing, %d unexpected, %d of another shape",
		len(e.Missing), len(e.Unexpected), len(e.Misshapen))
	for _, x := range []struct {
		what string
		list []string
	}{{"missing", e.Missing}, {"unexpected", e.Unexpected}, {"shape", e.Misshapen}} {
		for _, line := range x.list {
			fmt.Fprintf(&b, "\n  %-10s  %s", x.what, line)
		}
	}
	return b.String()
}

// predictorFormat is what the file of a predictor says that it is.
const predictorFormat = "surrogaze-predictor"

// Load sets parameters from the file at path, by the names that published files have;
// of a predictor's file, from its encoder.
// allowMissing are patterns, as path.Match has them, of the names of parameters that
// the file may lack and of tensors that it may have beyond them.
func Load(path string, params *nn.Params, published backbone.Published, allowMissing []string) (*Weights, error) {
	hash, err := hashFile(path)
	if err != nil {
		return nil, err
	}
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w := &Weights{SHA256: hash}
	if err := w.load(f, params, published, allowMissing); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return w, nil
}

func (w *Weights) load(f *weights.File, params *nn.Params, published backbone.Published, allowMissing []string) error {
	name := published.Name
	if w.Encoder = f.Metadata()["format"] == predictorFormat; w.Encoder {
		name = published.EncoderName
	}
	m := pair(f.Tensors(), params, published, name)
	if err := m.mismatch(allowMissing); err != nil {
		return err
	}
	for _, param := range params.All() {
		tensor, ok := m.tensors[param]
		if !ok {
			continue
		}
		if err := f.ReadFloat32(tensor, param.Data); err != nil {
			return err
		}
		if err := weights.CheckFinite(tensor, param.Data); err != nil {
			return err
		}
	}
	w.HeadReplaced = m.headReplaced
	for _, param := range m.missing {
		w.Missing = append(w.Missing, param.Name)
	}
	if ours := strings.HasPrefix(f.Metadata()["format"], "surrogaze-"); published.Centred != nil && !ours {
		w.Recentred = m.recentre(params, *published.Centred)
	}
	return nil
}

// pairing says which tensor of a file each parameter is set from.
type pairing struct {
	tensors      map[*nn.Param]string
	headReplaced bool // neither parameter of the last layer is among tensors
	missing      []*nn.Param
	unexpected   []weights.Info
	misshapen    []string
}

// pair finds the tensor of every parameter, by the name that the network has for a
// tensor; "" is none. Of the last layer all or nothing is taken.
func pair(tensors []weights.Info, params *nn.Params, published backbone.Published, nameOf func(tensor string) string) pairing {
	m := pairing{tensors: map[*nn.Param]string{}}
	known := map[*nn.Param]bool{}
	for _, t := range tensors {
		name := nameOf(t.Name)
		if name == "" {
			continue
		}
		switch param := params.Get(name); {
		case param == nil && published.IsHead(name): // a network that ends before it
		case param == nil || known[param]:
			m.unexpected = append(m.unexpected, t)
		case sameShape(t.Shape, param.Shape):
			m.tensors[param], known[param] = t.Name, true
		case !published.IsHead(name):
			known[param] = true
			m.misshapen = append(m.misshapen, fmt.Sprintf("%s, want %v", line(t.Name, t.Shape), param.Shape))
		}
	}
	var head []*nn.Param
	for _, param := range params.All() {
		switch {
		case published.IsHead(param.Name):
			head = append(head, param)
			m.headReplaced = m.headReplaced || !known[param]
		case published.Covers(param.Name) && !known[param]:
			m.missing = append(m.missing, param)
		}
	}
	if m.headReplaced {
		for _, param := range head {
			delete(m.tensors, param)
		}
	}
	return m
}

// sameShape compares shapes but for axes of length 1 at their ends: some files
// write a 1x1 convolution as a linear layer, or the other way about.
func sameShape(a, b []int) bool { return slices.Equal(trimmed(a), trimmed(b)) }

func trimmed(shape []int) []int {
	for len(shape) > 0 && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	return shape
}

func line(name string, shape []int) string { return fmt.Sprintf("%q %v", name, shape) }

// mismatch is an error about all tensors that are not as they should be and that no
// pattern allows to be missing on either side.
func (m *pairing) mismatch(allowed []string) error {
	e := &MismatchError{Misshapen: m.misshapen}
	for _, param := range m.missing {
		if !matches(allowed, param.Name) {
			e.Missing = append(e.Missing, line(param.Name, param.Shape))
		}
	}
	for _, t := range m.unexpected {
		if !matches(allowed, t.Name) {
			e.Unexpected = append(e.Unexpected, line(t.Name, t.Shape))
		}
	}
	if len(e.Missing)+len(e.Unexpected)+len(e.Misshapen) == 0 {
		return nil
	}
	return e
}

// matches reports whether a name fits one of the patterns, which are valid.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// recentre makes a network that was trained on images less 0.5, divided by 0.5,
// compute the same from images less ImageNet's mean, divided by its deviation, if its
// first layers came from the file. The first convolution of
//
//	(x - 0.5) / 0.5 = 2 std (x - mean) / std + (2 mean - 1)
//
// is one with its weights times 2 std, and a constant that the batch norm behind it
// takes off again.
func (m *pairing) recentre(params *nn.Params, layers backbone.InputLayers) bool {
	weight, mean := params.Get(layers.Conv+".weight"), params.Get(layers.Norm+".running_mean")
	if m.tensors[weight] == "" || m.tensors[mean] == "" {
		return false
	}
	const channels = len(raster.ChannelMean)
	area := weight.Shape[2] * weight.Shape[3]
	for o := range weight.Shape[0] {
		constant := 0.0
		for c := range channels {
			kernel := weight.Data[(o*channels+c)*area:][:area]
			for i, w := range kernel {
				constant += float64(w) * (2*float64(raster.ChannelMean[c]) - 1)
				kernel[i] = w * 2 * raster.ChannelStd[c]
			}
		}
		mean.Data[o] -= float32(constant)
	}
	return true
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
