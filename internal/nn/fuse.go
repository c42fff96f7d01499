package nn

import (
	"slices"

	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/op"
)

// fuse rewrites the instructions so that fewer passes over memory compute the
// same: batch norm with the addition and ReLU behind it, in both directions;
// batch norm folded into the convolution before it in evaluation; additions and
// ReLUs as a convolution's epilogue.
func (l *listing) fuse() {
	l.foldBatchNorms()
	l.fuseReLUs()
	l.fuseReLUBackward()
}

// uses counts how often every value is read, by instructions or the caller.
func (l *listing) uses() map[*value]int {
	n := map[*value]int{}
	for _, ins := range l.instructions {
		for _, v := range ins.in {
			n[v]++
		}
	}
	for _, v := range l.kept() {
		n[v]++
	}
	return n
}

// kept lists the values that must survive the run.
func (l *listing) kept() []*value {
	kept := slices.Clone(l.gradients)
	for _, v := range l.outputs {
		kept = append(kept, v)
	}
	if l.loss != nil {
		kept = append(kept, l.loss)
	}
	return kept
}

func (l *listing) producers() map[*value]*instruction {
	m := map[*value]*instruction{}
	for _, ins := range l.instructions {
		for _, v := range ins.out {
			m[v] = ins
		}
	}
	return m
}

// remove drops the instructions of a set, keeping the order of the others.
func (l *listing) remove(dead map[*instruction]bool) {
	l.instructions = slices.DeleteFunc(l.instructions, func(ins *instruction) bool { return dead[ins] })
}

// foldBatchNorms scales a convolution's weights by the frozen batch norm that
// alone reads its result.
func (l *listing) foldBatchNorms() {
	uses, producer := l.uses(), l.producers()
	var list []*instruction
	dead := map[*instruction]bool{}
	for _, ins := range l.instructions {
		bn, ok := ins.op.(batchNorm)
		if !ok || !bn.frozen {
			list = append(list, ins)
			continue
		}
		before := producer[ins.in[0]]
		c, ok := conv{}, false
		if before != nil {
			c, ok = before.op.(conv)
		}
		if !ok || c.bias || uses[ins.in[0]] != 1 {
			list = append(list, ins)
			continue
		}
		fold := foldBatchNorm{g: c.g, norm: bn.g}
		weight := &value{shape: c.g.Weight()}
		bias := &value{shape: op.Shape{N: 1, C: c.g.Out, H: 1, W: 1}}
		list = append(list,
			&instruction{op: fold, in: append([]*value{before.in[1]}, ins.in[1:]...), out: []*value{weight, bias}},
			&instruction{op: conv{g: c.g, exact: c.exact, bias: true}, in: []*value{before.in[0], weight, bias}, out: ins.out})
		dead[before] = true
	}
	l.instructions = list
	l.remove(dead)
}

// fuseReLUs merges a ReLU, and an addition before it, into the batch norm or
// convolution whose result only they read.
func (l *listing) fuseReLUs() {
	uses, producer := l.uses(), l.producers()
	dead := map[*instruction]bool{}
	only := func(v *value) *instruction { // the producer of v if nothing else reads v
		if uses[v] == 1 {
			return producer[v]
		}
		return nil
	}
	for _, ins := range l.instructions {
		if _, ok := ins.op.(relu); !ok {
			continue
		}
		before := only(ins.in[0])
		if before == nil {
			continue
		}
		if merged := withEpilogue(before, nil); merged != nil {
			replace(ins, merged, ins.out[0])
			dead[before] = true
			continue
		}
		if _, ok := before.op.(add); !ok {
			continue
		}
		for i, v := range before.in {
			if merged := withEpilogue(only(v), before.in[1-i]); merged != nil {
				dead[before], dead[only(v)] = true, true
				replace(ins, merged, ins.out[0])
				break
			}
		}
		producer = l.producers()
	}
	l.remove(dead)
}

// withEpilogue is ins ending with an addition of residual, if not nil, and a
// ReLU; nil if ins cannot.
func withEpilogue(ins *instruction, residual *value) *instruction {
	if ins == nil || residual != nil && residual.layout != ins.out[0].layout {
		return nil
	}
	merged := &instruction{in: ins.in, out: slices.Clone(ins.out)}
	switch o := ins.op.(type) {
	case batchNorm:
		if o.relu {
			return nil
		}
		o.relu, o.residual = true, residual != nil
		merged.op = o
	case conv:
		if o.relu {
			return nil
		}
		o.relu, o.residual = true, residual != nil
		merged.op = o
	default:
		return nil
	}
	if residual != nil {
		merged.in = append(slices.Clone(ins.in), residual)
	}
	return merged
}

// replace makes ins another instruction whose first result is out.
func replace(ins, with *instruction, out *value) {
	*ins = *with
	ins.out[0] = out
}

// fuseReLUBackward lets the backward pass of a batch norm with a ReLU behind it
// mask its gradient itself.
func (l *listing) fuseReLUBackward() {
	uses := l.uses()
	dead := map[*instruction]bool{}
	masks := map[*value]*instruction{} // reluBackward by its result
	for _, ins := range l.instructions {
		if _, ok := ins.op.(reluBackward); ok {
			masks[ins.out[0]] = ins
			continue
		}
		bn, ok := ins.op.(batchNormBackward)
		mask := masks[ins.in[0]]
		if !ok || mask == nil {
			continue
		}
		masked := ins.in[0]
		delete(masks, masked)
		bn.relu, bn.residual = true, uses[masked] > 1
		merged := &instruction{op: bn, in: append([]*value{mask.in[0]}, ins.in[1:]...), out: slices.Clone(ins.out)}
		merged.in = append(merged.in, mask.in[1])
		if bn.residual {
			merged.out = append(merged.out, masked)
		}
		*mask = *merged // here, before every other reader of the masked gradient
		dead[ins] = true
	}
	l.remove(dead)
}

// fuseGradientSums lets the backward pass of a batch norm add what its gradient of x, or
// the one that it reads, is added to, where nothing else reads the terms. The backward pass
// moves to where the sum was, unless its other results are read before.
func (l *listing) fuseGradientSums() {
	uses, producer := l.uses(), l.producers()
	dead := map[*instruction]bool{}
	for at, ins := range l.instructions {
		if _, ok := ins.op.(add); !ok {
			continue
		}
		for i, v := range ins.in {
			before := producer[v]
			if before == nil || uses[v] != 1 || v != before.out[0] {
				continue
			}
			bn, ok := before.op.(batchNormBackward)
			if !ok || bn.residual || bn.toDX || read(l.instructions[:at], before.out[1:]) {
				continue
			}
			bn.toDX = true
			dead[before] = true
			replace(ins, &instruction{op: bn, in: append(slices.Clone(before.in), ins.in[1-i]), out: slices.Clone(before.out)}, ins.out[0])
			break
		}
	}
	for _, ins := range l.instructions {
		bn, ok := ins.op.(batchNormBackward)
		sum := producer[ins.in[0]]
		if !ok || dead[ins] || sum == nil || uses[ins.in[0]] != 1 {
			continue
		}
		if _, ok := sum.op.(add); !ok {
			continue
		}
		first, second := sum.in[0], sum.in[1]
		if before := producer[first]; before != nil {
			if _, ok := before.op.(channels); ok {
				first, second = second, first // as the second may be a slice
			}
		}
		bn.toDY = true
		dead[sum] = true
		in := slices.Insert(slices.Clone(ins.in), 5+b2i(bn.relu), second)
		in[0] = first
		*ins = instruction{op: bn, in: in, out: ins.out}
	}
	l.remove(dead)
}

// read reports whether some instructions read any of some values.
func read(instructions []*instruction, values []*value) bool {
	return slices.ContainsFunc(instructions, func(ins *instruction) bool {
		return slices.ContainsFunc(ins.in, func(v *value) bool { return slices.Contains(values, v) })
	})
}

// placeSlices spares copies of channels, in channels-last format, where kernels read and
// write slices: what is concatenated lies in the result from the start, so that the
// concatenations of a dense block grow in place, and channels stay where they are.
func (l *listing) placeSlices() {
	uses, sliced, producer := l.uses(), l.sliceReaders(), l.producers()
	dead := map[*instruction]bool{}
	for _, ins := range l.instructions {
		switch o := ins.op.(type) {
		case channels:
			if v := ins.out[0]; uses[v] == sliced[v] && ins.in[0].home == homeArena {
				v.whole, v.offset = ins.in[0], o.from
				dead[ins] = true
			}
		case concat:
			from := 0
			for i, v := range ins.in {
				if before := producer[v]; before != nil && v.whole == nil && writesSlice(before.op) && uses[v] == sliced[v]+1 {
					v.whole, v.offset = ins.out[0], from
				}
				from += o.parts[i].C
			}
		}
	}
	l.remove(dead)
}

func writesSlice(o operator) bool {
	switch o.(type) {
	case concat, upsample:
		return true
	}
	return false
}

// sliceReaders counts how often every value is read by a kernel that reads slices.
func (l *listing) sliceReaders() map[*value]int {
	n := map[*value]int{}
	for _, ins := range l.instructions {
		switch o := ins.op.(type) {
		case batchNorm, upsampleBackward:
			n[ins.in[0]]++
		case batchNormBackward:
			n[ins.in[1]]++
			for _, v := range ins.in[5+b2i(o.relu):] {
				n[v]++
			}
		}
	}
	return n
}

// placeConcats makes the operands of a concatenation parts of its result, and
// ranges of channels parts of the tensor that they are cut from, where block
// borders allow: in channel blocks, channels in a row are a piece of memory.
func (l *listing) placeConcats() {
	dead := map[*instruction]bool{}
	for _, ins := range l.instructions {
		switch o := ins.op.(type) {
		case concat:
			from, copies := 0, false
			for i, v := range ins.in {
				whole := i == len(ins.in)-1 || o.parts[i].C%kernel.Block == 0
				if from%kernel.Block != 0 || !whole || v.home != homeArena || v.whole != nil {
					copies = true
				} else {
					v.whole, v.offset = ins.out[0], partOffset(ins.out[0], from)
				}
				from += o.parts[i].C
			}
			dead[ins] = !copies
		case channels:
			if v := ins.out[0]; o.from%kernel.Block == 0 && (o.part.C%kernel.Block == 0 || o.from+o.part.C == o.whole.C) && ins.in[0].home == homeArena {
				v.whole, v.offset = ins.in[0], partOffset(ins.in[0], o.from)
				dead[ins] = true
			}
		}
	}
	l.remove(dead)
}

// partOffset is where channels of a native tensor begin, in float32.
func partOffset(whole *value, from int) int {
	return from / kernel.Block * (whole.len() / kernel.Blocks(whole.shape.C))
}

// foldBatchNorm scales a convolution's weight by a frozen batch norm: weight,
// gamma, beta, running mean, running variance to weight and bias.
type foldBatchNorm struct {
	g    op.Conv
	norm op.BatchNorm
}

func (o foldBatchNorm) name() string  { return "fold batch norm" }
func (o foldBatchNorm) out() op.Shape { return o.g.Weight() }
func (o foldBatchNorm) layouts() ([]layout, layout) {
	return slices.Repeat([]layout{planar}, 5), planar
}

// keepFolded keeps what batch norms were folded into where convolutions read it in
// every run: biases, and the weights of those that have groups. The others make of
// their weights what they keep themselves.
func (l *listing) keepFolded() {
	producer := l.producers()
	keep := func(v *value) { v.home, v.data = homeConstant, kernel.Alloc(v.len()) }
	for _, ins := range l.instructions {
		c, ok := ins.op.(conv)
		if !ok || producer[ins.in[1]] == nil {
			continue
		}
		keep(ins.in[2])
		if c.g.Groups > 1 {
			keep(ins.in[1])
		}
	}
}
