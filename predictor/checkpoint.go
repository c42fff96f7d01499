package predictor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// checkpoint is a fit's folder: the trainer's state in one file, and the best
// weights in one of two, in turn, so that the state in force never loses the
// weights that it refers to.
type checkpoint struct {
	dir         string
	fingerprint string
	best        int // step of the best weights on disk, 0 for none
}

const (
	fingerprintKey = "fingerprint"
	stateKey       = "state"
)

func (c *checkpoint) statePath() string { return filepath.Join(c.dir, "checkpoint.safetensors") }

func (c *checkpoint) bestPath(slot int) string {
	return filepath.Join(c.dir, fmt.Sprintf("best-%d.safetensors", slot))
}

// restore puts f where the last checkpoint left it; without one it changes
// nothing.
func (c *checkpoint) restore(f *fitting) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("folder for checkpoints: %w", err)
	}
	var meta map[string]string
	tensors, err := readTensors(c.statePath(), func(found map[string]string) error {
		meta = found
		if meta[fingerprintKey] != c.fingerprint {
			return errors.New("found a fit with another configuration or other examples: remove it or choose another folder")
		}
		return json.Unmarshal([]byte(meta[stateKey]), &f.state)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.trainer.Restore(meta, tensors)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %q: %w", c.statePath(), err)
	}
	return c.restoreBest(f)
}

func (c *checkpoint) restoreBest(f *fitting) error {
	if c.best = f.state.Best.Step; c.best == 0 {
		return nil
	}
	path := c.bestPath(f.state.Slot)
	tensors, err := readTensors(path, nil)
	if err == nil {
		err = f.best.Load(tensors)
	}
	if err != nil {
		return fmt.Errorf("best weights %q: %w", path, err)
	}
	return nil
}

// save writes f's state. After a crash at any moment the folder holds this state
// or the one before.
func (c *checkpoint) save(f *fitting) error {
	if err := c.write(f); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (c *checkpoint) write(f *fitting) error {
	if f.state.Best.Step != c.best {
		f.state.Slot = 1 - f.state.Slot
		err := storage.AtomicWrite(c.bestPath(f.state.Slot), func(w io.Writer) error {
			return weights.Write(w, nil, f.best.Tensors())
		})
		if err != nil {
			return err
		}
	}
	text, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	c.best = f.state.Best.Step
	return storage.AtomicWrite(c.statePath(), func(w io.Writer) error {
		return f.trainer.Save(w, map[string]string{fingerprintKey: c.fingerprint, stateKey: string(text)})
	})
}

// readTensors reads a whole safetensors file whose metadata accept, if there is
// one, takes.
func readTensors(path string, accept func(meta map[string]string) error) ([]weights.Tensor, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if accept != nil {
		if err := accept(f.Metadata()); err != nil {
			return nil, err
		}
	}
	var tensors []weights.Tensor
	for _, info := range f.Tensors() {
		data, err := f.Float32(info.Name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, weights.Float32(info.Name, info.Shape, data))
	}
	return tensors, nil
}
