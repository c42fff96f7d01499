package nn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

// kept is a run of one linear layer with its checkpoint in dir.
type kept struct {
	*Trainer
	best       *Params
	checkpoint Checkpoint
	state      struct{ Note string }
}

func keep(t *testing.T, dir, fingerprint string, replace func(string, func(io.Writer) error) error) *kept {
	t.Helper()
	g := NewGraph(Train, NewParams(1))
	one := op.Shape{N: 2, C: 1, H: 1, W: 1}
	logits := g.Linear("fc", g.Input("x", op.Shape{N: 2, C: 3, H: 1, W: 1}), 2)
	g.Loss(Term{g.SoftmaxCrossEntropy(logits, g.Input("label", one)), g.Input("weight", one)})
	tr, err := NewTrainer(g, Training{Optimizer: Optimizer{Name: "adam", LR: 0.1}, Steps: 9, Options: Options{Workers: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return &kept{Trainer: tr, best: tr.Params().Clone(), checkpoint: Checkpoint{Dir: dir, Fingerprint: fingerprint, Replace: replace}}
}

func (k *kept) restore() error { return k.checkpoint.Restore(k.Trainer, k.best, &k.state) }

// advance takes a step, whose weights are the best.
func (k *kept) advance(t *testing.T, note string) {
	t.Helper()
	fill := func(_ context.Context, step int, b Batch) error {
		for name := range b {
			for i := range b[name] {
				b[name][i] = float32((i + step) % 2)
			}
		}
		return nil
	}
	for _, err := range k.Steps(context.Background(), fill) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := k.best.CopyFrom(k.Params()); err != nil {
		t.Fatal(err)
	}
	k.state.Note = note
}

func (k *kept) save() error { return k.checkpoint.Save(k.Trainer, k.best, k.Done(), k.state) }

// snapshot is all that a checkpoint keeps.
func (k *kept) snapshot(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := k.Save(&b, map[string]string{"note": k.state.Note}); err != nil {
		t.Fatal(err)
	}
	for _, p := range k.best.All() {
		fmt.Fprintln(&b, p.Name, p.Data)
	}
	return b.String()
}

// replacePlainly is enough where nothing crashes.
func replacePlainly(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func TestACheckpointComesBackAsItWasSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	a := keep(t, dir, "x", replacePlainly)
	first := a.snapshot(t)
	if err := a.restore(); err != nil || a.snapshot(t) != first {
		t.Fatalf("an empty folder changes the run (error %v)", err)
	}
	for _, note := range []string{"one", "two", "three"} {
		a.advance(t, note)
		if err := a.save(); err != nil {
			t.Fatal(err)
		}
		b := keep(t, dir, "x", replacePlainly)
		if err := b.restore(); err != nil {
			t.Fatal(err)
		}
		if b.state.Note != note || a.snapshot(t) != b.snapshot(t) {
			t.Errorf("after step %s: another state comes back", note)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
		t.Errorf("%d files after three checkpoints (error %v), want the state and two of weights", len(files), err)
	}
}

func TestACrashWhileSavingLeavesTheCheckpointBefore(t *testing.T) {
	for crash := range 2 { // before the weights are written, and before the state is
		dir := t.TempDir()
		writes, crashed := 0, errors.New("crash")
		a := keep(t, dir, "x", func(path string, write func(io.Writer) error) error {
			if writes++; writes == 3+crash {
				return crashed
			}
			return replacePlainly(path, write)
		})
		if err := a.restore(); err != nil {
			t.Fatal(err)
		}
		a.advance(t, "one")
		if err := a.save(); err != nil {
			t.Fatal(err)
		}
		want := a.snapshot(t)
		a.advance(t, "two")
		if err := a.save(); !errors.Is(err, crashed) {
			t.Fatalf("error %v, want the disk's", err)
		}
		b := keep(t, dir, "x", replacePlainly)
		if err := b.restore(); err != nil || b.snapshot(t) != want {
			t.Errorf("crash %d: not the checkpoint before comes back (error %v)", crash, err)
		}
	}
}

func TestUnfitCheckpointsAreRefused(t *testing.T) {
	dir := t.TempDir()
	a := keep(t, dir, "x", replacePlainly)
	a.advance(t, "one")
	if err := a.save(); err != nil {
		t.Fatal(err)
	}
	if err := keep(t, dir, "y", replacePlainly).restore(); err == nil || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("another fingerprint: error %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "best-1.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := keep(t, dir, "x", replacePlainly).restore(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no best weights: error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint.safetensors"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keep(t, dir, "x", replacePlainly).restore(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("damaged: error %v", err)
	}
}
