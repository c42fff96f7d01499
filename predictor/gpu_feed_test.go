package predictor

import (
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
)

func TestAFitOnAGPUSeesWhatOneOnTheCPUSees(t *testing.T) {
	cudatest.GPU(t)
	train, val := examples(t, "train", 12), examples(t, "val", 4)
	for _, loss := range []string{"mse", "kl"} {
		t.Run(loss, func(t *testing.T) {
			cfg := tiny()
			cfg.Loss, cfg.Precision, cfg.Optimizer.LR = loss, "f32", 1e-3
			cfg.Augment = Augment{Flip: true, Transpose: true, Zoom: 0.4, Shift: 0.3, Color: 0.3, Brightness: 0.2}
			losses := map[string][]float64{}
			for _, device := range []string{"cpu", "cuda"} {
				cfg.Device = device
				_, err := Fit(t.Context(), cfg, train, val, t.TempDir(), func(p Progress) { losses[device] = append(losses[device], p.Loss) })
				if err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range losses["cpu"] {
				if found := losses["cuda"][i]; !(math.Abs(found-want) <= 0.01*want) {
					t.Errorf("step %d: loss %v, want %v", i+1, found, want)
				}
			}
		})
	}
}
