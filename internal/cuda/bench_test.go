//go:build gpu

package cuda

import (
	"context"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestBenchMeasuresEveryPeakInTime(t *testing.T) {
	cudatest.GPU(t)
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	maps := op.Shape{N: 2, C: 64, H: 4, W: 4}
	p, err := d.bench(context.Background(), maps)
	if err != nil {
		t.Fatal(err)
	}
	for name, rate := range map[string]float64{
		"bf16": p.BF16, "tf32": p.TF32, "f32": p.F32, "copies": p.Copy, "additions": p.Add, "uploads": p.Upload,
	} {
		if !(rate > 0) {
			t.Errorf("%s: rate %v, want one above 0", name, rate)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p, err := d.bench(ctx, maps); err != nil || p != (Peaks{}) {
		t.Errorf("without time: %+v, %v, want nothing measured", p, err)
	}
}

func TestAProgramsPeaksAreThoseOfItsPrecision(t *testing.T) {
	p := Peaks{BF16: 4, TF32: 2, F32: 1, Copy: 7, Add: 8}
	for precision, want := range map[string]float64{"bf16": 4, "tf32": 2, "f32": 1} {
		if flops, bandwidth := p.Of(precision); flops != want || bandwidth != 8 {
			t.Errorf("%s: %v operations and %v bytes a second, want %v and 8", precision, flops, bandwidth, want)
		}
	}
}
