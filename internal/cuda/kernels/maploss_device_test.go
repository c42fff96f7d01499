//go:build gpu

package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

// degenerate is maps of which one is zero, one constant, one zero but for a pixel, and
// one zero but for the first pixel.
func (g *gpu) degenerate(n, plane int, low, high, constant float64) []float64 {
	x := g.uniform(n*plane, F32, low, high)
	clear(x[:4*plane])
	copy(x[plane:2*plane], slices.Repeat([]float64{constant}, plane))
	x[2*plane+plane/2], x[3*plane] = high, high
	return x
}

func TestMapLossesAreTheReferences(t *testing.T) {
	g := open(t)
	for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
		for _, logits := range []bool{false, true} {
			for _, size := range [][2]int{{1, 2}, {5, 7}, {8, 8}, {33, 31}, {64, 80}} {
				l := op.MapLoss{Kind: kind, N: 7, H: size[0], W: size[1], Logits: logits}
				plane := l.H * l.W
				pred, target := g.degenerate(l.N, plane, 0, 1, 0.25), g.degenerate(l.N, plane, 0, 1, 0.25)
				if logits {
					pred = g.degenerate(l.N, plane, -6, 6, 0)
				}
				copy(target[:plane], g.uniform(plane, F32, 0, 1))          // of a map of zeros
				copy(pred[4*plane:5*plane], g.uniform(plane, F32, .4, .6)) // of little contrast
				clear(target[5*plane : 6*plane])                           // zeros for a map
				dloss := g.uniform(l.N, F32, -1, 1)
				pp, pt, pd := g.planar(pred), g.planar(target), g.planar(dloss)
				g.compare(fmt.Sprintf("%+v", l), l.N, func(to Pointer) []Launch { return MapLoss(l, to, pp, pt) },
					func(to []float64) { reference.MapLoss(l, to, pred, target) })

				to, want := g.bytes(4*len(pred)), make([]float64, len(pred))
				g.run(MapLossBackward(l, to, pd, pp, pt))
				reference.MapLossBackward(l, want, dloss, pred, target)
				got := g.readNumbers(to, F32, len(pred))
				for n := range l.N {
					got, want := got[n*plane:(n+1)*plane], want[n*plane:(n+1)*plane]
					g.within(fmt.Sprintf("gradient of %+v, map %d", l, n), got, want, 3e-5*max(largest(want), 1/float64(plane)))
				}
			}
		}
	}
}

func TestEntropyIsTheReferences(t *testing.T) {
	g := open(t)
	for _, size := range [][2]int{{1, 2}, {3, 5}, {7, 7}, {14, 16}, {66, 70}} {
		s := op.Shape{N: 5, C: 1, H: size[0], W: size[1]}
		x, d := g.degenerate(s.N, s.H*s.W, 0, 1, 0.25), g.uniform(s.N, F32, -1, 1)
		px, pd := g.planar(x), g.planar(d)
		g.compare(fmt.Sprintf("entropy of %v", s), s.N, func(to Pointer) []Launch { return Entropy(s, to, px) }, func(to []float64) { reference.Entropy(s, to, x) })
		g.compare(fmt.Sprintf("gradient of %v", s), len(x), func(to Pointer) []Launch { return EntropyBackward(s, to, pd, px) }, func(to []float64) { reference.EntropyBackward(s, to, d, x) })
	}
}

func TestANaNReachesTheLoss(t *testing.T) {
	g := open(t)
	s := op.Shape{N: 1, C: 1, H: 4, W: 5}
	pred, target := g.uniform(s.Len(), F32, 0, 1), g.uniform(s.Len(), F32, 0, 1)
	pred[7] = math.NaN()
	pp, pt, loss := g.planar(pred), g.planar(target), g.bytes(4)
	losses := map[string][]Launch{
		"entropy":       Entropy(s, loss, pp),
		"cross-entropy": SoftmaxCrossEntropy(1, s.Len(), loss, pp, g.planar([]float64{3})),
	}
	for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
		for _, logits := range []bool{false, true} {
			losses[fmt.Sprintf("%v, logits %v", kind, logits)] = MapLoss(op.MapLoss{Kind: kind, N: 1, H: s.H, W: s.W, Logits: logits}, loss, pp, pt)
		}
	}
	for what, launches := range losses {
		g.must(g.stream.Fill(loss, 0, 4))
		g.run(launches)
		if v := g.readNumbers(loss, F32, 1)[0]; !math.IsNaN(v) {
			t.Errorf("%s: loss %v, want NaN", what, v)
		}
	}
}
