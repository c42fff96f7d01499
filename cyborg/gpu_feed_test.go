package cyborg

import (
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
)

func TestATrainingOnAGPUSeesWhatOneOnTheCPUSees(t *testing.T) {
	cudatest.GPU(t)
	for name, change := range map[string]func(*Config){
		"all that augments": func(c *Config) {
			c.Augment = Augment{Flip: true, Transpose: true, Zoom: 0.4, Shift: 0.3, Color: 0.3, Brightness: 0.2}
		},
		"padded":  func(c *Config) { c.Resize = "pad" },
		"blurred": func(c *Config) { c.Blur = 1.5 },
		"weighed": func(c *Config) { c.AlphaSchedule = "adaptive" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tiny()
			cfg.Precision, cfg.Optimizer.LR, cfg.Select = "f32", 1e-3, "last"
			change(&cfg)
			d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
			losses := map[string][]float64{}
			first := map[string]Point{}
			for _, device := range []string{"cpu", "cuda"} {
				cfg.Device = device
				m, err := Train(t.Context(), cfg, d, Combined, 0, t.TempDir(), func(p Progress) { losses[device] = append(losses[device], p.Loss) })
				if err != nil {
					t.Fatal(err)
				}
				first[device] = m.Summary().History[0]
			}
			for i, want := range losses["cpu"] {
				if found := losses["cuda"][i]; !(math.Abs(found-want) <= 0.01*want) {
					t.Errorf("step %d: loss %v, want %v", i+1, found, want)
				}
			}
			found, want := first["cuda"], first["cpu"]
			if found.Guided == 0 || found.Guided != want.Guided {
				t.Errorf("%d images had a map, want %d", found.Guided, want.Guided)
			}
			if !(math.Abs(found.Alpha-want.Alpha) <= 0.01*want.Alpha) {
				t.Errorf("mean alpha %v, want %v", found.Alpha, want.Alpha)
			}
		})
	}
}
