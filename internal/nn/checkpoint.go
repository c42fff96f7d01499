package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/surrogaze/surrogaze/internal/weights"
)

// Checkpoint is the folder that a run continues from: the trainer's state and the
// caller's in one file, the best weights so far in another, which is named by
// their step and written before the state that refers to it.
type Checkpoint struct {
	Dir string
	// Fingerprint says what is computed, on what. A checkpoint of another
	// fingerprint is refused.
	Fingerprint string
	// Replace writes a file such that a crash leaves the old content or the new.
	Replace func(path string, write func(io.Writer) error) error

	best int // step of the best weights on disk, 0 for none
}

const (
	fingerprintKey = "fingerprint"
	stateKey       = "state"
	bestKey        = "best"
)

func (c *Checkpoint) statePath() string { return filepath.Join(c.Dir, "checkpoint.safetensors") }

func (c *Checkpoint) bestPath(step int) string {
	return filepath.Join(c.Dir, fmt.Sprintf("best-%06d.safetensors", step))
}

// Restore sets the trainer, the best weights and state, a pointer to what Save
// was given, as the last Save found them. Without one it makes the folder and
// changes nothing else.
func (c *Checkpoint) Restore(t *Trainer, best *Params, state any) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("folder for checkpoints: %w", err)
	}
	meta, tensors, err := weights.ReadFile(c.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if meta[fingerprintKey] != c.Fingerprint {
		return fmt.Errorf("checkpoint %q is of a run with another configuration or other data: remove it or choose another folder", c.statePath())
	}
	step, err := strconv.Atoi(meta[bestKey])
	if err != nil {
		return fmt.Errorf("checkpoint %q: best step: %w", c.statePath(), err)
	}
	if step > 0 {
		_, tensors, err := weights.ReadFile(c.bestPath(step))
		if err != nil {
			return fmt.Errorf("checkpoint: best weights: %w", err)
		}
		if err := best.Load(tensors); err != nil {
			return fmt.Errorf("%q: %w", c.bestPath(step), err)
		}
	}
	if err := json.Unmarshal([]byte(meta[stateKey]), state); err != nil {
		return fmt.Errorf("checkpoint %q: state: %w", c.statePath(), err)
	}
	if err := t.Restore(meta, tensors); err != nil {
		return fmt.Errorf("%q: %w", c.statePath(), err)
	}
	c.best = step
	return nil
}

// Save writes the trainer, a state that JSON can hold, and the best weights,
// which are of step bestStep; 0 says that there are none yet. After a crash at
// any moment the folder holds this or what it held before.
func (c *Checkpoint) Save(t *Trainer, best *Params, bestStep int, state any) error {
	if err := c.save(t, best, bestStep, state); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (c *Checkpoint) save(t *Trainer, best *Params, bestStep int, state any) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if bestStep != c.best {
		err := c.Replace(c.bestPath(bestStep), func(w io.Writer) error { return weights.Write(w, nil, best.Tensors()) })
		if err != nil {
			return err
		}
	}
	meta := map[string]string{fingerprintKey: c.Fingerprint, stateKey: string(text), bestKey: strconv.Itoa(bestStep)}
	if err := c.Replace(c.statePath(), func(w io.Writer) error { return t.Save(w, meta) }); err != nil {
		return err
	}
	old := c.best
	c.best = bestStep
	if old == 0 || old == bestStep {
		return nil
	}
	if err := os.Remove(c.bestPath(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
