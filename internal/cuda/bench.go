package cuda

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/surrogaze/surrogaze/internal/cuda/cudnn"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Peaks are the highest rates measured on a device; what was not measured is 0. Other
// work on it lowers them.
type Peaks struct {
	// Operations a second, two a multiply-add, of a large matrix product through cuDNN,
	// by the precision of its factors.
	BF16, TF32, F32 float64
	// Bytes a second, read and written, of copies and of additions on the device.
	Copy, Add float64
	// Bytes a second from pinned memory of the host.
	Upload float64
}

// Of are the peaks for programs of a precision, in operations and bytes a second.
func (p Peaks) Of(precision string) (flops, bandwidth float64) {
	return map[string]float64{"bf16": p.BF16, "tf32": p.TF32, "f32": p.F32}[precision], max(p.Copy, p.Add)
}

// Bench measures the peaks, in a second or two (longer where cuDNN is asked for these
// products for the first time) and half a gigabyte of memory. It leaves out what ctx has
// no time for.
func (d *Device) Bench(ctx context.Context) (Peaks, error) {
	p, err := d.bench(ctx, op.Shape{N: 32, C: 4096, H: 16, W: 16})
	if err != nil {
		return Peaks{}, fmt.Errorf("measure peaks: %w", err)
	}
	return p, nil
}

// bench moves as many values as some feature maps have, or as the weights by which it
// multiplies them to maps of the same shape.
func (d *Device) bench(ctx context.Context, maps op.Shape) (Peaks, error) {
	product := op.Conv{In: maps, Out: maps.C, KernelH: 1, KernelW: 1, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1}
	n := max(maps.Len(), product.Weight().Len())
	host, err := d.random(n)
	if err != nil {
		return Peaks{}, err
	}
	a, err := d.Alloc(4 * int64(n))
	if err != nil {
		return Peaks{}, err
	}
	b, err := d.Alloc(a.Len())
	if err != nil {
		return Peaks{}, err
	}
	result, err := d.Alloc(a.Len())
	if err != nil {
		return Peaks{}, err
	}
	multiply := func(from *Memory, kind kernels.Type, tf32 bool) func(*Tape) {
		c := cudnn.Convolution{Geometry: product, Direction: cudnn.Forward, Type: kind, TF32: tf32}
		return func(t *Tape) { t.Convolve(c, from.at, from.at, result.at) }
	}
	var p Peaks
	moved := float64(a.Len())
	err = d.measure(ctx, []trial{
		{&p.Upload, moved, func(t *Tape) { t.CopyIn(a.at, host.Bytes()) }},
		{&p.Copy, 2 * moved, func(t *Tape) { t.Copy(b.at, a.at, a.Len()) }},
		{&p.Add, 3 * moved, func(t *Tape) { t.Launch(kernels.Add(int64(n), kernels.F32, result.at, a.at, b.at)) }},
		{&p.F32, product.FLOPs(), multiply(a, kernels.F32, false)},
		{&p.TF32, product.FLOPs(), multiply(a, kernels.F32, true)},
	}, a, b, result, host)
	if err != nil {
		return Peaks{}, err
	}
	err = d.Do(kernels.Convert(int64(n), kernels.BF16, b.at, kernels.F32, a.at))
	runtime.KeepAlive(a)
	if err != nil {
		return Peaks{}, err
	}
	err = d.measure(ctx, []trial{{&p.BF16, product.FLOPs(), multiply(b, kernels.BF16, false)}}, b, result)
	return p, err
}

// trial is an amount of work, and where its rate goes.
type trial struct {
	rate   *float64
	amount float64
	record func(*Tape)
}

// measure measures the rates of some trials on memory.
func (d *Device) measure(ctx context.Context, trials []trial, memory ...any) error {
	for i := 0; i < len(trials) && ctx.Err() == nil; i++ {
		x := trials[i]
		seconds, err := d.least(x.record, memory...)
		if err != nil {
			return err
		}
		*x.rate = x.amount / seconds
	}
	return nil
}

// random is pinned memory with so many values between -1 and 1: products of values that
// are all the same take less power, and so run faster than any of use.
func (d *Device) random(n int) (*Host, error) {
	h, err := d.Host(4 * n)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range h.Floats() {
		h.Floats()[i] = 2*rng.Float32() - 1
	}
	return h, nil
}

const (
	benchRounds  = 4 // of which the fastest counts
	benchRepeats = 4 // of the work in a round
)

// least is how many seconds some work on memory takes at its fastest.
func (d *Device) least(record func(*Tape), memory ...any) (float64, error) {
	t := d.NewTape()
	t.Keep(memory...)
	t.Operation()
	for range benchRepeats {
		record(t)
	}
	if err := t.Finish(); err != nil {
		return 0, err
	}
	var best float64
	for round := range benchRounds {
		seconds, err := t.Time()
		if err != nil {
			return 0, err
		}
		if took := seconds[1] / benchRepeats; round == 0 || took < best {
			best = took
		}
	}
	return best, nil
}
