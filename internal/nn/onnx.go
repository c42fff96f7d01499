package nn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gorgonia.org/gorgonia"

	"github.com/surrogaze/surrogaze/internal/onnx"
)

// ONNX is the graph with its parameters' values, which it shares, as ONNX has it: for
// any number of images, in float32. Outputs of one value a channel are (N, C) there,
// all others (N, C, H, W). An operator that has no place in inference is an error.
func (g *Graph) ONNX(name string) (*onnx.Graph, error) {
	if g.err != nil {
		return nil, g.err
	}
	if err := g.params.Fetch(); err != nil {
		return nil, fmt.Errorf("ONNX of %s: %w", name, err)
	}
	t := &onnxTranslation{graph: &onnx.Graph{Name: name}, names: map[node]string{}}
	for _, in := range g.inputs {
		t.names[in.node] = in.name
	}
	for _, p := range g.used {
		t.names[p.node] = p.Name
	}
	operators, leaves := g.reached()
	t.declare(g, leaves)
	for _, n := range operators {
		if err := t.operator(n, g.operands(n)); err != nil {
			return nil, fmt.Errorf("ONNX of %s: %w", name, err)
		}
	}
	for _, o := range g.outputs {
		t.output(o)
	}
	return t.graph, nil
}

// reached are the nodes that the outputs need: operators in the order in which they
// were added, and the others.
func (g *Graph) reached() (operators []node, leaves map[node]bool) {
	seen, leaves := map[node]bool{}, map[node]bool{}
	var visit func(n node)
	visit = func(n node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if _, ok := n.Op().(*expression); !ok {
			leaves[n] = true
			return
		}
		operators = append(operators, n)
		for _, c := range g.operands(n) {
			visit(c)
		}
	}
	for _, o := range g.outputs {
		visit(o.node)
	}
	id := func(n node) uint32 { return n.Op().(*expression).id }
	slices.SortFunc(operators, func(a, b node) int { return cmp.Compare(id(a), id(b)) })
	return operators, leaves
}

// onnxTranslation writes a graph as one of ONNX.
type onnxTranslation struct {
	graph *onnx.Graph
	names map[node]string // of the values
}

// declare adds the inputs and parameters that are needed.
func (t *onnxTranslation) declare(g *Graph, needed map[node]bool) {
	for _, in := range g.inputs {
		if needed[in.node] {
			t.graph.Inputs = append(t.graph.Inputs, onnx.Value{Name: in.name, Shape: []int{0, in.shape.C, in.shape.H, in.shape.W}})
		}
	}
	for _, p := range g.used {
		if needed[p.node] {
			t.graph.Tensors = append(t.graph.Tensors, onnx.Tensor{Name: p.Name, Shape: p.Shape, Floats: p.Data})
		}
	}
}

// output gives a value the name of an output.
func (t *onnxTranslation) output(o output) {
	s, op := leafShape(o.node), "Identity"
	shape := []int{0, s.C, s.H, s.W}
	if perClass(s) {
		op, shape = "Flatten", shape[:2]
	}
	t.add(op, o.name, []string{t.names[o.node]})
	t.graph.Outputs = append(t.graph.Outputs, onnx.Value{Name: o.name, Shape: shape})
}

// add appends a node of one result, whose name it returns.
func (t *onnxTranslation) add(op, out string, in []string, attributes ...onnx.Attribute) string {
	t.graph.Nodes = append(t.graph.Nodes, onnx.Node{Op: op, In: in, Out: []string{out}, Attributes: attributes})
	return out
}

// constant adds a tensor, unless one of its name is there, and returns the name.
func (t *onnxTranslation) constant(c onnx.Tensor) string {
	if !slices.ContainsFunc(t.graph.Tensors, func(other onnx.Tensor) bool { return other.Name == c.Name }) {
		t.graph.Tensors = append(t.graph.Tensors, c)
	}
	return c.Name
}

// integers is a constant vector.
func (t *onnxTranslation) integers(values ...int64) string {
	name := "integers"
	for _, v := range values {
		name += fmt.Sprintf("_%d", v)
	}
	return t.constant(onnx.Tensor{Name: name, Shape: []int{len(values)}, Ints: values})
}

// operator adds what an operator is in ONNX.
func (t *onnxTranslation) operator(n node, operands gorgonia.Nodes) error {
	e := n.Op().(*expression)
	out := fmt.Sprintf("%s_%d", strings.ReplaceAll(e.name(), " ", "_"), e.id)
	t.names[n] = out
	in := make([]string, len(operands))
	for i, c := range operands {
		in[i] = t.names[c]
	}
	set := func(name string, value any) onnx.Attribute { return onnx.Attribute{Name: name, Value: value} }
	switch o := e.graphOperator.(type) {
	case conv:
		t.add("Conv", out, in,
			set("dilations", []int{o.g.DilationH, o.g.DilationW}), set("group", o.g.Groups),
			set("kernel_shape", []int{o.g.KernelH, o.g.KernelW}), set("pads", []int{o.g.PadH, o.g.PadW, o.g.PadH, o.g.PadW}),
			set("strides", []int{o.g.StrideH, o.g.StrideW}))
	case linear:
		flat := t.add("Flatten", out+"_in", in[:1])
		t.add("Gemm", out, []string{flat, in[1], in[2]}, set("transB", 1))
	case batchNorm:
		if !o.frozen {
			return fmt.Errorf("operator %s: want it as in evaluation", o.name())
		}
		t.add("BatchNormalization", out, in, set("epsilon", o.g.Eps))
	case relu:
		t.add("Relu", out, in)
	case sigmoid:
		t.add("Sigmoid", out, in)
	case add:
		t.add("Add", out, in)
	case concat:
		t.add("Concat", out, in, set("axis", 1))
	case maxPool:
		t.add("MaxPool", out, in, set("kernel_shape", []int{o.g.Kernel, o.g.Kernel}),
			set("pads", slices.Repeat([]int{o.g.Pad}, 4)), set("strides", []int{o.g.Stride, o.g.Stride}))
	case avgPool:
		t.add("AveragePool", out, in, set("count_include_pad", b2i(o.g.CountPad)), set("kernel_shape", []int{o.g.Kernel, o.g.Kernel}),
			set("pads", slices.Repeat([]int{o.g.Pad}, 4)), set("strides", []int{o.g.Stride, o.g.Stride}))
	case globalAvgPool:
		t.add("GlobalAveragePool", out, in)
	case upsample:
		t.upsample(o, in[0], out)
	case argMax:
		t.add("ArgMax", out, in, set("axis", 1))
	case contrast:
		t.contrast(o, in[0], out)
	case cam:
		t.cam(o, in, out)
	default:
		return fmt.Errorf("operator %s: found in a graph for inference, want none that only training knows", o.name())
	}
	return nil
}

func (t *onnxTranslation) upsample(o upsample, in, out string) {
	mode, coordinates := "nearest", "asymmetric"
	if o.g.Bilinear {
		mode, coordinates = "linear", "half_pixel"
	}
	scale := float32(o.g.Scale)
	scales := t.constant(onnx.Tensor{Name: fmt.Sprintf("scales_%d", o.g.Scale), Shape: []int{4}, Floats: []float32{1, 1, scale, scale}})
	t.add("Resize", out, []string{in, "", scales}, onnx.Attribute{Name: "coordinate_transformation_mode", Value: coordinates},
		onnx.Attribute{Name: "mode", Value: mode}, onnx.Attribute{Name: "nearest_mode", Value: "floor"})
}

// contrast is every row of a weight less the mean of the others, which is
// (K row - sum of all) / (K - 1) of K rows.
func (t *onnxTranslation) contrast(o contrast, weight, out string) {
	classes := float32(o.s.N)
	share := func(name string, v float32) string {
		return t.constant(onnx.Tensor{Name: fmt.Sprintf("%s_of_%d", name, o.s.N), Shape: []int{1}, Floats: []float32{v}})
	}
	sum := t.add("ReduceSum", out+"_sum", []string{weight, t.integers(0)})
	all := t.add("Mul", out+"_all", []string{sum, share("others", 1/(classes-1))})
	own := t.add("Mul", out+"_own", []string{weight, share("row", classes/(classes-1))})
	t.add("Sub", out, []string{own, all})
}

// smallestNormal is what a span of 0 is divided by, so that a constant map becomes
// zeros.
const smallestNormal = 0x1p-126

// cam multiplies the features by their class's weights and scales the sums to [0, 1].
func (t *onnxTranslation) cam(o cam, in []string, out string) {
	s := o.g.Features
	step := func(op, name string, in ...string) string { return t.add(op, out+"_"+name, in) }
	class := t.add("Cast", out+"_class", []string{in[2]}, onnx.Attribute{Name: "to", Value: onnx.Int64})
	class = step("Reshape", "class_row", class, t.integers(-1, 1))
	rows := step("Gather", "weights", in[1], class)                               // (N, 1, C)
	features := step("Reshape", "features", in[0], t.integers(0, int64(s.C), -1)) // (N, C, H*W)
	raw := step("MatMul", "raw", rows, features)
	low, high := step("ReduceMin", "low", raw, t.integers(2)), step("ReduceMax", "high", raw, t.integers(2))
	tiny := t.constant(onnx.Tensor{Name: "smallest_normal", Shape: []int{1}, Floats: []float32{smallestNormal}})
	span := step("Max", "span_or_tiny", step("Sub", "span", high, low), tiny)
	scaled := step("Div", "scaled", step("Sub", "above", raw, low), span)
	t.add("Reshape", out, []string{scaled, t.integers(0, 1, int64(s.H), int64(s.W))})
}
