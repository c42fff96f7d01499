package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// ExportModel writes a trained model, a file or a folder with one, for other programs:
// to "onnx" or "safetensors", in place of what out held.
func ExportModel(path, to, out string) error {
	m, err := openModel(path)
	if err != nil {
		return err
	}
	if err := errors.Join(checkFile(out), m.differs(out)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if m.classifier != nil {
		return m.classifier.Export(out, to)
	}
	return m.predictor.Export(out, to)
}

// model is a trained classifier or predictor.
type model struct {
	path       string
	classifier *cyborg.Model
	predictor  *predictor.Model
}

// openModel reads the model of a file, or the one that a folder holds.
func openModel(path string) (*model, error) {
	file, err := modelFile(path)
	if err != nil {
		return nil, &DataError{Err: err}
	}
	m := &model{path: file}
	m.classifier, err = cyborg.LoadModel(file)
	if errors.Is(err, cyborg.ErrFormat) {
		m.predictor, err = predictor.Load(file)
	}
	if errors.Is(err, predictor.ErrFormat) {
		return nil, storage.Unusable("model %q: found weights alone, want a classifier or predictor that Surrogaze trained", file)
	}
	if err != nil {
		return nil, &DataError{Err: err}
	}
	return m, nil
}

// modelFile is the path itself, or that of the only model in a folder or in the
// folder models of a run's results.
func modelFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return path, err
	}
	var found []string
	for _, pattern := range []string{"*.safetensors", "models/*.safetensors"} {
		names, err := fs.Glob(os.DirFS(path), pattern)
		if err != nil {
			return "", err
		}
		found = append(found, names...)
	}
	if len(found) != 1 {
		slices.Sort(found)
		return "", fmt.Errorf("folder %q holds the models %q: want the path of one", path, found)
	}
	return filepath.Join(path, filepath.FromSlash(found[0])), nil
}

// differs refuses to write over the model itself.
func (m *model) differs(out string) error {
	from, err := os.Stat(m.path)
	if err != nil {
		return err
	}
	if to, err := os.Stat(out); err == nil && os.SameFile(from, to) {
		return configError(fmt.Errorf("%q is the model itself: choose another file", out))
	}
	return nil
}
