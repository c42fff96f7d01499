package predictor

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// farthest is the largest difference of two maps' values.
func farthest(a, b *raster.Plane) float64 {
	most := 0.0
	for i, v := range a.Pix {
		most = max(most, math.Abs(float64(v-b.Pix[i])))
	}
	return most
}

func TestMapsOfAGPUAreThoseOfTheCPU(t *testing.T) {
	cudatest.GPU(t)
	list := samples(t, 23)
	list[5].Image.Bytes, list[14].Image.Bytes = []byte("junk"), nil
	for name, m := range map[string]*Model{"one network": model(t), "an ensemble": fit(t, trio(), examples(t, "train", 20), nil)} {
		t.Run(name, func(t *testing.T) {
			want := drawnOf(t, m, list, Options{Device: "cpu", Precision: "f32"})
			for precision, bound := range map[string]float64{"f32": 1e-4, "bf16": 0.05} {
				for _, options := range []Options{{Workers: 1, Batch: 1}, {Workers: 3, Batch: 5}, {Workers: 2, Batch: 100}} {
					options.Device, options.Precision = "cuda", precision
					found := drawnOf(t, m, list, options)
					if len(found) != len(want) {
						t.Fatalf("%+v: found %d predictions, want %d", options, len(found), len(want))
					}
					for i, p := range found {
						if p.Sample.ID != list[i].ID || p.Map.Present() != want[i].Map.Present() {
							t.Fatalf("%+v: place %d is of sample %q and has a map: %v", options, i, p.Sample.ID, p.Map.Present())
						}
						if !p.Map.Present() {
							continue
						}
						if d := farthest(decoded(t, p), decoded(t, want[i])); !(d <= bound) {
							t.Errorf("%+v: sample %d is %.2g away from the CPU's map, want at most %g", options, i, d, bound)
						}
					}
				}
			}
		})
	}
}

// drawnOf are the predictions for samples, without a map for those that cannot be decoded.
func drawnOf(t *testing.T, m *Model, list []storage.Sample, options Options) []Prediction {
	t.Helper()
	var found []Prediction
	for p, err := range m.Annotate(t.Context(), stream(list, nil), options) {
		if bad := (*SampleError)(nil); err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	return found
}

func TestACallerMayLeaveAGPUAtAnyTime(t *testing.T) {
	cudatest.GPU(t)
	m := model(t)
	for _, after := range []int{1, 7} {
		synctest.Test(t, func(t *testing.T) {
			var read atomic.Int64
			seen := 0
			for _, err := range m.Annotate(t.Context(), endless(samples(t, 1)[0], &read), Options{Workers: 2, Batch: 3, Device: "cuda"}) {
				if err != nil {
					t.Fatal(err)
				}
				if seen++; seen == after {
					break
				}
			}
		})
	}
}

func TestAFitOnAGPUValidatesItsPresentWeights(t *testing.T) {
	cudatest.GPU(t)
	cfg := tiny()
	cfg.Precision, cfg.Workers = "f32", 2
	train := examples(t, "train", 20)
	courses := map[string][]Point{}
	for _, device := range []string{"cpu", "cuda"} {
		cfg.Device = device
		courses[device] = fit(t, cfg, train, nil).Summary().History
	}
	for i, want := range courses["cpu"] {
		if found := courses["cuda"][i]; math.Abs(found.Loss-want.Loss) > 0.01*want.Loss {
			t.Errorf("step %d: found validation loss %v, want %v", want.Step, found.Loss, want.Loss)
		}
	}
}
