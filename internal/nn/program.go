package nn

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Options say where and how a program computes.
type Options struct {
	// Device is "cpu", "auto" or "" (which today mean the CPU), or "cuda[:n]".
	Device string
	// Precision is "f32", "bf16", or "auto" or "": bf16 where the machine multiplies
	// bfloat16 faster than float32, else f32. With bf16, activations, their gradients
	// and the operands of convolutions are bfloat16; sums, statistics, losses, linear
	// layers, parameters, their gradients and the optimiser's state are float32.
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

// Target is what a program's options came to on this machine.
type Target struct {
	Device    string // "cpu"
	Precision string // "f32" or "bf16"
	ISA       string // instruction set of the kernels
}

// Resolve says what the options come to on this machine, or why they cannot be
// met.
func (o Options) Resolve() (Target, error) {
	switch o.Device {
	case "", "auto", "cpu":
	default:
		return Target{}, fmt.Errorf("device %q: this build computes on the CPU, want auto or cpu", o.Device)
	}
	t := Target{Device: "cpu", Precision: "f32", ISA: kernel.Detect().String()}
	switch o.Precision {
	case "", "auto":
		if kernel.Detect().MultipliesBF16() {
			t.Precision = "bf16"
		}
	case "f32":
	case "bf16":
		if !kernel.Detect().MultipliesBF16() {
			return Target{}, fmt.Errorf("precision %q: this machine (%s) has no instructions for it, want auto or f32", o.Precision, t.ISA)
		}
		t.Precision = "bf16"
	default:
		return Target{}, fmt.Errorf("precision %q: want auto, f32 or bf16", o.Precision)
	}
	return t, nil
}

// Program is a compiled graph: instructions bound to memory. Fill the inputs,
// call Run, read the outputs. Slices that methods return stay valid, and hold
// their values until the next Run. A program is not safe for concurrent use;
// programs that share Params may run at the same time only while none of them
// changes the parameters (training steps and training-mode batch norms do).
type Program struct {
	list  *listing
	env   *kernel.Env
	exec  *executor
	again *executor // once what is constant is computed; nil if nothing is
	arena []float32
	seeds []seed
}

// seed feeds one dropout's mask.
type seed struct {
	value *uint64
	salt  uint64
}

// Compile lowers, fuses and places a graph. The graph must not be used again.
func Compile(g *Graph, options Options) (*Program, error) {
	target, err := options.Resolve()
	if err != nil {
		return nil, err
	}
	return compileAs(g, options, target.Precision == "bf16")
}

func compileAs(g *Graph, options Options, bf16 bool) (*Program, error) {
	list, err := lower(g, bf16)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	list.fuse()
	p := &Program{list: list, env: kernel.NewEnv(kernel.Detect(), max(options.Workers, 1))}
	if options.Constant && g.loss == nil {
		p.env.Keep = true
		list.keepFolded()
	}
	p.place()
	phases, err := p.bind(options.Profile)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	p.exec = newExecutor(phases, p.env.Workers)
	if p.env.Keep {
		varying := slices.DeleteFunc(phases, func(x kernel.Phase) bool { return x.Constant })
		p.again = newExecutor(varying, p.env.Workers)
	}
	return p, nil
}

// place gives every value its memory.
func (p *Program) place() {
	regions, length := p.list.plan()
	p.arena = kernel.Alloc(length)
	for _, r := range regions {
		r.v.data = p.arena[r.at : r.at+r.v.len() : r.at+r.v.len()]
	}
	for _, in := range p.list.inputs {
		in.data = kernel.Alloc(in.len())
	}
	resolve := func(v *value) {
		switch {
		case v.data != nil:
		case v.home == homeParam:
			v.data = v.param.Data
		case v.whole != nil:
			v.data = v.storage()
		}
	}
	for _, ins := range p.list.instructions {
		for _, v := range ins.in {
			resolve(v)
		}
		for _, v := range ins.out {
			resolve(v)
		}
	}
	for _, v := range p.list.kept() {
		resolve(v)
	}
	for _, v := range p.list.params {
		resolve(v)
	}
}

// storage finds the memory of a part inside its whole.
func (v *value) storage() []float32 {
	if v.whole == nil {
		return v.data
	}
	return v.whole.storage()[v.offset : v.offset+v.len()]
}

// Run computes every instruction once.
func (p *Program) Run() {
	p.exec.run()
	if p.again != nil {
		p.exec, p.again = p.again, nil
	}
}

// SetStep makes the dropout masks those of a step of a run.
func (p *Program) SetStep(runSeed uint64, step int) {
	for _, s := range p.seeds {
		*s.value = mix(runSeed ^ mix(uint64(step)^mix(s.salt)))
	}
}

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
func (p *Program) Gradient(name string) []float32 {
	for i, v := range p.list.params {
		if v.param.Name == name {
			return p.list.gradients[i].data
		}
	}
	return nil
}

// Memory is the number of bytes of activations and gradients that the program
// keeps, without parameters, inputs and the kernels' scratch.
func (p *Program) Memory() int64 { return 4 * int64(len(p.arena)) }

// FLOPs counts the multiplications and additions of the convolutions and linear
// layers in one run, padding included.
func (p *Program) FLOPs() float64 {
	sum := 0.0
	for _, ins := range p.list.instructions {
		sum += flops(ins.op)
	}
	return sum
}
