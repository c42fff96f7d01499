package nn

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Options say where and how a program computes.
type Options struct {
	// Device is "cpu", "cuda", "cuda:n", or "auto" or "": the first GPU where there is
	// one that can be used, else the CPU.
	Device string
	// Precision is "f32", "tf32", "bf16", or "auto" or "": bf16 where the machine
	// multiplies bfloat16 faster than float32, else f32. With bf16, activations, their
	// gradients and the operands of convolutions are bfloat16; sums, statistics, losses,
	// linear layers, parameters, their gradients and the optimiser's state are float32.
	// tf32, of GPUs, is float32 but for the factors of convolutions, which are rounded to
	// TF32 as they are multiplied.
	Precision string
	// Workers is the number of cores that the program may use, at least 1. The
	// results do not depend on it.
	Workers int
	// Constant says that the parameters stay as they are from the first run on, as in
	// prediction: what depends on them alone is computed then and kept. It is for
	// graphs without a loss.
	Constant bool
	// Profile, if not nil, measures the operators of the program.
	Profile *Profile
}

// Program is a compiled graph: instructions bound to the memory of a machine. Fill the
// inputs, call Run, read the outputs. Slices that methods return stay valid, and hold
// their values until the next Run. A program is not safe for concurrent use;
// programs that share Params may run at the same time only while none of them
// changes the parameters (training steps and training-mode batch norms do).
type Program struct {
	list    *listing
	machine machine
}

// Compile lowers, fuses and places a graph. The graph must not be used again.
func Compile(g *Graph, options Options) (*Program, error) {
	target, err := options.Resolve()
	if err != nil {
		return nil, err
	}
	return compileFor(g, options, target)
}

func compileFor(g *Graph, options Options, target Target) (*Program, error) {
	options.Workers = max(options.Workers, 1)
	options.Profile.begin(target, options.Workers)
	compile := compileCPU
	if target.onGPU() {
		compile = compileGPU
	}
	p, err := compile(g, options, target)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return p, nil
}

// Run computes every instruction once.
func (p *Program) Run() error { return p.machine.run() }

// SetStep makes the dropout masks those of a step of a run.
func (p *Program) SetStep(runSeed uint64, step int) { p.machine.setStep(runSeed, step) }

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Input is the buffer of an input, planar, or nil if the program does not have
// it (what no result needs is left out, but its buffer stays).
func (p *Program) Input(name string) []float32 {
	if v := p.list.inputs[name]; v != nil {
		return v.data
	}
	return nil
}

// InputShape is the shape of an input, zero if there is none of that name.
func (p *Program) InputShape(name string) op.Shape {
	if v := p.list.inputs[name]; v != nil {
		return v.shape
	}
	return op.Shape{}
}

// Output is the buffer of an output, planar, or nil if there is none.
func (p *Program) Output(name string) []float32 {
	if v := p.list.outputs[name]; v != nil {
		return v.data
	}
	return nil
}

// Loss is the loss of the last run; zero if the graph has none.
func (p *Program) Loss() float32 {
	if p.list.loss == nil {
		return 0
	}
	return p.list.loss.data[0]
}

// Gradient is the gradient of the loss by a parameter, in the parameter's
// layout, or nil if the program computes none: in evaluation, or where the loss
// does not depend on the parameter.
func (p *Program) Gradient(name string) ([]float32, error) {
	for i, v := range p.list.params {
		if v.param.Name == name {
			return p.machine.gradient(i)
		}
	}
	return nil, nil
}

// Memory is the number of bytes of activations and gradients that the program
// keeps, without parameters, inputs and the kernels' scratch.
func (p *Program) Memory() int64 { return p.machine.memory() }

// FLOPs counts the multiplications and additions of the convolutions and linear
// layers in one run, padding included.
func (p *Program) FLOPs() float64 {
	sum := 0.0
	for _, ins := range p.list.instructions {
		sum += flops(ins.op)
	}
	return sum
}
