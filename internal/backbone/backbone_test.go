package backbone

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// golden is what testdata/gen.py says of a network. A tensor of more than 16
// values is told by its norm and its product with a fixed vector.
type golden struct {
	Eval, EvalFeatures, Train, TrainFeatures []float64

	Loss       float64
	Gradients  map[string][]float64
	Statistics map[string][]float64
}

// network is a golden's network here: it adds outputs and loss.
type network struct {
	height, width int
	build         func(g *nn.Graph, x nn.Node)
	tolerance     tolerance
}

// tolerance is how far a network's results in training may be from the reference's
// at float64, as a share of the largest value or of the norm: for gradients in the
// median over the parameters, and at most.
type tolerance struct{ forward, median, most float64 }

// exact is what rounding alone leaves. Deep networks magnify it, and some gradients
// differ by more where a ReLU or a maximum falls the other way, which depends on the
// order of sums and so on the instruction set; in PyTorch's own float32 as well.
var (
	exact = tolerance{1e-5, 1e-5, 1e-5}
	deep  = tolerance{1e-4, 1e-2, 1e-1}
)

func classifies(n Network) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		c := n.Build(g, x, 3)
		labels, weight := g.Input("labels", scalars), g.Input("weight", scalars)
		g.Output("y", c.Logits)
		g.Output("features", c.Features)
		g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, labels), Weight: weight})
	}
}

// guides is classifies with CYBORG's loss, of the map of the reference's features.
func guides(n Network) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		c := n.Build(g, x, 3)
		labels := g.Input("labels", scalars)
		cam := g.CAM(c.Reference, c.Weight, labels)
		g.Output("y", cam)
		g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, labels), Weight: g.Input("weight", scalars)},
			nn.Term{Value: g.MapLoss(op.MSE, false, cam, g.Input("map", cam.Shape())), Weight: g.Input("guided", scalars)})
	}
}

func maps(build func(g *nn.Graph, x nn.Node) nn.Node) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		y := build(g, x)
		g.Output("y", y)
		g.Loss(nn.Term{Value: g.MapLoss(op.BCE, true, y, g.Input("map", y.Shape())), Weight: g.Input("weight", scalars)})
	}
}

const images = 2

var scalars = op.Shape{N: images, C: 1, H: 1, W: 1}

// networks are small ones of every architecture.
var networks = map[string]network{
	"resnet": {24, 32, classifies(ResNet{
		Stem: Stem{Kernel: 7, Stride: 2, Width: 12, Pool: 3}, Widths: []int{12, 20}, Strides: []int{1, 2}, Blocks: []int{2, 1},
	}), exact},
	"resnet with another stem": {16, 24, classifies(ResNet{
		Stem: Stem{Kernel: 5, Stride: 2, Width: 6, Pool: 2}, Widths: []int{17}, Strides: []int{2}, Blocks: []int{1},
	}), exact},
	"resnet of bottlenecks":          {24, 32, classifies(smallBottlenecks), exact},
	"densenet":                       {32, 40, classifies(thinDenseNet), exact},
	"thin inception":                 {107, 115, classifies(Inception{Divisor: 16}), deep},
	"thin xception":                  {64, 72, classifies(thinXception), exact},
	"unet":                           {8, 16, maps(UNet{Widths: []int{16, 20, 24}, StemKernel: 3, StemStride: 1}.Build), exact},
	"unet with a strided stem":       {8, 16, maps(UNet{Widths: []int{6, 16}, StemKernel: 5, StemStride: 2}.Build), exact},
	"unet with a residual encoder":   {16, 24, maps(EncoderUNet{smallResNet, []int{12, 9, 6}}.Build), tolerance{1e-5, 1e-4, 1e-4}},
	"unet with a dense encoder":      {32, 64, maps(EncoderUNet{smallDenseNet, []int{20, 17, 12, 9, 6}}.Build), tolerance{1e-5, 1e-4, 1e-4}},
	"unet++ with a residual encoder": {16, 24, maps(UNetPlusPlus{smallResNet, []int{12, 9, 6}}.Build), tolerance{1e-5, 1e-4, 1e-4}},
}

// Classifiers of few channels.
var (
	smallBottlenecks = ResNet{
		Stem: Stem{Kernel: 7, Stride: 2, Width: 8, Pool: 3}, Widths: []int{8, 5}, Strides: []int{1, 2}, Blocks: []int{2, 2}, Bottleneck: true,
	}
	thinDenseNet = DenseNet{Width: 10, Growth: 8, Blocks: []int{2, 3, 1}}
	thinXception = Xception{Stem: [2]int{4, 6}, Entry: [3]int{8, 12, 17}, Middle: 2, Exit: [3]int{20, 24, 28}}
)

// Encoders of few channels.
var (
	smallResNet = ResNet{
		Stem: Stem{Kernel: 7, Stride: 2, Width: 8, Pool: 3}, Widths: []int{4, 6}, Strides: []int{1, 2}, Blocks: []int{1, 2}, Bottleneck: true,
	}
	smallDenseNet = DenseNet{Width: 10, Growth: 8, Blocks: []int{2, 1, 2, 1}}
)

// published are the networks that others have trained.
var published = map[string]network{
	"resnet18":              {64, 72, classifies(ResNet18()), deep},
	"resnet50":              {64, 72, classifies(ResNet50()), deep},
	"densenet121":           {64, 72, classifies(DenseNet121()), deep},
	"inception-v3":          {107, 115, classifies(Inception{Divisor: 1}), deep}, // without dropout
	"xception":              {64, 72, classifies(LegacyXception()), deep},
	"unet-resnet18":         {32, 64, maps(UNetOf(ResNet18()).Build), deep},
	"unet-resnet50":         {32, 64, maps(UNetOf(ResNet50()).Build), deep},
	"unet-densenet121":      {32, 64, maps(UNetOf(DenseNet121()).Build), deep},
	"unetplusplus-resnet50": {32, 64, maps(UNetPlusPlusOf(ResNet50()).Build), deep},
}

// draw is gen.py's: values in [low, high) that depend on name and index alone.
func draw(dst []float32, name string, low, high float64) {
	h := fnv.New32a()
	h.Write([]byte(name))
	seed := h.Sum32()
	for i := range dst {
		x := seed + uint32(i)
		x = (x ^ x>>16) * 0x85ebca6b
		x = (x ^ x>>13) * 0xc2b2ae35
		dst[i] = float32(low + (high-low)*float64(x^x>>16)/(1<<32))
	}
}

func fill(params *nn.Params) {
	for _, p := range params.All() {
		switch {
		case len(p.Shape) > 1:
			bound := 2 / math.Sqrt(float64(len(p.Data)/p.Shape[0]))
			draw(p.Data, p.Name, -bound, bound)
		case strings.HasSuffix(p.Name, "weight") || strings.HasSuffix(p.Name, "running_var"):
			draw(p.Data, p.Name, 0.5, 1.5)
		case strings.HasSuffix(p.Name, "bias"): // few values close to where a ReLU begins
			draw(p.Data, p.Name, 0.25, 1.5)
		default:
			draw(p.Data, p.Name, -0.5, 0.5)
		}
	}
}

// run builds and runs a network of gen.py's parameters on gen.py's inputs.
func (n network) run(t *testing.T, mode nn.Mode, params *nn.Params) *nn.Program {
	t.Helper()
	g := nn.NewGraph(mode, params)
	n.build(g, g.Input("image", op.Shape{N: images, C: 3, H: n.height, W: n.width}))
	fill(params)
	return n.compute(t, mode, params)
}

// compute runs a network of any parameters on gen.py's inputs.
func (n network) compute(t *testing.T, mode nn.Mode, params *nn.Params) *nn.Program {
	t.Helper()
	g := nn.NewGraph(mode, params)
	n.build(g, g.Input("image", op.Shape{N: images, C: 3, H: n.height, W: n.width}))
	p, err := nn.Compile(g, options(t))
	if err != nil {
		t.Fatal(err)
	}
	inputs(p.Input)
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return p
}

// options are those of every program here. SURROGAZE_DEVICE=cuda holds the networks on a
// GPU to the same goldens.
func options(t *testing.T) nn.Options {
	t.Helper()
	o := nn.Options{Device: "cpu", Precision: "f32", Workers: 2}
	if device := os.Getenv("SURROGAZE_DEVICE"); device != "" {
		cudatest.GPU(t)
		o.Device = device
	}
	return o
}

// inputs fills those of a network's inputs that there are with gen.py's.
func inputs(of func(name string) []float32) {
	draw(of("image"), "image", 0, 1)
	draw(of("map"), "map", 0, 1)
	copy(of("labels"), []float32{2, 0})
	copy(of("weight"), []float32{1, 0.25})
	copy(of("map weight"), []float32{0.25, 1})
	copy(of("guided"), []float32{0.5, 1})
}

// near fails where a tensor is not gen.py's, within a share of its largest value
// or of its norm, or of least if that is more. It returns that share.
func near(t *testing.T, name string, got []float32, want []float64, share, least float64) (off float64) {
	t.Helper()
	values := make([]float64, len(got))
	for i, v := range got {
		values[i] = float64(v)
	}
	if len(got) > 16 {
		probe := make([]float32, len(got))
		draw(probe, "probe "+name, -1, 1)
		squares, product := 0.0, 0.0
		for i, v := range values {
			squares += v * v
			product += v * float64(probe[i])
		}
		values = []float64{math.Sqrt(squares), product}
	}
	if len(values) != len(want) {
		t.Fatalf("%s: %d values, want %d", name, len(values), len(want))
	}
	scale := max(largest(want), least)
	for i, w := range want {
		d := math.Abs(values[i]-w) / scale
		if !(d <= share) {
			t.Errorf("%s: %v, want %v (off by %.2g)", name, values, want, d)
			return d
		}
		off = max(off, d)
	}
	return off
}

// largest is the largest magnitude.
func largest(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		m = max(m, math.Abs(v))
	}
	return m
}

// equals holds a network against its golden and returns its parameters.
func (n network) equals(t *testing.T, want golden) *nn.Params {
	t.Helper()
	params := nn.NewParams(1)
	p := n.run(t, nn.Eval, params)
	near(t, "eval", p.Output("y"), want.Eval, 1e-5, 0)
	if want.EvalFeatures != nil {
		near(t, "features", p.Output("features"), want.EvalFeatures, 1e-5, 0)
	}
	p = n.run(t, nn.Train, params)
	near(t, "train", p.Output("y"), want.Train, n.tolerance.forward, 0)
	if want.TrainFeatures != nil {
		near(t, "features", p.Output("features"), want.TrainFeatures, n.tolerance.forward, 0)
	}
	near(t, "loss", []float32{p.Loss()}, []float64{want.Loss}, n.tolerance.forward, 0)
	for name, statistic := range want.Statistics {
		near(t, name, params.Get(name).Data, statistic, n.tolerance.forward, 0)
	}
	most := 0.0
	for _, gradient := range want.Gradients {
		most = max(most, largest(gradient))
	}
	var off []float64
	for name, gradient := range want.Gradients { // those that cancel to nearly nothing count as a hundredth of the most
		got, err := p.Gradient(name)
		if err != nil {
			t.Fatal(err)
		}
		off = append(off, near(t, name, got, gradient, n.tolerance.most, most/100))
	}
	slices.Sort(off)
	if median := off[len(off)/2]; !(median <= n.tolerance.median) {
		t.Errorf("gradients are off by %.2g in the median, want at most %.2g", median, n.tolerance.median)
	}
	return params
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	b, err := os.ReadFile("testdata/networks.json")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]golden{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSmallNetworksEqualTheirReferences(t *testing.T) {
	all := goldens(t)
	for name, n := range networks {
		t.Run(name, func(t *testing.T) {
			want := all[name]
			if got := len(n.equals(t, want).All()); got != len(want.Gradients)+len(want.Statistics) {
				t.Errorf("%d parameters, want %d", got, len(want.Gradients)+len(want.Statistics))
			}
		})
	}
}

func TestPublishedNetworksEqualTheirReferences(t *testing.T) {
	if testing.Short() {
		t.Skip("nine networks of up to 49 million parameters")
	}
	all := goldens(t)
	for name, n := range published {
		t.Run(name, func(t *testing.T) { n.equals(t, all[name]) })
	}
}

// TestTheMapsOfThePublishedCodeEqualTheirs is about the features of Classifier.Reference
// and the gradients that a loss of their maps sends into the network.
func TestTheMapsOfThePublishedCodeEqualTheirs(t *testing.T) {
	all := goldens(t)
	for name, n := range map[string]network{
		"resnet of bottlenecks": {24, 32, guides(smallBottlenecks), exact},
		"densenet":              {32, 40, guides(thinDenseNet), exact},
		"thin inception":        {107, 115, guides(Inception{Divisor: 16}), deep},
		"thin xception":         {64, 72, guides(thinXception), exact},
		"resnet50":              {64, 72, guides(ResNet50()), deep},
		"densenet121":           {64, 72, guides(DenseNet121()), deep},
		"inception-v3":          {107, 115, guides(Inception{Divisor: 1}), deep},
		"xception":              {64, 72, guides(LegacyXception()), deep},
	} {
		t.Run(name, func(t *testing.T) {
			if _, large := published[name]; large && testing.Short() {
				t.Skip("a network of millions of parameters")
			}
			n.equals(t, all["CAM of "+name])
		})
	}
}

func TestParametersAreNamedAsInTheReferences(t *testing.T) {
	for name, n := range published {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/" + name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			g := nn.NewGraph(nn.Eval, params)
			n.build(g, g.Input("image", op.Shape{N: images, C: 3, H: n.height, W: n.width}))
			if err := g.Err(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range params.All() {
				got = append(got, fmt.Sprintf("%s %s", p.Name, strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Shape), "[]"), " ", "x")))
			}
			want := strings.Split(strings.TrimSpace(string(b)), "\n")
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("parameters differ, - want + got:\n%s", d)
			}
		})
	}
}

func TestResNetSmallHasAnEighthOfTheSide(t *testing.T) {
	g := nn.NewGraph(nn.Train, nn.NewParams(1))
	c := ResNetSmall().Build(g, g.Input("image", op.Shape{N: 1, C: 3, H: 96, W: 96}), 2)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	if want := (op.Shape{N: 1, C: 128, H: 12, W: 12}); c.Features.Shape() != want {
		t.Errorf("features %v, want %v", c.Features.Shape(), want)
	}
}

func TestNetworksThatMakeNoSenseAreRefused(t *testing.T) {
	stem := Stem{Kernel: 3, Stride: 1, Width: 8}
	for name, v := range map[string]interface{ Validate() error }{
		"even kernel":        Stem{Kernel: 4, Stride: 1, Width: 8},
		"no stride":          Stem{Kernel: 3, Width: 8},
		"no width":           Stem{Kernel: 3, Stride: 1},
		"pool of 4":          Stem{Kernel: 3, Stride: 1, Width: 8, Pool: 4},
		"no stages":          ResNet{Stem: stem},
		"strides missing":    ResNet{Stem: stem, Widths: []int{8}, Blocks: []int{1}},
		"no blocks":          ResNet{Stem: stem, Widths: []int{8}, Strides: []int{1}, Blocks: []int{0}},
		"resnet's stem":      ResNet{Widths: []int{8}, Strides: []int{1}, Blocks: []int{1}},
		"unet of no levels":  UNet{StemKernel: 3, StemStride: 1},
		"unet of width zero": UNet{Widths: []int{8, 0}, StemKernel: 3, StemStride: 1},
		"unet's stem":        UNet{Widths: []int{8}, StemStride: 1},
		"unet's encoder":     UNetOf(ResNet{Stem: stem}),
		"encoder without a pooling": UNetOf(ResNet{
			Stem: Stem{Kernel: 3, Stride: 2, Width: 8}, Widths: []int{8, 8, 8, 8}, Strides: []int{1, 2, 2, 2}, Blocks: []int{1, 1, 1, 1},
		}),
		"encoder that does not halve": UNetOf(ResNet{
			Stem: ResNet18().Stem, Widths: []int{8, 8, 8, 8}, Strides: []int{1, 2, 1, 2}, Blocks: []int{1, 1, 1, 1},
		}),
		"decoder of too few levels":        EncoderUNet{ResNet18(), []int{8, 8}},
		"decoder of width zero":            EncoderUNet{ResNet18(), []int{8, 8, 8, 8, 0}},
		"nested decoder of too few levels": UNetPlusPlus{DenseNet121(), []int{8, 8}},
	} {
		if v.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, v := range []interface{ Validate() error }{
		ResNet18(), ResNet50(), ResNetSmall(), UNetOf(ResNet18()), UNetOf(DenseNet121()), UNetPlusPlusOf(ResNet50()), UNet{Widths: []int{16, 32, 64}, StemKernel: 5, StemStride: 2},
	} {
		if err := v.Validate(); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	if d := (UNet{Widths: []int{16, 32, 64}, StemKernel: 5, StemStride: 2}).Divisor(); d != 8 {
		t.Errorf("divisor %d, want 8", d)
	}
	for _, net := range []SaliencyNetwork{UNetOf(ResNet50()), UNetPlusPlusOf(DenseNet121())} {
		if d := net.Divisor(); d != 32 {
			t.Errorf("%T: divisor %d, want 32", net, d)
		}
	}
}
