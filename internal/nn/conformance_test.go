package nn

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/surrogaze/surrogaze/internal/op"
)

// A conformance case is a small network around one operator. Three independent
// computations must agree: the compiled program, gorgonia's tape machine over
// the references, and float64 finite differences of the references.
type conformanceCase struct {
	name  string
	mode  Mode
	build func(g *Graph)
}

// lossOf ends a network in a scalar that every value of y moves differently.
func lossOf(g *Graph, y Node) {
	s := y.Shape()
	g.Output("y", y)
	p := g.Conv("probe", y, Conv{Out: 1, Kernel: min(3, s.H, s.W) | 1, Pad: 1})
	target := g.Input("target", p.Shape())
	weight := g.Input("weight", op.Shape{N: s.N, C: 1, H: 1, W: 1})
	g.Loss(Term{g.MapLoss(op.MSE, false, p, target), weight})
}

// image is an input with a convolution behind it, so that gradients flow
// through the operator under test into parameters.
func image(g *Graph, channels, h, w int) Node {
	x := g.Input("image", op.Shape{N: 2, C: 3, H: h, W: w})
	return g.Conv("stem", x, Conv{Out: channels, Kernel: 3, Pad: 1, Bias: true})
}

func scalarInput(g *Graph, name string) Node {
	return g.Input(name, op.Shape{N: 2, C: 1, H: 1, W: 1})
}

func conformanceCases() []conformanceCase {
	train := func(name string, build func(g *Graph)) conformanceCase {
		return conformanceCase{name, Train, build}
	}
	around := func(name string, channels, size int, layer func(g *Graph, x Node) Node) conformanceCase {
		return train(name, func(g *Graph) { lossOf(g, layer(g, image(g, channels, size, size+1))) })
	}
	cases := []conformanceCase{
		around("convolution with 17 to 33 channels", 17, 6, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 33, Kernel: 3, Pad: 1, Bias: true})
		}),
		around("convolution of stride 2", 16, 7, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 16, Kernel: 3, Stride: 2, Pad: 1})
		}),
		around("dilated convolution", 5, 8, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 6, Kernel: 3, Dilation: 2, Pad: 2})
		}),
		around("grouped convolution", 6, 5, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 9, Kernel: 3, Pad: 1, Groups: 3})
		}),
		around("depthwise convolution of stride 2", 19, 5, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 19, Kernel: 3, Stride: 2, Pad: 1, Groups: 19})
		}),
		around("depthwise convolution", 20, 9, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 20, Kernel: 3, Pad: 1, Groups: 20})
		}),
		around("head in float32", 16, 9, func(g *Graph, x Node) Node {
			return g.Conv("head", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true, Float32: true})
		}),
		around("tall convolution", 17, 5, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 8, Kernel: 7, Pad: 3, KernelW: 1, Rectangular: true})
		}),
		around("rectangular convolution", 8, 5, func(g *Graph, x Node) Node {
			return g.Conv("conv", x, Conv{Out: 8, Kernel: 1, KernelW: 5, PadW: 2, Rectangular: true})
		}),
		around("convolution and ReLU", 8, 5, func(g *Graph, x Node) Node { return g.ReLU(x) }),
		around("batch norm", 18, 4, func(g *Graph, x Node) Node { return g.BatchNorm("bn", x) }),
		around("batch norm with another eps", 5, 4, func(g *Graph, x Node) Node { return g.BatchNormEps("bn", x, 0.5) }),
		around("batch norm and ReLU", 18, 4, func(g *Graph, x Node) Node { return g.ReLU(g.BatchNorm("bn", x)) }),
		around("residual block", 16, 4, func(g *Graph, x Node) Node {
			y := g.ReLU(g.BatchNorm("bn1", g.Conv("conv1", x, Conv{Out: 16, Kernel: 3, Pad: 1})))
			y = g.BatchNorm("bn2", g.Conv("conv2", y, Conv{Out: 16, Kernel: 3, Pad: 1}))
			return g.ReLU(g.Add(y, x))
		}),
		around("residual block with two normalised branches", 16, 4, func(g *Graph, x Node) Node {
			y := g.BatchNorm("bn2", g.Conv("conv2", x, Conv{Out: 20, Kernel: 3, Pad: 1}))
			z := g.BatchNorm("bn3", g.Conv("conv3", x, Conv{Out: 20, Kernel: 1}))
			return g.ReLU(g.Add(y, z))
		}),
		around("batch norm with parameters used twice, once behind an addition", 16, 4, func(g *Graph, x Node) Node {
			y := g.ReLU(g.BatchNorm("bn", g.Conv("conv1", x, Conv{Out: 16, Kernel: 3, Pad: 1})))
			z := g.BatchNorm("bn", g.Conv("conv2", y, Conv{Out: 16, Kernel: 3, Pad: 1}))
			return g.ReLU(g.Add(z, y))
		}),
		around("batch norm with parameters used twice, of a value with two readers", 16, 4, func(g *Graph, x Node) Node {
			y := g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 16, Kernel: 3, Pad: 1}))
			return g.Concat(g.ReLU(g.BatchNorm("bn", x)), g.ReLU(y))
		}),
		around("value with three readers", 4, 4, func(g *Graph, x Node) Node {
			return g.Add(g.Add(x, g.ReLU(x)), g.Conv("conv", x, Conv{Out: 4, Kernel: 1}))
		}),
		around("max pool", 17, 7, func(g *Graph, x Node) Node { return g.MaxPool(x, 3, 2, 1) }),
		around("average pool", 5, 6, func(g *Graph, x Node) Node { return g.AvgPool(x, 3, 2, 1) }),
		around("average pool of stride 1", 18, 5, func(g *Graph, x Node) Node { return g.AvgPool(x, 3, 1, 1) }),
		around("max pool without padding", 17, 7, func(g *Graph, x Node) Node { return g.MaxPool(x, 3, 2, 0) }),
		around("global average pool", 20, 5, func(g *Graph, x Node) Node { return g.GlobalAvgPool(x) }),
		around("upsample", 17, 3, func(g *Graph, x Node) Node { return g.Upsample(x, 2) }),
		around("nearest upsample", 17, 3, func(g *Graph, x Node) Node { return g.UpsampleNearest(x, 3) }),
		around("concatenation at block borders", 16, 4, func(g *Graph, x Node) Node {
			return g.Concat(g.ReLU(x), g.Conv("conv", x, Conv{Out: 5, Kernel: 1}))
		}),
		around("concatenation inside blocks", 5, 4, func(g *Graph, x Node) Node {
			return g.Concat(g.ReLU(x), g.Conv("conv", x, Conv{Out: 17, Kernel: 1}), x)
		}),
		around("concatenation of a concatenation", 16, 4, func(g *Graph, x Node) Node {
			y := g.Concat(x, g.ReLU(x))
			return g.Concat(y, g.Conv("conv", y, Conv{Out: 3, Kernel: 3, Pad: 1}))
		}),
		around("dense block", 16, 4, func(g *Graph, x Node) Node {
			for i := range 3 {
				y := g.ReLU(g.BatchNorm(fmt.Sprintf("bn%d", i), x))
				x = g.Concat(x, g.Conv(fmt.Sprintf("conv%d", i), y, Conv{Out: 8 - i, Kernel: 3, Pad: 1}))
			}
			return x
		}),
		train("concatenation with enlarged values", func(g *Graph) {
			x := image(g, 16, 4, 6)
			half := g.AvgPool(x, 2, 2, 0)
			y := g.Upsample(g.Conv("conv", half, Conv{Out: 8, Kernel: 3, Pad: 1}), 2)
			z := g.UpsampleNearest(g.Conv("thin", half, Conv{Out: 5, Kernel: 1}), 2)
			lossOf(g, g.Concat(y, x, z))
		}),
		around("normalised value with two readers", 16, 4, func(g *Graph, x Node) Node {
			y := g.ReLU(g.BatchNorm("bn", x))
			return g.Concat(y, g.Conv("conv", y, Conv{Out: 8, Kernel: 3, Pad: 1}))
		}),
		around("concatenation of one value twice", 16, 4, func(g *Graph, x Node) Node { return g.Concat(x, x) }),
		around("sigmoid", 3, 4, func(g *Graph, x Node) Node { return g.Sigmoid(x) }),
		train("linear and cross entropy", func(g *Graph) {
			logits := g.Linear("fc", g.GlobalAvgPool(image(g, 19, 4, 4)), 3)
			g.Output("y", logits)
			g.Loss(Term{g.SoftmaxCrossEntropy(logits, scalarInput(g, "labels")), scalarInput(g, "weight")})
		}),
		train("CYBORG loss", func(g *Graph) {
			f := image(g, 19, 4, 5)
			logits, w := g.Classifier("fc", g.GlobalAvgPool(f), 3)
			labels := scalarInput(g, "labels")
			cam := g.CAM(f, w, labels)
			g.Output("y", cam)
			g.Loss(Term{g.SoftmaxCrossEntropy(logits, labels), scalarInput(g, "weight")},
				Term{g.MapLoss(op.MSE, false, cam, g.Input("target", cam.Shape())), scalarInput(g, "guided")})
		}),
		train("CAM of the predicted class", func(g *Graph) {
			f := image(g, 4, 4, 5)
			logits, w := g.Classifier("fc", g.GlobalAvgPool(f), 3)
			cam := g.CAM(f, w, g.ArgMax(logits))
			g.Output("y", cam)
			g.Loss(Term{g.MapLoss(op.MSE, false, cam, g.Input("target", cam.Shape())), scalarInput(g, "weight")})
		}),
		train("CAM of a class against the others", func(g *Graph) {
			f := image(g, 19, 4, 5)
			_, w := g.Classifier("fc", g.GlobalAvgPool(f), 3)
			cam := g.CAM(f, g.Contrast(w), g.Input("labels", op.Shape{N: 2, C: 1, H: 1, W: 1}))
			g.Output("y", cam)
			g.Loss(Term{g.MapLoss(op.MSE, false, cam, g.Input("target", cam.Shape())), scalarInput(g, "weight")})
		}),
		train("entropy of a map", func(g *Graph) {
			p := g.Sigmoid(image(g, 1, 4, 5))
			e := g.Entropy(p)
			g.Output("y", e)
			g.Loss(Term{e, scalarInput(g, "weight")})
		}),
		train("losses with balanced weights", func(g *Graph) {
			p := g.Sigmoid(image(g, 1, 4, 5))
			forMSE, forCC := g.Balance(scalarInput(g, "first"), scalarInput(g, "second"), scalarInput(g, "labels"))
			g.Output("y", forMSE)
			target := g.Input("target", p.Shape())
			g.Loss(Term{g.MapLoss(op.MSE, false, p, target), forMSE}, Term{g.MapLoss(op.CC, false, p, target), forCC})
		}),
		{"frozen batch norm after a convolution", Eval, func(g *Graph) {
			g.Output("y", g.BatchNorm("bn", image(g, 18, 4, 4)))
		}},
		{"frozen batch norm of a convolution with another reader", Eval, func(g *Graph) {
			x := image(g, 18, 4, 4)
			y := g.Conv("conv", x, Conv{Out: 18, Kernel: 3, Pad: 1})
			g.Output("y", g.Add(y, g.ReLU(g.BatchNorm("bn", y))))
		}},
		{"folded batch norm with another eps", Eval, func(g *Graph) {
			g.Output("y", g.BatchNormEps("bn", image(g, 18, 4, 4), 0.5))
		}},
		{"folded batch norm with residual and ReLU", Eval, func(g *Graph) {
			x := image(g, 18, 4, 4)
			y := g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 18, Kernel: 3, Pad: 1}))
			g.Output("y", g.ReLU(g.Add(x, y)))
		}},
		{"dropout in evaluation", Eval, func(g *Graph) {
			g.Output("y", g.Dropout(image(g, 3, 2, 2), 0.5))
		}},
	}
	for _, n := range []int{2, 4} { // half of a vector of float32, and of bfloat16
		cases = append(cases, around(fmt.Sprintf("concatenation of a concatenation from channel %d on", n), 8, 4, func(g *Graph, x Node) Node {
			part := func(name string, channels int) Node {
				return g.Conv(name, x, Conv{Out: channels, Kernel: 3, Pad: 1})
			}
			return g.Concat(part("a", n), g.Concat(part("b", 2*n), part("c", 2*n)), part("d", 3*n))
		}))
	}
	for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
		for _, logits := range []bool{false, true} {
			cases = append(cases, train(fmt.Sprintf("map loss %v, logits %v", kind, logits), func(g *Graph) {
				p := image(g, 1, 4, 5)
				if !logits {
					p = g.Sigmoid(p)
				}
				g.Output("y", p)
				g.Loss(Term{g.MapLoss(kind, logits, p, g.Input("target", p.Shape())), scalarInput(g, "weight")})
			}))
		}
	}
	return cases
}

// build makes a case's graph with parameters and inputs that are the same every
// time: weights far from symmetric, running statistics far from the identity.
func (c conformanceCase) graph(t *testing.T) (*Graph, map[string][]float32) {
	t.Helper()
	params := NewParams(7)
	g := NewGraph(c.mode, params)
	c.build(g)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range params.All() {
		for i := range p.Data {
			p.Data[i] += 0.3 * rng.Float32()
		}
	}
	inputs := map[string][]float32{}
	for _, in := range g.inputs {
		x := make([]float32, in.shape.Len())
		for i := range x {
			x[i] = rng.Float32()
			if in.name == "labels" {
				x[i] = float32(rng.IntN(3))
			}
		}
		inputs[in.name] = x
	}
	return g, inputs
}

// run compiles and runs a case in float32 over an arena that was full of NaN.
func (c conformanceCase) run(t *testing.T, workers int) (*Program, *Params) {
	t.Helper()
	return c.runAs(t, workers, false)
}

func (c conformanceCase) runAs(t *testing.T, workers int, bf16 bool) (*Program, *Params) {
	t.Helper()
	g, inputs := c.graph(t)
	p, err := compileFor(g, Options{Workers: workers}, onCPU(bf16))
	if err != nil {
		t.Fatal(err)
	}
	arena := p.machine.(*cpu).arena
	for i := range arena {
		arena[i] = float32(math.NaN())
	}
	for name, x := range inputs {
		copy(p.Input(name), x)
	}
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return p, g.params
}

// onCPU is the CPU in a precision, whether or not that is fast.
func onCPU(bf16 bool) Target {
	if bf16 {
		return Target{Device: cpuDevice, Precision: bf16Precision}
	}
	return Target{Device: cpuDevice, Precision: f32Precision}
}

func gradientOf(t *testing.T, p *Program, name string) []float32 {
	t.Helper()
	gradient, err := p.Gradient(name)
	if err != nil {
		t.Fatal(err)
	}
	return gradient
}

func TestProgramsAgreeWithTheTapeMachine(t *testing.T) {
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			p, params := c.run(t, 2)
			y, loss, grads := c.tape(t)
			compare(t, "output", p.Output("y"), y)
			if c.mode == Eval {
				return
			}
			compare(t, "loss", []float32{p.Loss()}, []float32{loss})
			compareGradients(t, p, params, grads)
		})
	}
}

// compareGradients compares on the scale of the layer's largest gradient: those of a layer
// are sums over the same gradients of its output, which in that of a bias may cancel.
func compareGradients(t *testing.T, p *Program, params *Params, want map[string][]float32) {
	t.Helper()
	layer := func(name string) string { return name[:strings.LastIndex(name, ".")] }
	scales := map[string]float64{}
	for name, grad := range want {
		scales[layer(name)] = max(scales[layer(name)], magnitude(grad))
	}
	for _, x := range params.All() {
		if x.Trainable {
			compareAt(t, "gradient of "+x.Name, gradientOf(t, p, x.Name), want[x.Name], scales[layer(x.Name)])
		}
	}
}

// magnitude is the largest of some values.
func magnitude(x []float32) float64 {
	largest := 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(float64(v)))
	}
	return largest
}

// tape runs a case on gorgonia's tape machine.
func (c conformanceCase) tape(t *testing.T) (y []float32, loss float32, grads map[string][]float32) {
	t.Helper()
	g, inputs := c.graph(t)
	for _, p := range g.used {
		let(t, p.node, p.Data)
	}
	for _, in := range g.inputs {
		let(t, in.node, inputs[in.name])
	}
	var outputs gorgonia.Value
	gorgonia.Read(g.outputs[0].node, &outputs)
	moving, nodes, err := g.differentiate()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]gorgonia.Value, len(moving))
	var lossValue gorgonia.Value
	if g.loss != nil {
		for _, n := range g.expr.AllNodes() {
			if n.Name() == seedName {
				if err := gorgonia.Let(n, float32(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		gorgonia.Read(g.loss, &lossValue)
		for i, n := range nodes {
			gorgonia.Read(n, &values[i])
		}
	}
	vm := gorgonia.NewTapeMachine(g.expr)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	grads = map[string][]float32{}
	for i, p := range moving {
		grads[p.Name] = values[i].Data().([]float32)
	}
	if lossValue != nil {
		loss = lossValue.Data().(float32)
	}
	return outputs.Data().([]float32), loss, grads
}

func let(t *testing.T, n *gorgonia.Node, data []float32) {
	t.Helper()
	s := leafShape(n)
	v := tensor.New(tensor.WithShape(s.N, s.C, s.H, s.W), tensor.WithBacking(slices.Clone(data)))
	if err := gorgonia.Let(n, v); err != nil {
		t.Fatal(err)
	}
}

// tolerance is relative to the largest magnitude of the tensor: float32 sums of
// a few thousand terms stay an order of magnitude below it.
const tolerance = 2e-5

// smallGradient is the magnitude below which a gradient counts as the remainder
// of terms that cancel, as that of a bias in front of a batch norm: a share of
// the network's largest.
func smallGradient(p *Program) float64 {
	largest := 0.0
	for _, grad := range p.list.gradients {
		largest = max(largest, magnitude(grad.data))
	}
	return largest / 20
}

func compare(t *testing.T, what string, got, want []float32) {
	t.Helper()
	compareAt(t, what, got, want, 1e-6)
}

// compareAt takes tensors smaller than scale for as large as scale.
func compareAt(t *testing.T, what string, got, want []float32, scale float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	scale = max(scale, magnitude(want))
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance*scale) {
			t.Fatalf("%s[%d] = %v, want %v (largest magnitude %.3g)", what, i, got[i], want[i], scale)
		}
	}
}

func TestGradientsAgreeWithFiniteDifferences(t *testing.T) {
	for _, c := range conformanceCases() {
		if c.mode == Eval {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			p, _ := c.run(t, 1)
			g, inputs := c.graph(t)
			leaves := map[*gorgonia.Node][]float64{}
			for _, in := range g.inputs {
				leaves[in.node] = convert[float64](inputs[in.name])
			}
			for _, q := range g.used {
				leaves[q.node] = convert[float64](q.Data)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for _, q := range g.used {
				if !q.Trainable {
					continue
				}
				grad := gradientOf(t, p, q.Name)
				if grad == nil {
					continue
				}
				scale := max(smallGradient(p), magnitude(grad))
				for range 5 {
					i := rng.IntN(len(grad))
					if d := g.slope(t, leaves, q.node, i); !(math.Abs(d-float64(grad[i])) <= tolerance*scale) {
						t.Errorf("gradient of %s[%d] = %v, want %v", q.Name, i, grad[i], d)
					}
				}
			}
		})
	}
}

// slope is the central difference of the loss along one element of a leaf.
func (g *Graph) slope(t *testing.T, leaves map[*gorgonia.Node][]float64, n *gorgonia.Node, i int) float64 {
	t.Helper()
	const h = 1e-6
	at := func(shift float64) float64 {
		moved := maps.Clone(leaves)
		moved[n] = slices.Clone(leaves[n])
		moved[n][i] += shift
		return g.evaluate(t, moved)[g.loss][0]
	}
	return (at(h) - at(-h)) / (2 * h)
}

// evaluate interprets the forward expression with the float64 references.
func (g *Graph) evaluate(t *testing.T, leaves map[*gorgonia.Node][]float64) map[*gorgonia.Node][]float64 {
	t.Helper()
	sorted, err := gorgonia.Sort(g.expr)
	if err != nil {
		t.Fatal(err)
	}
	values := map[*gorgonia.Node][]float64{}
	for n, v := range leaves {
		values[n] = slices.Clone(v) // batch norm moves its running statistics
	}
	for _, n := range slices.Backward(sorted) {
		e, ok := n.Op().(*expression)
		if !ok {
			continue
		}
		var src [][]float64
		for it := g.expr.From(n.ID()); it.Next(); {
			src = append(src, values[it.Node().(*gorgonia.Node)])
		}
		values[n] = make([]float64, e.out().Len())
		e.reference(values[n], src)
	}
	return values
}

// TestBF16ProgramsStayCloseToFloat32 compares by distance over norm: single values
// differ more, where a ReLU or a maximum falls the other way.
func TestBF16ProgramsStayCloseToFloat32(t *testing.T) {
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			exact, params := c.runAs(t, 2, false)
			rounded, _ := c.runAs(t, 2, true)
			if d := distance(rounded.Output("y"), exact.Output("y"), 0); !(d <= 0.01) {
				t.Errorf("the output is %.2g of its norm away", d)
			}
			for _, x := range params.All() {
				want := gradientOf(t, exact, x.Name)
				if want == nil {
					continue
				}
				small := smallGradient(exact) * math.Sqrt(float64(len(want)))
				if d := distance(gradientOf(t, rounded, x.Name), want, small); !(d <= 0.1) {
					t.Errorf("the gradient of %s is %.2g of its norm away", x.Name, d)
				}
			}
		})
	}
}

// distance is that of x and want as a share of want's norm, or of scale if that is
// larger.
func distance(x, want []float32, scale float64) float64 {
	var difference, norm float64
	for i, w := range want {
		difference += math.Pow(float64(x[i]-w), 2)
		norm += math.Pow(float64(w), 2)
	}
	return math.Sqrt(difference) / max(math.Sqrt(norm), scale)
}

func TestResultsDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	for _, c := range conformanceCases() {
		for _, bf16 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bf16 %v", c.name, bf16), func(t *testing.T) {
				one, params := c.runAs(t, 1, bf16)
				three, _ := c.runAs(t, 3, bf16)
				if !slices.Equal(one.Output("y"), three.Output("y")) {
					t.Error("outputs differ in bits")
				}
				for _, x := range params.All() {
					if !slices.Equal(gradientOf(t, one, x.Name), gradientOf(t, three, x.Name)) {
						t.Errorf("gradients of %s differ in bits", x.Name)
					}
				}
			})
		}
	}
}
