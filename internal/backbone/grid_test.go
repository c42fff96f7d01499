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
	if got := ResNet18().Grid(224); got != 7 { // He et al. 2015, table 1
		t.Errorf("ResNet-18 has a grid of %d, want 7", got)
	}
}
