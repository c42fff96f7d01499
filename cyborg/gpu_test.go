package cyborg

import (
	"errors"
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// near reports values that are farther than a bound from those wanted.
func near(t *testing.T, what string, found, want []float32, bound float64) {
	t.Helper()
	for i, v := range found {
		if d := math.Abs(float64(v - want[i])); !(d <= bound) {
			t.Errorf("%s: value %d is %v, want %v", what, i, v, want[i])
			return
		}
	}
}

const gpuBound = 1e-3 // of values in float32

func TestAGPUPredictsWhatTheCPUDoes(t *testing.T) {
	cudatest.GPU(t)
	cfg := tiny()
	list := mixed(t, 12)
	m := trained(t, cfg, opened(t, dataset(t, oneGroup, list), cfg, cacheAll), None, 0)
	want := predictions(t, m, list, Options{Device: "cpu", Precision: "f32"})
	list[3].Image.Bytes = []byte("junk")
	i := 0
	for x, err := range m.Predict(t.Context(), sequence(list), Options{Workers: 3, Batch: 4, Device: "cuda", Precision: "f32"}) {
		bad := (*SampleError)(nil)
		switch {
		case i == 3:
			if !errors.As(err, &bad) || bad.ID != list[3].ID {
				t.Errorf("found %v, want an error of sample %q", err, list[3].ID)
			}
		case err != nil:
			t.Fatal(err)
		case x.Sample.ID != list[i].ID:
			t.Fatalf("place %d is of sample %q, want %q", i, x.Sample.ID, list[i].ID)
		default:
			near(t, x.Sample.ID+": logits", x.Logits, want[i].Logits, gpuBound)
		}
		i++
	}
	if i != len(list) {
		t.Errorf("found %d predictions, want %d", i, len(list))
	}
}

func TestAGPUEvaluatesAsTheCPUDoes(t *testing.T) {
	cudatest.GPU(t)
	cfg := tiny()
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	m := trained(t, cfg, d, Combined, 0)
	var found [2]*Evaluation
	for i, device := range []string{"cpu", "cuda"} {
		var err error
		if found[i], err = m.Evaluate(t.Context(), d, "test", Options{Workers: 2, Batch: 4, Device: device, Precision: "f32"}); err != nil {
			t.Fatal(err)
		}
	}
	want, got := found[0], found[1]
	near(t, "mean CAM", got.MeanCAM.Pix, want.MeanCAM.Pix, gpuBound)
	if math.Abs(got.Loss-want.Loss) > gpuBound {
		t.Errorf("found loss %v, want %v", got.Loss, want.Loss)
	}
	for i, s := range got.Samples {
		if s.ID != want.Samples[i].ID {
			t.Fatalf("place %d is of sample %q, want %q", i, s.ID, want.Samples[i].ID)
		}
		near(t, s.ID+": CAM", s.CAM.Pix, want.Samples[i].CAM.Pix, gpuBound)
	}
}

func TestTeachersOnAGPUDrawAsThoseOnTheCPU(t *testing.T) {
	cudatest.GPU(t)
	models, list := classifiers(t, tiny(), 2), unmapped(t, 6)
	for name, rise := range map[string]*RISE{"CAM": nil, "RISE": {Masks: 10, Cells: 3, Keep: 0.5, Seed: 1}} {
		t.Run(name, func(t *testing.T) {
			teacher := newTeacher(t, models, rise, true)
			want := taught(t, teacher, list, Options{Batch: 4, Device: "cpu", Precision: "f32"})
			for i, p := range taught(t, teacher, list, Options{Workers: 2, Batch: 4, Device: "cuda", Precision: "f32"}) {
				sameShape(t, p, want[i])
				near(t, list[i].ID, p.Pix, want[i].Pix, 0.02) // both are stretched to [0, 1]
			}
		})
	}
}

func sameShape(t *testing.T, found, want *raster.Plane) {
	t.Helper()
	if found.W != want.W || found.H != want.H {
		t.Fatalf("found %d x %d values, want %d x %d", found.W, found.H, want.W, want.H)
	}
}
