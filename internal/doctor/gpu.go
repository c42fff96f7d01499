package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/surrogaze/surrogaze/internal/cuda"
)

// WriteGPUs measures the peaks of every GPU that can be used, some seconds for each, and
// prints them as a table.
func WriteGPUs(ctx context.Context, w io.Writer) error {
	found, _ := cuda.List() // Inspect says why there is none
	var b strings.Builder
	for i := range found {
		d, err := cuda.Open(i)
		if err != nil {
			continue // as above
		}
		p, err := d.Bench(ctx)
		if err != nil {
			fmt.Fprintf(&b, "peak gpu %-7d not measured: %v\n", i, err)
			continue
		}
		writeGPU(&b, i, p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeGPU(b *strings.Builder, i int, p cuda.Peaks) {
	tera, giga := scaled(1e12, "TFLOP/s"), scaled(1e9, "GB/s")
	fmt.Fprintf(b, "%-19s bf16 %s, tf32 %s, f32 %s\n", fmt.Sprintf("peak gpu %d", i), tera(p.BF16), tera(p.TF32), tera(p.F32))
	fmt.Fprintf(b, "%-19s copies %s, additions %s, from the host %s\n", fmt.Sprintf("memory gpu %d", i), giga(p.Copy), giga(p.Add), giga(p.Upload))
}

// scaled writes rates in a unit.
func scaled(unit float64, name string) func(rate float64) string {
	return func(rate float64) string {
		if rate == 0 {
			return "not measured"
		}
		return fmt.Sprintf("%.1f %s", rate/unit, name)
	}
}

// PeaksOf measures, when it is asked, how many operations and bytes a second a device
// reaches: so many cores of the CPU in float32, or a GPU in a precision. What cannot be
// measured is 0.
func PeaksOf(ctx context.Context) func(device, precision string, workers int) (flops, bandwidth float64) {
	return func(device, precision string, workers int) (flops, bandwidth float64) {
		var n int
		if _, err := fmt.Sscanf(device, "cuda:%d", &n); err != nil {
			return Bench(ctx).Of(workers)
		}
		d, err := cuda.Open(n)
		if err != nil {
			return 0, 0
		}
		p, err := d.Bench(ctx)
		if err != nil {
			return 0, 0
		}
		return p.Of(precision)
	}
}
