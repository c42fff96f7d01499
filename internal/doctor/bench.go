package doctor

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// Peaks are the highest rates measured on one core and on all at once; what was
// not measured is 0. Other work on the machine lowers them.
type Peaks struct {
	ISA string
	// Float32 operations a second in registers, two a multiply-add.
	CoreFLOPS, FLOPS float64
	// The same of bfloat16, 0 where it has no instructions.
	CoreBF16, BF16 float64
	// Bytes a second, of both operands and the result of additions in memory.
	CoreBandwidth, Bandwidth float64
}

// Bench measures the peaks of the instruction set in use, in one or two seconds
// and 192 MiB of memory. It leaves out what ctx has no time for.
func Bench(ctx context.Context) Peaks {
	isa, cores := kernel.Detect(), runtime.GOMAXPROCS(0)
	p := Peaks{ISA: isa.String()}
	var add *addition
	for _, step := range []func(){
		func() { p.CoreFLOPS = flops(isa, 1, kernel.MeasureFMA) },
		func() { p.FLOPS = flops(isa, cores, kernel.MeasureFMA) },
		func() { p.CoreBF16 = flops(isa, 1, kernel.MeasureBF16) },
		func() { p.BF16 = flops(isa, cores, kernel.MeasureBF16) },
		func() { add = newAddition(isa, additionLen) },
		func() { p.CoreBandwidth = add.bandwidth(ctx, 1) },
		func() { p.Bandwidth = add.bandwidth(ctx, cores) },
	} {
		if ctx.Err() != nil {
			break
		}
		step()
	}
	return p
}

// Of are the peaks of so many cores at once, in float32 operations and bytes a second.
func (p Peaks) Of(cores int) (flops, bandwidth float64) {
	return min(float64(cores)*p.CoreFLOPS, p.FLOPS), min(float64(cores)*p.CoreBandwidth, p.Bandwidth)
}

// flops is the sum of what so many cores reach at the same time.
func flops(isa kernel.ISA, cores int, measure func(kernel.ISA) float64) float64 {
	rates := make([]float64, cores)
	together(cores, func(worker int) { rates[worker] = measure(isa) })
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

// together runs work on so many goroutines and waits for all.
func together(workers int, work func(worker int)) {
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() { work(w) })
	}
	done.Wait()
}

// addition is a sum of two arrays, too large for caches.
type addition struct {
	y, a, b []float32
	phases  []kernel.Phase
}

// additionLen takes 64 MiB an array.
const additionLen = 1 << 24

func newAddition(isa kernel.ISA, n int) *addition {
	add := &addition{y: kernel.Alloc(n), a: kernel.Alloc(n), b: kernel.Alloc(n)}
	for i := range n {
		add.y[i], add.a[i], add.b[i] = -1, 1, 2
	}
	add.phases = kernel.AddPlanar(kernel.NewEnv(isa, 1), add.y, add.a, add.b)
	return add
}

// bandwidth is the best of some rounds, in bytes a second.
func (add *addition) bandwidth(ctx context.Context, workers int) float64 {
	best := 0.0
	for range 8 {
		if ctx.Err() != nil {
			break
		}
		begin := time.Now()
		add.run(workers)
		best = max(best, 3*4*float64(len(add.y))/time.Since(begin).Seconds())
	}
	return best
}

func (add *addition) run(workers int) {
	for _, phase := range add.phases {
		var next atomic.Int64
		together(workers, func(worker int) {
			for task := next.Add(1) - 1; task < int64(phase.Tasks); task = next.Add(1) - 1 {
				phase.Run(int(task), worker)
			}
		})
	}
}

// String is the peaks as a table.
func (p Peaks) String() string {
	var b strings.Builder
	row := func(name, unit string, core, all float64) {
		value := scaled(1e9, unit)
		fmt.Fprintf(&b, "%-16s %s on one core, %s on all\n", name, value(core), value(all))
	}
	row("peak "+p.ISA, "GFLOP/s", p.CoreFLOPS, p.FLOPS)
	if p.CoreBF16 > 0 {
		row("peak bf16", "GFLOP/s", p.CoreBF16, p.BF16)
	}
	row("peak memory", "GB/s", p.CoreBandwidth, p.Bandwidth)
	return b.String()
}
