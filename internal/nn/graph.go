// Package nn builds, differentiates, compiles and trains networks.
//
// A [Graph] is written layer by layer with a sticky error. Gorgonia keeps the
// expression and derives the gradients symbolically; [Compile] then lowers the
// sorted graph once into a [Program]: a list of instructions with fused
// operators and a static memory plan, which one backend runs. Gorgonia has no
// part in execution. A [Trainer] runs a program's steps with an optimiser.
//
// Shapes are logical (N, C, H, W); layout, element type and device are
// properties of a program.
package nn

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Mode says how layers behave that differ between training and use.
type Mode uint8

const (
	// Eval normalises with running statistics and drops nothing.
	Eval Mode = iota
	// Train normalises with the batch's statistics and moves the running ones.
	Train
)

// Node is a value in a graph.
type Node struct {
	g *gorgonia.Node
	s op.Shape
}

// Shape is the node's logical shape.
func (n Node) Shape() op.Shape { return n.s }

// Graph builds one network for one mode and batch size. Methods add an
// operator and return its result. The first error sticks, carries the layer's
// path, and makes every later call a no-op: check [Graph.Err] or the error of
// [Compile]. Parameters are named path+".weight" and so on, which for known
// networks are torchvision's names.
type Graph struct {
	mode    Mode
	params  *Params
	expr    *gorgonia.ExprGraph
	err     error
	nextID  uint32
	inputs  []*input
	used    []*parameter
	outputs []output
	loss    *gorgonia.Node
}

type input struct {
	name  string
	shape op.Shape
	node  *gorgonia.Node
	image bool // that views fill
}

type parameter struct {
	*Param
	node *gorgonia.Node
}

type output struct {
	name string
	node *gorgonia.Node
}

// NewGraph starts a graph whose layers take their parameters from params and
// add those that are missing.
func NewGraph(mode Mode, params *Params) *Graph {
	return &Graph{mode: mode, params: params, expr: gorgonia.NewGraph()}
}

// Mode says for which use the graph is built.
func (g *Graph) Mode() Mode { return g.mode }

// Err is the first error of any layer.
func (g *Graph) Err() error { return g.err }

func (g *Graph) fail(path string, err error) Node {
	if g.err == nil && err != nil {
		g.err = fmt.Errorf("layer %q: %w", path, err)
	}
	return Node{}
}

// apply adds an operator to the expression.
func (g *Graph) apply(path string, o graphOperator, in ...Node) Node {
	if g.err != nil {
		return Node{}
	}
	nodes := make([]*gorgonia.Node, len(in))
	for i, n := range in {
		if n.g == nil {
			return g.fail(path, errors.New("an operand belongs to no graph"))
		}
		nodes[i] = n.g
	}
	n, err := g.applyOperator(o, nodes...)
	if err != nil {
		return g.fail(path, err)
	}
	return Node{n, o.out()}
}

func (g *Graph) applyOperator(o graphOperator, in ...*gorgonia.Node) (*gorgonia.Node, error) {
	g.nextID++
	return gorgonia.ApplyOp(&expression{graphOperator: o, graph: g, id: g.nextID}, in...)
}

func (g *Graph) leaf(name string, s op.Shape) *gorgonia.Node {
	return gorgonia.NewTensor(g.expr, tensor.Float32, 4, gorgonia.WithShape(s.N, s.C, s.H, s.W), gorgonia.WithName(name))
}

// Input declares a tensor that the caller fills before every run, planar.
func (g *Graph) Input(name string, s op.Shape) Node {
	if g.err != nil {
		return Node{}
	}
	if err := s.Validate(); err != nil {
		return g.fail(name, err)
	}
	for _, in := range g.inputs {
		if in.name == name {
			return g.fail(name, errors.New("an input of this name exists"))
		}
	}
	in := &input{name: name, shape: s, node: g.leaf("input "+name, s)}
	g.inputs = append(g.inputs, in)
	return Node{in.node, s}
}

// Image declares an input that views fill ([ImageBatch.Show]): images of three channels,
// or maps of one. A GPU draws them itself, and runs such graphs for trainers
// ([Trainer.ImageSteps]) and lanes alone; for a CPU it is an Input.
func (g *Graph) Image(name string, s op.Shape) Node {
	n := g.Input(name, s)
	if g.err != nil {
		return Node{}
	}
	if s.C != 1 && s.C != 3 {
		return g.fail(name, fmt.Errorf("views of %d channels: want 3 of an image or 1 of a map", s.C))
	}
	g.inputs[len(g.inputs)-1].image = true
	return n
}

// Output names a value that the caller reads after every run, planar.
func (g *Graph) Output(name string, n Node) {
	if g.err != nil {
		return
	}
	if n.g == nil {
		g.fail(name, errors.New("the output belongs to no graph"))
		return
	}
	g.outputs = append(g.outputs, output{name, n.g})
}

// param declares a parameter and its node in this graph.
func (g *Graph) param(name string, s op.Shape, diskShape []int, trainable bool, init initializer) Node {
	if g.err != nil {
		return Node{}
	}
	p, err := g.params.declare(name, diskShape, trainable, init)
	if err != nil {
		return g.fail(name, err)
	}
	for _, u := range g.used {
		if u.Param == p {
			return Node{u.node, s}
		}
	}
	u := &parameter{p, g.leaf("parameter "+name, s)}
	g.used = append(g.used, u)
	return Node{u.node, s}
}

func (g *Graph) vector(name string, n int, trainable bool, init initializer) Node {
	return g.param(name, op.Shape{N: 1, C: n, H: 1, W: 1}, []int{n}, trainable, init)
}
