//go:build unix

package nn

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

func TestABatchThatNoMachineHoldsIsAnError(t *testing.T) {
	g := NewGraph(Eval, NewParams(1))
	x := g.Input("x", op.Shape{N: 1 << 40, C: 8, H: 8, W: 8})
	g.Output("y", g.ReLU(g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1})))
	_, err := Compile(g, Options{Device: "cpu", Precision: "f32", Workers: 1})
	if !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "GiB for a batch's activations") {
		t.Errorf("found %v, want that the memory is refused", err)
	}
}
