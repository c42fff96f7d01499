package cyborg

import (
	"context"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/storage"
)

// In training and validation a tag betrays the class, in the test it does not:
// see package synthetic.
func TestMapsKeepAClassifierFromAShortcut(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for several seconds")
	}
	cfg := DefaultConfig()
	cfg.Network, cfg.Size = "custom", 40
	cfg.Stem = Stem{Kernel: 5, Stride: 2, Width: 16}
	cfg.Widths, cfg.Blocks, cfg.Strides = []int{32}, []int{1}, []int{2}
	cfg.Alpha, cfg.Epochs, cfg.Batch, cfg.Optimizer.LR = 0.05, 16, 4, 0.01
	cfg.Augment = Augment{Flip: true}
	var samples []storage.Sample
	for split, n := range map[string]int{"train": 300, "val": 60, "test": 200} {
		for i := range n {
			samples = append(samples, drawn(t, split, i))
		}
	}
	d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
	arms := []Arm{None, Combined}
	found := make([]*Evaluation, len(arms))
	var group errgroup.Group
	for i, arm := range arms {
		dir := t.TempDir()
		group.Go(func() error {
			m, err := Train(context.Background(), cfg, d, arm, 0, dir, nil)
			if err != nil {
				return err
			}
			found[i], err = m.Evaluate(context.Background(), d, "test", Options{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	none, combined := found[0], found[1]
	t.Logf("without maps: test AUC %.3f, CC with human maps %.2f; with maps: %.3f, %.2f", none.AUC, none.Agreement.CC, combined.AUC, combined.Agreement.CC)
	if combined.AUC < none.AUC+0.15 || combined.Agreement.CC < none.Agreement.CC+0.4 {
		t.Error("maps do not help")
	}
}
