package backbone

import (
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestTheGridIsTheSideOfTheFeatures(t *testing.T) {
	custom := ResNetSmall()
	custom.Stem.Pool, custom.Strides = 0, []int{3, 1, 2}
	wide := ResNetSmall()
	wide.Stem.Pool = 3
	for _, net := range []ResNet{ResNetSmall(), custom, wide} {
		params := nn.NewParams(1)
		for size := 16; size < 32; size++ {
			g := nn.NewGraph(nn.Eval, params)
			built := net.Build(g, g.Input("image", op.Shape{N: 1, C: 3, H: size, W: size}), 2)
			if g.Err() != nil {
				t.Fatal(g.Err())
			}
			if got, want := net.Grid(size), built.Features.Shape().W; got != want {
				t.Errorf("%+v: the grid of %d pixels is %d, want %d", net, size, got, want)
			}
		}
	}
	for _, net := range []Network{DenseNet{Width: 2, Growth: 2, Blocks: []int{1, 1, 1, 1}}, Inception{Divisor: 16}, Xception{
		Stem: [2]int{2, 2}, Entry: [3]int{2, 2, 2}, Exit: [3]int{2, 2, 2},
	}} {
		params := nn.NewParams(1)
		for size := 20; size < 140; size += 17 {
			g := nn.NewGraph(nn.Eval, params)
			built := net.Build(g, g.Input("image", op.Shape{N: 1, C: 3, H: size, W: size}), 2)
			if got, want := net.Grid(size), built.Features.Shape().W; got != want {
				t.Errorf("%+v: the grid of %d pixels is %d, want %d (%v)", net, size, got, want, g.Err())
			}
		}
	}
	for smallest, net := range map[int]Network{75: InceptionV3(), 29: DenseNet121(), 1: ResNet50()} { // torchvision's min_size; a ResNet takes anything
		if net.Grid(smallest) < 1 || net.Grid(smallest-1) > 0 {
			t.Errorf("%+v: %d pixels give a grid of %d, one less %d", net, smallest, net.Grid(smallest), net.Grid(smallest-1))
		}
	}
	// Method of the CYBORG study: 224 and 299 pixels to 7, 7, 8 and 10 cells.
	for _, c := range []struct {
		net        Network
		size, grid int
	}{{ResNet50(), 224, 7}, {DenseNet121(), 224, 7}, {InceptionV3(), 299, 8}, {LegacyXception(), 299, 10}} {
		if got := c.net.Grid(c.size); got != c.grid {
			t.Errorf("%+v: a grid of %d, want %d", c.net, got, c.grid)
		}
	}
	if got := ResNet18().Grid(224); got != 7 { // He et al. 2015, table 1
		t.Errorf("ResNet-18 has a grid of %d, want 7", got)
	}
}
