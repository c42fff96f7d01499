package nn

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// cpu is the machine of package kernel.
type cpu struct {
	list   *listing
	params *Params
	moves  bool // a run moves parameters
	env    *kernel.Env
	exec   *executor
	again  *executor // once what is constant is computed; nil if nothing is
	arena  []float32
	seeds  []seed
}

// seed feeds one dropout's mask.
type seed struct {
	value *uint64
	salt  uint64
}

func compileCPU(g *Graph, options Options, target Target) (*Program, error) {
	list, err := lower(g, channelBlocks, target.Precision == bf16Precision)
	if err != nil {
		return nil, err
	}
	list.fuse()
	list.placeConcats()
	c := &cpu{list: list, params: g.params, moves: len(list.statistics()) > 0, env: kernel.NewEnv(kernel.Detect(), max(options.Workers, 1))}
	if options.Constant && g.loss == nil {
		c.env.Keep = true
		list.keepFolded()
	}
	if err := c.place(); err != nil {
		return nil, err
	}
	phases, err := c.bind(options.Profile)
	if err != nil {
		return nil, err
	}
	c.exec = newExecutor(phases, c.env.Workers)
	if c.env.Keep {
		varying := slices.DeleteFunc(phases, func(x kernel.Phase) bool { return x.Constant })
		c.again = newExecutor(varying, c.env.Workers)
	}
	return &Program{list, c}, nil
}

// cacheLine is how many float32 every value is aligned to.
const cacheLine = 16

// place gives every value its memory.
func (c *cpu) place() error {
	regions, length := c.list.plan((*value).len, cacheLine)
	const sizeOfFloat = 4
	if err := kernel.CanAlloc(sizeOfFloat * length); err != nil {
		return fmt.Errorf("%.1f GiB for a batch's activations: %w", sizeOfFloat*float64(length)/(1<<30), err)
	}
	c.arena = kernel.Alloc(length)
	for _, r := range regions {
		r.v.data = c.arena[r.at : r.at+r.v.len() : r.at+r.v.len()]
	}
	for _, in := range c.list.inputs {
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
	for _, ins := range c.list.instructions {
		for _, v := range ins.in {
			resolve(v)
		}
		for _, v := range ins.out {
			resolve(v)
		}
	}
	for _, v := range c.list.kept() {
		resolve(v)
	}
	for _, v := range c.list.params {
		resolve(v)
	}
	return nil
}

// storage finds the memory of a part inside its whole.
func (v *value) storage() []float32 {
	if v.whole == nil {
		return v.data
	}
	return v.whole.storage()[v.offset : v.offset+v.len()]
}

func (c *cpu) run() error {
	prepare := c.params.mirrors.fetch
	if c.moves {
		prepare = c.params.mirrors.outdate
	}
	if err := prepare(); err != nil {
		return err
	}
	c.exec.run()
	if c.again != nil {
		c.exec, c.again = c.again, nil
	}
	return nil
}

func (c *cpu) setStep(runSeed uint64, step int) {
	for _, s := range c.seeds {
		*s.value = mix(runSeed ^ mix(uint64(step)^mix(s.salt)))
	}
}

func (c *cpu) gradient(i int) ([]float32, error) { return c.list.gradients[i].data, nil }

func (c *cpu) memory() int64 { return 4 * int64(len(c.arena)) }

// bind turns the instructions into the CPU's kernels, measured by a profile if that
// is not nil.
func (c *cpu) bind(profile *Profile) ([]kernel.Phase, error) {
	phases := profile.start(nil)
	for _, ins := range c.list.instructions {
		k, err := c.kernels(ins)
		if err != nil {
			return nil, err
		}
		phases = profile.after(append(phases, k...), ins)
	}
	return phases, nil
}

// kernels binds one instruction.
func (c *cpu) kernels(ins *instruction) ([]kernel.Phase, error) {
	if o, ok := ins.op.(relayout); ok {
		return c.relayout(o, ins.in[0], ins.out[0]), nil
	}
	for _, v := range slices.Concat(ins.in, ins.out) {
		if v.layout == nativeBF16 {
			return kernelsOf[kernel.BF16](c, ins)
		}
	}
	return kernelsOf[float32](c, ins)
}

func (c *cpu) relayout(o relayout, from, to *value) []kernel.Phase {
	switch {
	case o.from == planar && o.to == native:
		return kernel.ToBlocked(c.env, o.s, to.data, from.data)
	case o.from == planar:
		return kernel.ToBlocked(c.env, o.s, elements[kernel.BF16](to), from.data)
	case o.from == native && o.to == planar:
		return kernel.ToPlanar(c.env, o.s, to.data, from.data)
	case o.from == native:
		return kernel.Narrow(c.env, elements[kernel.BF16](to), from.data)
	case o.to == planar:
		return kernel.ToPlanar(c.env, o.s, to.data, elements[kernel.BF16](from))
	}
	return kernel.Widen(c.env, to.data, elements[kernel.BF16](from))
}

// elements are those of a native value.
func elements[T kernel.Element](v *value) []T {
	if data, ok := any(v.data).([]T); ok {
		return data
	}
	return any(kernel.BF16s(v.data)).([]T)
}

// kernelsOf binds an instruction whose native operands are of a type.
func kernelsOf[T kernel.Element](c *cpu, ins *instruction) ([]kernel.Phase, error) {
	e := c.env
	// Planar operands and results, and native ones; nil where there is none.
	planarIn := func(i int) []float32 {
		if i < len(ins.in) {
			return ins.in[i].data
		}
		return nil
	}
	planarOut := func(i int) []float32 {
		if i < len(ins.out) {
			return ins.out[i].data
		}
		return nil
	}
	in := func(i int) []T {
		if i < len(ins.in) {
			return elements[T](ins.in[i])
		}
		return nil
	}
	out := func(i int) []T {
		if i < len(ins.out) {
			return elements[T](ins.out[i])
		}
		return nil
	}
	switch o := ins.op.(type) {
	case conv:
		ep := kernel.Epilogue[T]{ReLU: o.relu}
		next := 2
		if o.bias {
			ep.Bias, next = planarIn(2), 3
		}
		if o.residual {
			ep.Residual = in(next)
		}
		if imageLayout(o.g) == planar {
			return kernel.ConvForwardPlanar(e, o.g, out(0), planarIn(0), planarIn(1), ep), nil
		}
		return kernel.ConvForward(e, o.g, out(0), in(0), planarIn(1), ep), nil
	case convBackwardData:
		return kernel.ConvBackwardData(e, o.g, out(0), in(1), planarIn(0)), nil
	case convBackwardWeights:
		if imageLayout(o.g) == planar {
			return kernel.ConvBackwardWeightsPlanar(e, o.g, planarOut(0), planarIn(0), in(1)), nil
		}
		return kernel.ConvBackwardWeights(e, o.g, planarOut(0), in(0), in(1)), nil
	case biasGradient:
		return kernel.BiasGradient(e, o.s, planarOut(0), in(0)), nil
	case foldBatchNorm:
		return kernel.FoldBatchNorm(e, o.g, o.norm, planarOut(0), planarOut(1), planarIn(0), planarIn(1), planarIn(2), planarIn(3), planarIn(4)), nil
	case linear:
		return kernel.LinearForward(e, o.g, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case linearBackwardData:
		return kernel.LinearBackwardData(e, o.g, planarOut(0), planarIn(1), planarIn(0)), nil
	case linearBackwardWeights:
		return kernel.LinearBackwardWeights(e, o.g, planarOut(0), planarIn(0), planarIn(1)), nil
	case linearBackwardBias:
		return kernel.LinearBackwardBias(e, o.g, planarOut(0), planarIn(0)), nil
	case batchNorm:
		if o.frozen {
			return kernel.BatchNormEval(e, o.g, out(0), in(0), in(5), o.relu, planarIn(1), planarIn(2), planarIn(3), planarIn(4)), nil
		}
		return kernel.BatchNormTrain(e, o.g, out(0), in(0), in(5), o.relu, planarIn(1), planarIn(2), planarIn(3), planarIn(4), planarOut(1), planarOut(2)), nil
	case batchNormBackward:
		if o.frozen {
			return kernel.BatchNormFrozenBackward(e, o.g, out(0), out(3), planarOut(1), planarOut(2), in(0), in(1), in(5), planarIn(2), planarIn(3), planarIn(4)), nil
		}
		return kernel.BatchNormBackward(e, o.g, out(0), out(3), planarOut(1), planarOut(2), in(0), in(1), in(5), planarIn(2), planarIn(3), planarIn(4)), nil
	case relu:
		return kernel.ReLU(e, out(0), in(0)), nil
	case reluBackward:
		return kernel.ReLUBackward(e, out(0), in(0), in(1)), nil
	case sigmoid:
		return kernel.Sigmoid(e, o.s, planarOut(0), planarIn(0)), nil
	case sigmoidBackward:
		return kernel.SigmoidBackward(e, o.s, planarOut(0), planarIn(0), planarIn(1)), nil
	case add:
		return kernel.Add(e, out(0), in(0), in(1)), nil
	case planarAdd:
		return kernel.AddPlanar(e, planarOut(0), planarIn(0), planarIn(1)), nil
	case concat:
		return concatenate[T](c, ins, o), nil
	case channels:
		return kernel.CopyChannels(e, o.part, out(0), 0, in(0), o.from, o.part.C), nil
	case maxPool:
		return kernel.MaxPool(e, o.g, out(0), in(0)), nil
	case maxPoolBackward:
		return kernel.MaxPoolBackward(e, o.g, out(0), in(0), in(1), in(2)), nil
	case avgPool:
		return kernel.AvgPool(e, o.g, out(0), in(0)), nil
	case avgPoolBackward:
		return kernel.AvgPoolBackward(e, o.g, out(0), in(0)), nil
	case globalAvgPool:
		return kernel.GlobalAvgPool(e, o.s, planarOut(0), in(0)), nil
	case globalAvgPoolBackward:
		return kernel.GlobalAvgPoolBackward(e, o.s, out(0), planarIn(0)), nil
	case upsample:
		return kernel.Upsample(e, o.g, out(0), in(0)), nil
	case upsampleBackward:
		return kernel.UpsampleBackward(e, o.g, out(0), in(0)), nil
	case dropout:
		return kernel.Dropout(e, o.s, out(0), in(0), o.rate, c.seed(o.salt)), nil
	case dropoutBackward:
		return kernel.DropoutBackward(e, o.s, out(0), in(0), o.rate, c.seed(o.salt)), nil
	case argMax:
		return kernel.ArgMax(e, o.s.N, o.s.C, planarOut(0), planarIn(0)), nil
	case softmaxCrossEntropy:
		return kernel.SoftmaxCrossEntropy(e, o.n, o.classes, planarOut(0), planarIn(0), planarIn(1)), nil
	case softmaxCrossEntropyBackward:
		return kernel.SoftmaxCrossEntropyBackward(e, o.n, o.classes, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case cam:
		return kernel.CAM(e, o.g, planarOut(0), in(0), planarIn(1), planarIn(2)), nil
	case camBackwardFeatures:
		return kernel.CAMBackwardFeatures(e, o.g, out(0), planarIn(0), in(1), planarIn(2), planarIn(3)), nil
	case camBackwardWeights:
		return kernel.CAMBackwardWeights(e, o.g, planarOut(0), planarIn(0), in(1), planarIn(2), planarIn(3)), nil
	case contrast:
		return kernel.Contrast(e, o.s.N, o.s.C, planarOut(0), planarIn(0)), nil
	case entropy:
		return kernel.Entropy(e, o.s, planarOut(0), planarIn(0)), nil
	case entropyBackward:
		return kernel.EntropyBackward(e, o.s, planarOut(0), planarIn(0), planarIn(1)), nil
	case balance:
		return kernel.Balance(e, o.n, o.ofSecond, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case mapLoss:
		return kernel.MapLoss(e, o.g, planarOut(0), planarIn(0), planarIn(1)), nil
	case mapLossBackward:
		return kernel.MapLossBackward(e, o.g, planarOut(0), planarIn(0), planarIn(1), planarIn(2)), nil
	case weightedMean:
		return c.weightedMean(ins, o), nil
	case weightedMeanBackward:
		return kernel.WeightedMeanBackward(e, o.n, planarOut(0), planarIn(0), planarIn(1)), nil
	}
	return nil, fmt.Errorf("operator %s: the CPU has no kernel for it", ins.op.name())
}

// concatenate copies the operands that are not already parts of the result. One that
// stands there twice is a part in one place only.
func concatenate[T kernel.Element](c *cpu, ins *instruction, o concat) []kernel.Phase {
	var phases []kernel.Phase
	from := 0
	for i, v := range ins.in {
		if v.whole != ins.out[0] || v.offset != partOffset(ins.out[0], from) {
			phases = append(phases, kernel.CopyChannels(c.env, o.out(), elements[T](ins.out[0]), from, elements[T](v), 0, o.parts[i].C)...)
		}
		from += o.parts[i].C
	}
	return phases
}

// weightedMean adds up the terms' means.
func (c *cpu) weightedMean(ins *instruction, o weightedMean) []kernel.Phase {
	parts := make([]float32, o.terms)
	var phases []kernel.Phase
	for t := range parts {
		phases = append(phases, kernel.WeightedMean(c.env, o.n, parts[t:t+1], ins.in[2*t].data, ins.in[2*t+1].data)...)
	}
	sum := ins.out[0].data
	return append(phases, kernel.Phase{Tasks: 1, Run: func(int, int) {
		sum[0] = 0
		for _, part := range parts {
			sum[0] += part
		}
	}})
}

func (c *cpu) seed(salt uint64) *uint64 {
	v := new(uint64)
	c.seeds = append(c.seeds, seed{v, salt})
	return v
}
