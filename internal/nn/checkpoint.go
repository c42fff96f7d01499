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
// caller's in one file, and the best weights so far in one of two, in turn, so
// that the state in force never loses the weights that it refers to.
type Checkpoint struct {
	Dir string
	// Fingerprint says what is computed, on what. A checkpoint of another
	// fingerprint is refused.
	Fingerprint string
	// Replace writes a file such that a crash leaves the old content or the new.
	Replace func(path string, write func(io.Writer) error) error

	best int // step of the best weights on disk, 0 for none
	slot int // which of the two files holds them
}

// Keys of a checkpoint's metadata, beside the trainer's.
const (
	fingerprintKey = "fingerprint"
	stateKey       = "state"
	bestKey        = "best"
	slotKey        = "slot"
)

func (c *Checkpoint) statePath() string { return filepath.Join(c.Dir, "checkpoint.safetensors") }

func (c *Checkpoint) bestPath(slot int) string {
	return filepath.Join(c.Dir, fmt.Sprintf("best-%d.safetensors", slot))
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
	if err == nil {
		err = c.restore(t, best, state, meta, tensors)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %q: %w", c.statePath(), err)
	}
	return nil
}

func (c *Checkpoint) restore(t *Trainer, best *Params, state any, meta map[string]string, tensors []weights.Tensor) error {
	if meta[fingerprintKey] != c.Fingerprint {
		return errors.New("found a run with another configuration or other data: remove it or choose another folder")
	}
	step, err := strconv.Atoi(meta[bestKey])
	if err != nil {
		return fmt.Errorf("step of the best weights: %w", err)
	}
	slot, err := strconv.Atoi(meta[slotKey])
	if err != nil {
		return fmt.Errorf("file of the best weights: %w", err)
	}
	if step > 0 {
		_, tensors, err := weights.ReadFile(c.bestPath(slot))
		if err == nil {
			err = best.Load(tensors)
		}
		if err != nil {
			return fmt.Errorf("best weights %q: %w", c.bestPath(slot), err)
		}
	}
	if err := json.Unmarshal([]byte(meta[stateKey]), state); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	c.best, c.slot = step, slot
	return t.Restore(meta, tensors)
}

// Save writes the trainer, a state that JSON can hold, and the best weights,
// which are of step bestStep; 0 says that there are none yet. After a crash at
// any moment the folder holds this or what it held before. Parameters that are no
// finite numbers are a [DivergedError] and change nothing.
func (c *Checkpoint) Save(t *Trainer, best *Params, bestStep int, state any) error {
	if err := t.CheckFinite(); err != nil {
		return err
	}
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
	slot := c.slot
	if bestStep != c.best {
		slot = 1 - slot
		err := c.Replace(c.bestPath(slot), func(w io.Writer) error { return best.Write(w, nil) })
		if err != nil {
			return err
		}
	}
	meta := map[string]string{
		fingerprintKey: c.Fingerprint, stateKey: string(text), bestKey: strconv.Itoa(bestStep), slotKey: strconv.Itoa(slot),
	}
	if err := c.Replace(c.statePath(), func(w io.Writer) error { return t.Save(w, meta) }); err != nil {
		return err
	}
	c.best, c.slot = bestStep, slot
	return nil
}
