package nn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/surrogaze/surrogaze/internal/op"
)

// layout is how a value's elements lie in memory.
type layout uint8

const (
	planar     layout = iota // plain NCHW
	native                   // as the machine's kernels want feature maps: see format
	nativeBF16               // the same of bfloat16
	imageBF16                // the same of images, with channels of 0 behind theirs
	positions                // the same of bytes: where in its window a maximum is
)

// format is how a machine's kernels want feature maps.
type format uint8

const (
	channelBlocks format = iota // package kernel's, where images of few channels stay planar
	channelsLast                // N, H, W, C without gaps
)

// operator is what the engine can compute: an immutable description that
// backends turn into kernels.
type operator interface {
	name() string
	// out is the result's shape.
	out() op.Shape
	// layouts says how operands and result lie in memory, images of few channels apart.
	layouts() (in []layout, out layout)
}

// graphOperator is an operator that may stand in an expression.
type graphOperator interface {
	operator
	// reference computes the operator plainly in float64, all operands planar.
	reference(dst []float64, src [][]float64)
}

// differentiableOperator is an operator that may stand in a forward pass.
type differentiableOperator interface {
	graphOperator
	// differentiable says which operands get a gradient.
	differentiable() []bool
	// gradient builds the operands' gradients; entries of operands that get
	// none are nil.
	gradient(g *Graph, in []node, out, grad node) ([]node, error)
}

// expression makes an operator a gorgonia operation. Every one has its own id,
// and thereby its own hash: gorgonia merges operations of equal hash.
type expression struct {
	graphOperator
	graph *Graph
	id    uint32
}

var _ gorgonia.SDOp = (*expression)(nil)

// Arity is the number of operands.
func (e *expression) Arity() int {
	in, _ := e.layouts()
	return len(in)
}

// scalar reports whether the result is gorgonia's scalar: the loss.
func (e *expression) scalar() bool {
	_, ok := e.graphOperator.(weightedMean)
	return ok
}

// Type is a function of four-axis tensors; only the loss is a scalar.
func (e *expression) Type() hm.Type {
	element := hm.TypeVariable('a')
	t := gorgonia.TensorType{Dims: 4, Of: element}
	in, _ := e.layouts()
	types := make([]hm.Type, len(in)+1)
	for i := range types {
		types[i] = t
	}
	if e.scalar() {
		types[len(in)] = element
	}
	if _, ok := e.graphOperator.(weightedMeanBackward); ok {
		types[0] = element // the gradient of the loss
	}
	return hm.NewFnType(types...)
}

// InferShape is the shape that the operator was built for.
func (e *expression) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	if e.scalar() {
		return tensor.ScalarShape(), nil
	}
	s := e.out()
	return tensor.Shape{s.N, s.C, s.H, s.W}, nil
}

// Do runs the reference, for gorgonia's tape machine in tests.
func (e *expression) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	src := make([][]float64, len(in))
	for i, v := range in {
		switch d := v.Data().(type) {
		case []float32:
			src[i] = convert[float64](d)
		case float32:
			src[i] = []float64{float64(d)}
		default:
			return nil, fmt.Errorf("operand %d of %s: type %T, want float32", i, e.name(), d)
		}
	}
	s := e.out()
	dst := make([]float64, s.Len())
	e.reference(dst, src)
	if e.scalar() {
		return gorgonia.NewF32(float32(dst[0])), nil
	}
	return tensor.New(tensor.WithShape(s.N, s.C, s.H, s.W), tensor.WithBacking(convert[float32](dst))), nil
}

func convert[To, From float32 | float64](src []From) []To {
	dst := make([]To, len(src))
	for i, v := range src {
		dst[i] = To(v)
	}
	return dst
}

// ReturnsPtr says that Do returns a tensor, not a plain number.
func (e *expression) ReturnsPtr() bool { return true }

// CallsExtern says that Do stays in Go.
func (e *expression) CallsExtern() bool { return false }

// OverwritesInput says that Do leaves its operands as they are.
func (e *expression) OverwritesInput() int { return -1 }

// WriteHash writes the id, which no other operator of the graph has.
func (e *expression) WriteHash(h hash.Hash) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], e.id)
	h.Write(b[:])
}

// Hashcode is the id.
func (e *expression) Hashcode() uint32 { return e.id }

func (e *expression) String() string { return fmt.Sprintf("%s#%d", e.name(), e.id) }

// DiffWRT says which operands get a gradient.
func (e *expression) DiffWRT(int) []bool {
	if d, ok := e.graphOperator.(differentiableOperator); ok {
		return d.differentiable()
	}
	return nil
}

// SymDiff builds the gradients by the operands.
func (e *expression) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	d, ok := e.graphOperator.(differentiableOperator)
	if !ok {
		return nil, fmt.Errorf("gradient of %s: it has none", e.name())
	}
	gs, err := d.gradient(e.graph, in, out, grad)
	if err != nil {
		return nil, fmt.Errorf("gradient of %s: %w", e.name(), err)
	}
	return gs, nil
}

// moving lists the trainable parameters that the loss depends on. The others
// have no gradient, as in PyTorch: no optimiser touches them.
func (g *Graph) moving() []*parameter {
	reached := map[*gorgonia.Node]bool{}
	var visit func(n *gorgonia.Node)
	visit = func(n *gorgonia.Node) {
		if reached[n] {
			return
		}
		reached[n] = true
		if e, ok := n.Op().(*expression); ok {
			operands := g.operands(n)
			for i, yes := range e.DiffWRT(len(operands)) {
				if yes {
					visit(operands[i])
				}
			}
		}
	}
	visit(g.loss)
	var moving []*parameter
	for _, p := range g.used {
		if p.Trainable && reached[p.node] {
			moving = append(moving, p)
		}
	}
	return moving
}

// operands are the nodes that n is computed from.
func (g *Graph) operands(n *gorgonia.Node) gorgonia.Nodes {
	var operands gorgonia.Nodes
	for it := g.expr.From(n.ID()); it != nil && it.Next(); {
		operands = append(operands, it.Node().(*gorgonia.Node))
	}
	return operands
}

// differentiate builds the gradients of a training graph's loss by the
// parameters that move.
func (g *Graph) differentiate() ([]*parameter, gorgonia.Nodes, error) {
	if g.loss == nil || g.mode == Eval {
		return nil, nil, nil
	}
	moving := g.moving()
	if len(moving) == 0 {
		return nil, nil, errors.New("differentiate: the loss depends on no trainable parameter")
	}
	wrt := make(gorgonia.Nodes, len(moving))
	for i, p := range moving {
		wrt[i] = p.node
	}
	seed := gorgonia.NewScalar(g.expr, gorgonia.Float32, gorgonia.WithName(seedName))
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{g.loss}, gorgonia.Nodes{seed}, wrt)
	if err != nil {
		return nil, nil, fmt.Errorf("differentiate: %w", err)
	}
	return moving, grads, nil
}

// seedName names the gradient of the loss by itself: one.
const seedName = "seed"
