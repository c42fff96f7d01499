package backbone

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// golden is what testdata/gen.py says of a network.
type golden struct {
	Eval, Train []float64
	Loss        float64
	Gradients   map[string][]float64 // norm, product with a fixed vector
	Statistics  map[string][]float64
}

// network is a golden's network here: it adds outputs and loss.
type network struct {
	side  int
	build func(g *nn.Graph, x nn.Node)
}

func classifies(r ResNet) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		c := r.Build(g, x, 3)
		labels, weight := g.Input("labels", scalars), g.Input("weight", scalars)
		g.Output("y", c.Logits)
		g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(c.Logits, labels), Weight: weight})
	}
}

func maps(u UNet) func(g *nn.Graph, x nn.Node) {
	return func(g *nn.Graph, x nn.Node) {
		y := u.Build(g, x)
		g.Output("y", y)
		g.Loss(nn.Term{Value: g.MapLoss(op.BCE, true, y, g.Input("map", y.Shape())), Weight: g.Input("weight", scalars)})
	}
}

const images = 2

var scalars = op.Shape{N: images, C: 1, H: 1, W: 1}

var networks = map[string]network{
	"resnet": {24, classifies(ResNet{
		Stem: Stem{Kernel: 7, Stride: 2, Width: 12, Pool: 3}, Widths: []int{12, 20}, Strides: []int{1, 2}, Blocks: []int{2, 1},
	})},
	"resnet with another stem": {16, classifies(ResNet{
		Stem: Stem{Kernel: 5, Stride: 2, Width: 6, Pool: 2}, Widths: []int{17}, Strides: []int{2}, Blocks: []int{1},
	})},
	"unet":                     {8, maps(UNet{Widths: []int{16, 20, 24}, StemKernel: 3, StemStride: 1})},
	"unet with a strided stem": {8, maps(UNet{Widths: []int{6, 16}, StemKernel: 5, StemStride: 2})},
}

// draw is gen.py's: values in [low, high) that depend on name and index alone.
func draw(dst []float32, name string, low, high float64) {
	h := fnv.New32a()
	h.Write([]byte(name))
	for i := range dst {
		x := h.Sum32() + uint32(i)
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
		default:
			draw(p.Data, p.Name, -0.5, 0.5)
		}
	}
}

// run builds and runs a network on gen.py's inputs.
func (n network) run(t *testing.T, mode nn.Mode, params *nn.Params) *nn.Program {
	t.Helper()
	g := nn.NewGraph(mode, params)
	n.build(g, g.Input("image", op.Shape{N: images, C: 3, H: n.side, W: n.side + 8}))
	p, err := nn.Compile(g, nn.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	fill(params)
	draw(p.Input("image"), "image", 0, 1)
	draw(p.Input("map"), "map", 0, 1)
	copy(p.Input("labels"), []float32{2, 0})
	copy(p.Input("weight"), []float32{1, 0.25})
	p.Run()
	return p
}

// near fails where got is not want to float32's accuracy; scale is the largest
// magnitude of what belongs together.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	scale := 0.0
	for _, w := range want {
		scale = max(scale, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= 1e-5*scale) {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], w)
		}
	}
}

func TestNetworksEqualTorch(t *testing.T) {
	b, err := os.ReadFile("testdata/networks.json")
	if err != nil {
		t.Fatal(err)
	}
	goldens := map[string]golden{}
	if err := json.Unmarshal(b, &goldens); err != nil {
		t.Fatal(err)
	}
	for name, n := range networks {
		t.Run(name, func(t *testing.T) {
			want := goldens[name]
			near(t, "output in evaluation", n.run(t, nn.Eval, nn.NewParams(1)).Output("y"), want.Eval)
			params := nn.NewParams(1)
			p := n.run(t, nn.Train, params)
			near(t, "output in training", p.Output("y"), want.Train)
			near(t, "loss", []float32{p.Loss()}, []float64{want.Loss})
			for name, statistic := range want.Statistics {
				near(t, name, params.Get(name).Data, statistic)
			}
			if got := len(params.All()); got != len(want.Gradients)+len(want.Statistics) {
				t.Errorf("%d parameters, want %d", got, len(want.Gradients)+len(want.Statistics))
			}
			for name, want := range want.Gradients {
				grad := p.Gradient(name)
				probe := make([]float32, len(grad))
				draw(probe, "probe "+name, -1, 1)
				squares, product := 0.0, 0.0
				for i, v := range grad {
					squares += float64(v) * float64(v)
					product += float64(v) * float64(probe[i])
				}
				if norm := math.Sqrt(squares); math.Abs(norm-want[0]) > 1e-5*want[0] || math.Abs(product-want[1]) > 1e-5*want[0] {
					t.Errorf("gradient of %s: norm %v and product %v, want %v", name, norm, product, want)
				}
			}
		})
	}
}

func TestResNet18IsNamedAsInTorchvision(t *testing.T) {
	b, err := os.ReadFile("testdata/resnet18.txt")
	if err != nil {
		t.Fatal(err)
	}
	params := nn.NewParams(1)
	g := nn.NewGraph(nn.Eval, params)
	c := ResNet18().Build(g, g.Input("image", op.Shape{N: 1, C: 3, H: 64, W: 64}), 1000)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	if want := (op.Shape{N: 1, C: 512, H: 2, W: 2}); c.Features.Shape() != want {
		t.Errorf("features %v, want %v", c.Features.Shape(), want)
	}
	got := map[string]bool{}
	for _, p := range params.All() {
		got[fmt.Sprintf("%s %s", p.Name, strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Shape), "[]"), " ", "x"))] = true
	}
	want := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, line := range want {
		if !got[line] {
			t.Errorf("no parameter %s", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d parameters, want %d", len(got), len(want))
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
	} {
		if v.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, v := range []interface{ Validate() error }{
		ResNet18(), ResNetSmall(), UNet{Widths: []int{16, 32, 64}, StemKernel: 5, StemStride: 2},
	} {
		if err := v.Validate(); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	if d := (UNet{Widths: []int{16, 32, 64}, StemKernel: 5, StemStride: 2}).Divisor(); d != 8 {
		t.Errorf("divisor %d, want 8", d)
	}
}
