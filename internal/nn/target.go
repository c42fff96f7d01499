package nn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/kernel"
)

// Target is what a program's options came to on this machine.
type Target struct {
	Device    string // "cpu", or "cuda:0" and so on
	Precision string // "f32", "tf32" or "bf16"
	ISA       string // instruction set of the kernels; of a GPU its name
	// Notice says why "auto" came to the CPU; empty where nobody would expect another.
	Notice string

	gpu int // number of the device
}

var (
	// ErrDeviceMemory says that something did not fit a GPU's memory.
	ErrDeviceMemory = cuda.ErrMemory
	// ErrDeviceLost says that a GPU has failed in the middle of its work, for good.
	ErrDeviceLost = cuda.ErrLost
)

func (t Target) onGPU() bool { return t.Device != cpuDevice }

const (
	cpuDevice  = "cpu"
	cudaDevice = "cuda"
)

// Resolve says what the options come to on this machine, or why they cannot be
// met.
func (o Options) Resolve() (Target, error) {
	switch o.Device {
	case cpuDevice:
		return o.onCPU()
	case "", "auto":
		return o.onAny()
	}
	n, err := gpuNumber(o.Device)
	if err != nil {
		return Target{}, err
	}
	t, err := o.onGPU(n)
	if err != nil {
		return Target{}, fmt.Errorf("device %q: %w", o.Device, err)
	}
	return t, nil
}

// gpuNumber is n of cuda:n, and 0 of cuda.
func gpuNumber(device string) (int, error) {
	number, numbered := strings.CutPrefix(device, cudaDevice+":")
	if device == cudaDevice {
		return 0, nil
	}
	n, err := strconv.Atoi(number)
	if !numbered || err != nil || n < 0 {
		return 0, fmt.Errorf("device %q: want auto, cpu, cuda or cuda:<number>", device)
	}
	return n, nil
}

// onAny is the first GPU if it can be used, else the CPU.
func (o Options) onAny() (Target, error) {
	t, err := o.onGPU(0)
	if err == nil {
		return t, nil
	}
	cpu, failed := o.onCPU()
	if !errors.Is(err, cuda.ErrNotBuilt) {
		cpu.Notice = err.Error()
	}
	return cpu, failed
}

func (o Options) onGPU(n int) (Target, error) {
	d, err := cuda.Open(n)
	if err != nil {
		return Target{}, err
	}
	t := Target{Device: fmt.Sprintf("%s:%d", cudaDevice, n), ISA: d.Name(), gpu: n}
	return o.withPrecision(t, d.MultipliesBF16())
}

func (o Options) onCPU() (Target, error) {
	isa := kernel.Detect()
	return o.withPrecision(Target{Device: cpuDevice, ISA: isa.String()}, isa.MultipliesBF16())
}

// withPrecision completes a target that may be good at bfloat16.
func (o Options) withPrecision(t Target, bf16 bool) (Target, error) {
	switch o.Precision {
	case "", "auto":
		t.Precision = f32Precision
		if bf16 {
			t.Precision = bf16Precision
		}
		return t, nil
	case f32Precision:
	case tf32Precision:
		if !t.onGPU() {
			return Target{}, fmt.Errorf("precision %q: only a GPU multiplies in it, and this would run on the CPU: want f32", o.Precision)
		}
	case bf16Precision:
		if !bf16 {
			return Target{}, fmt.Errorf("precision %q: this machine (%s) has no instructions for it, want auto or f32", o.Precision, t.ISA)
		}
	default:
		return Target{}, fmt.Errorf("precision %q: want auto, f32, tf32 or bf16", o.Precision)
	}
	t.Precision = o.Precision
	return t, nil
}

const (
	f32Precision  = "f32"
	tf32Precision = "tf32"
	bf16Precision = "bf16"
)
