package nn

import (
	"errors"
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"

	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/op"
)

// value is a tensor of a program.
type value struct {
	shape  op.Shape
	layout layout
	home   home
	param  *Param // of homeParam
	name   string // of homeInput
	drawn  bool   // of homeInput: the machine fills it, with views

	// whole is the value of which this one is a part, from offset: a contiguous one in
	// channel blocks, and channels of every pixel in channels-last format.
	whole  *value
	offset int

	data []float32
}

// home says who owns a value's memory.
type home uint8

const (
	homeArena    home = iota // the memory plan: overwritten after its last use
	homeInput                // a buffer that the caller fills
	homeParam                // the parameter itself
	homeConstant             // written once
)

// len is the number of float32 that the value takes.
func (v *value) len() int {
	switch v.layout {
	case native:
		return kernel.BlockedLen(v.shape)
	case nativeBF16:
		return kernel.BlockedLen(v.shape) / 2
	}
	return v.shape.Len()
}

// root is the value whose memory v lies in.
func (v *value) root() *value {
	for v.whole != nil {
		v = v.whole
	}
	return v
}

// instruction is one operator of a program with its operands and results.
// Beyond the first, results are what the operator leaves for others: a batch
// norm's statistics, its parameters' gradients.
type instruction struct {
	op  operator
	in  []*value
	out []*value
}

// listing is a program before it has memory.
type listing struct {
	instructions []*instruction
	inputs       map[string]*value
	params       []*value // trainable, with gradients in the same order
	gradients    []*value
	outputs      map[string]*value
	loss         *value
}

// statistics are the parameters that a forward pass in training moves.
func (l *listing) statistics() []*Param {
	var moved []*Param
	for _, ins := range l.instructions {
		if bn, ok := ins.op.(batchNorm); ok && !bn.frozen {
			moved = append(moved, ins.in[3].param, ins.in[4].param)
		}
	}
	return moved
}

// images is the number of images in a batch.
func (l *listing) images() int {
	n := 1
	for _, v := range l.inputs {
		n = max(n, v.shape.N)
	}
	return n
}

// lowering turns the sorted expression into instructions.
type lowering struct {
	graph    *Graph
	listing  *listing
	format   format
	bf16     bool // is what native tensors are of where no operator wants float32
	values   map[*gorgonia.Node]*value
	relaid   map[relaid]*value
	producer map[*value]*instruction // of every value that one made
}

// relaid is a tensor in another layout.
type relaid struct {
	v  *value
	to layout
}

// lower differentiates a training graph and lists its instructions in
// execution order, without those that no result needs.
func lower(g *Graph, f format, bf16 bool) (*listing, error) {
	if g.err != nil {
		return nil, g.err
	}
	if len(g.outputs) == 0 && g.loss == nil {
		return nil, errors.New("graph: want an output or a loss")
	}
	l := &lowering{
		graph:    g,
		format:   f,
		bf16:     bf16,
		listing:  &listing{inputs: map[string]*value{}, outputs: map[string]*value{}},
		values:   map[*gorgonia.Node]*value{},
		relaid:   map[relaid]*value{},
		producer: map[*value]*instruction{},
	}
	for _, in := range g.inputs {
		v := &value{shape: in.shape, home: homeInput, name: in.name}
		if in.image && f == channelsLast {
			v.drawn = true
			if in.shape.C > 1 {
				v.layout = l.drawn()
			}
		}
		l.values[in.node], l.listing.inputs[in.name] = v, v
	}
	for _, p := range g.used {
		l.values[p.node] = &value{shape: leafShape(p.node), home: homeParam, param: p.Param}
	}
	params, grads, err := g.differentiate()
	if err != nil {
		return nil, err
	}
	if err := l.run(l.roots(grads)); err != nil {
		return nil, err
	}
	for i, n := range grads {
		l.listing.params = append(l.listing.params, l.values[params[i].node])
		l.listing.gradients = append(l.listing.gradients, l.in(l.values[n], planar))
	}
	for _, o := range g.outputs {
		l.listing.outputs[o.name] = l.in(l.values[o.node], planar)
	}
	if g.loss != nil {
		l.listing.loss = l.values[g.loss]
	}
	return l.listing, nil
}

func leafShape(n *gorgonia.Node) op.Shape {
	s := n.Shape()
	return op.Shape{N: s[0], C: s[1], H: s[2], W: s[3]}
}

// roots are the nodes whose values somebody reads.
func (l *lowering) roots(grads gorgonia.Nodes) gorgonia.Nodes {
	roots := append(gorgonia.Nodes(nil), grads...)
	for _, o := range l.graph.outputs {
		roots = append(roots, o.node)
	}
	if l.graph.loss != nil {
		roots = append(roots, l.graph.loss)
	}
	return roots
}

// run lists the instructions of everything that the roots need.
func (l *lowering) run(roots gorgonia.Nodes) error {
	sorted, err := gorgonia.Sort(l.graph.expr)
	if err != nil {
		return fmt.Errorf("sort the graph: %w", err)
	}
	needed := map[*gorgonia.Node]bool{}
	for _, n := range roots {
		needed[n] = true
	}
	for _, n := range sorted { // results before operands
		if needed[n] {
			for _, c := range l.graph.operands(n) {
				needed[c] = true
			}
		}
	}
	for i := len(sorted) - 1; i >= 0; i-- { // operands before results
		if n := sorted[i]; needed[n] && l.values[n] == nil {
			if err := l.node(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lowering) node(n *gorgonia.Node) error {
	if n.Name() == seedName {
		l.values[n] = &value{shape: op.Shape{N: 1, C: 1, H: 1, W: 1}, home: homeConstant, data: []float32{1}}
		return nil
	}
	operands := l.graph.operands(n)
	in := make([]*value, len(operands))
	for i, c := range operands {
		in[i] = l.values[c]
	}
	e, ok := n.Op().(*expression)
	if !ok {
		return l.gradientSum(n, in)
	}
	switch o := e.graphOperator.(type) {
	case batchNorm:
		vector := op.Shape{N: 1, C: o.g.In.C, H: 1, W: 1}
		ins := l.emit(o, in, n)
		if !o.frozen {
			ins.out = append(ins.out, &value{shape: vector}, &value{shape: vector})
		}
	case batchNormBackward:
		l.batchNormBackward(o, in, n)
	case maxPoolBackward:
		l.maxPoolBackward(o, in, n)
	case batchNormParamGradient:
		l.values[n] = l.producer[in[0]].out[o.which]
	default:
		l.emit(o, in, n)
	}
	return nil
}

// batchNormBackward takes the statistics from where the forward pass left them.
func (l *lowering) batchNormBackward(o batchNormBackward, in []*value, n *gorgonia.Node) {
	dy, x, gamma, mean, variance, y := in[0], in[1], in[2], in[3], in[4], in[5]
	if !o.frozen {
		forward := l.producer[y]
		mean, variance = forward.out[1], forward.out[2]
	}
	vector := op.Shape{N: 1, C: o.g.In.C, H: 1, W: 1}
	ins := l.emit(o, []*value{dy, x, gamma, mean, variance, nil}, n)
	ins.in = ins.in[:5]
	ins.out = append(ins.out, &value{shape: vector}, &value{shape: vector})
}

// maxPoolBackward takes, in channels-last format, where every maximum was from the
// forward pass, and neither x nor y.
func (l *lowering) maxPoolBackward(o maxPoolBackward, in []*value, n *gorgonia.Node) {
	if l.format != channelsLast {
		l.emit(o, in, n)
		return
	}
	forward := l.producer[in[2]]
	forward.out = append(forward.out, &value{shape: o.g.OutShape(), layout: positions})
	ins := l.emit(o, []*value{in[0], nil, nil}, n)
	ins.in = []*value{ins.in[0], forward.out[1]}
}

// gradientSum lowers the additions by which gorgonia joins the gradients of a
// value with several uses: the only operator of its own that it may add.
func (l *lowering) gradientSum(n *gorgonia.Node, in []*value) error {
	if n.Op() == nil || !strings.HasPrefix(n.Op().String(), "+ ") || len(in) != 2 {
		return fmt.Errorf("lower the graph: %v is no operator of the engine", n)
	}
	s := add{in[0].shape}
	if in[0].layout == planar && in[1].layout == planar {
		l.emit(planarAdd{s}, in, n)
	} else {
		l.emit(s, in, n)
	}
	return nil
}

// emit appends an instruction and records its first result as a node's value.
func (l *lowering) emit(o operator, in []*value, n *gorgonia.Node) *instruction {
	wants, gives := o.layouts()
	ins := &instruction{op: o, in: make([]*value, len(in))}
	for i, v := range in {
		if v != nil {
			ins.in[i] = l.in(v, l.operand(o, i, v, wants[i]))
		}
	}
	out := &value{shape: o.out(), layout: l.result(o, gives)}
	ins.out = []*value{out}
	l.listing.instructions = append(l.listing.instructions, ins)
	l.values[n], l.producer[out] = out, ins
	return ins
}

// of is the layout that an operator's operand or result has at the program's
// precision.
func (l *lowering) of(o operator, wants layout) layout {
	if e, ok := o.(float32Operator); l.bf16 && wants == native && !(ok && e.inFloat32()) {
		return nativeBF16
	}
	return wants
}

// drawn is the layout of images that the machine draws: the one that convolutions want.
func (l *lowering) drawn() layout {
	if l.bf16 {
		return imageBF16
	}
	return native
}

// operand is the layout that an operator's i-th operand, which is v, has.
func (l *lowering) operand(o operator, i int, v *value, wants layout) layout {
	if l.format == channelsLast && i == 0 && wants == planar && readsImage(o) {
		wants = l.of(o, native)
		if wants == nativeBF16 && (v.layout == planar || v.layout == imageBF16) {
			return imageBF16
		}
	}
	if i == 0 && wants == native && l.head(o) {
		return nativeBF16
	}
	return l.of(o, wants)
}

// result is the layout that an operator's result has.
func (l *lowering) result(o operator, gives layout) layout {
	if _, ok := o.(convBackwardData); ok && l.head(o) {
		return nativeBF16
	}
	return l.of(o, gives)
}

// head reports whether an operator is one of a head that computes in float32, and yet
// reads its features, and writes their gradient, as the bfloat16 that they are.
func (l *lowering) head(o operator) bool {
	if l.format != channelsLast || !l.bf16 {
		return false
	}
	switch o := o.(type) {
	case conv:
		return head(o.g, o.exact, kernels.BF16)
	case convBackwardData:
		return head(o.g, o.exact, kernels.BF16)
	case convBackwardWeights:
		return head(o.g, o.exact, kernels.BF16)
	}
	return false
}

// readsImage reports whether an operator's first operand is an image of few channels.
func readsImage(o operator) bool {
	switch o := o.(type) {
	case conv:
		return imageLayout(o.g) == planar
	case convBackwardWeights:
		return imageLayout(o.g) == planar
	}
	return false
}

// in returns v in a layout, converted once where it has another.
func (l *lowering) in(v *value, want layout) *value {
	if v.layout == want {
		return v
	}
	if r := l.relaid[relaid{v, want}]; r != nil {
		return r
	}
	if v.layout == imageBF16 && want == planar {
		return l.in(l.in(v, nativeBF16), want)
	}
	r := &value{shape: v.shape, layout: want}
	l.listing.instructions = append(l.listing.instructions,
		&instruction{op: relayout{v.shape, v.layout, want}, in: []*value{v}, out: []*value{r}})
	l.relaid[relaid{v, want}], l.relaid[relaid{r, v.layout}] = r, v
	return r
}

// relayout copies a tensor into another layout.
type relayout struct {
	s        op.Shape
	from, to layout
}

func (o relayout) name() string                { return "relayout" }
func (o relayout) out() op.Shape               { return o.s }
func (o relayout) layouts() ([]layout, layout) { return []layout{o.from}, o.to }
