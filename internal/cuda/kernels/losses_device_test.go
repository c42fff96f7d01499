//go:build gpu

package kernels

import (
	"fmt"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestLinearLayersAreTheReferences(t *testing.T) {
	g := open(t)
	for _, l := range []op.Linear{{N: 1, In: 1, Out: 1}, {N: 3, In: 512, Out: 2}, {N: 5, In: 129, Out: 7}, {N: 33, In: 100, Out: 65}, {N: 70, In: 35, Out: 101}, {N: 17, In: 256, Out: 1000}} {
		x, w, b, dy := g.uniform(l.N*l.In, F32, -1, 1), g.uniform(l.Out*l.In, F32, -1, 1), g.uniform(l.Out, F32, -1, 1), g.uniform(l.N*l.Out, F32, -1, 1)
		px, pw, pb, pdy := g.planar(x), g.planar(w), g.planar(b), g.planar(dy)
		for _, c := range []struct {
			what     string
			n        int
			launches func(to Pointer) []Launch
			want     func(to []float64)
		}{
			{"y", len(dy), func(to Pointer) []Launch { return Linear(l, to, px, pw, pb) }, func(to []float64) { reference.Linear(l, to, x, w, b) }},
			{"y without bias", len(dy), func(to Pointer) []Launch { return Linear(l, to, px, pw, 0) }, func(to []float64) { reference.Linear(l, to, x, w, nil) }},
			{"dx", len(x), func(to Pointer) []Launch { return LinearBackwardData(l, to, pdy, pw) }, func(to []float64) { reference.LinearBackwardData(l, to, dy, w) }},
			{"dw", len(w), func(to Pointer) []Launch { return LinearBackwardWeights(l, to, px, pdy) }, func(to []float64) { reference.LinearBackwardWeights(l, to, x, dy) }},
			{"db", len(b), func(to Pointer) []Launch { return LinearBackwardBias(l, to, pdy) }, func(to []float64) { reference.LinearBackwardBias(l, to, dy) }},
		} {
			g.compare(fmt.Sprintf("%+v: %s", l, c.what), c.n, c.launches, c.want)
		}
	}
}

func TestOperatorsOnPlanarTensorsAreTheReferences(t *testing.T) {
	g := open(t)
	for _, n := range []int{2, 3, 4, 1030} {
		s := op.Shape{N: n, C: 1, H: 1, W: 1}
		x, dy := append([]float64{-200, 30}, g.uniform(n-2, F32, -9, 9)...), g.uniform(n, F32, -1, 1)
		y := make([]float64, n)
		reference.Sigmoid(y, x)
		for i, v := range y {
			y[i] = F32.round(v)
		}
		px, py, pdy := g.planar(x), g.planar(y), g.planar(dy)
		g.compare("sigmoid", n, func(to Pointer) []Launch { return Sigmoid(s, to, px) }, func(to []float64) { reference.Sigmoid(to, x) })
		g.compare("its gradient", n, func(to Pointer) []Launch { return SigmoidBackward(s, to, pdy, py) }, func(to []float64) { reference.SigmoidBackward(to, dy, y) })
		g.compare("sum", n, func(to Pointer) []Launch { return AddPlanar(int64(n), to, px, pdy) }, func(to []float64) { reference.Add(to, x, dy) })
	}
}

func TestLossesOfLogitsAreTheReferences(t *testing.T) {
	g := open(t)
	for _, classes := range []int{2, 7, 33, 1000} {
		const n = 9
		logits, labels, dloss := g.uniform(n*classes, F32, -5, 5), make([]float64, n), g.uniform(n, F32, -1, 1)
		for i := range labels {
			labels[i] = float64(g.rng.IntN(classes))
		}
		labels[1], labels[2] = -1, float64(classes)
		logits[3*classes+int(labels[3])] = 80                                   // sure and right
		logits[4*classes+(int(labels[4])+1)%classes] = 90                       // sure and wrong
		copy(logits[5*classes:6*classes], slices.Repeat([]float64{3}, classes)) // all equal
		pl, pk, pd := g.planar(logits), g.planar(labels), g.planar(dloss)
		g.compare("class", n, func(to Pointer) []Launch { return ArgMax(op.Shape{N: n, C: classes, H: 1, W: 1}, to, pl) },
			func(to []float64) { reference.ArgMax(n, classes, to, logits) })
		g.compare("loss", n, func(to Pointer) []Launch { return SoftmaxCrossEntropy(n, classes, to, pl, pk) },
			func(to []float64) { reference.SoftmaxCrossEntropy(n, classes, to, logits, labels) })
		g.compare("its gradient", n*classes, func(to Pointer) []Launch { return SoftmaxCrossEntropyBackward(n, classes, to, pd, pl, pk) },
			func(to []float64) { reference.SoftmaxCrossEntropyBackward(n, classes, to, dloss, logits, labels) })
	}
}

func TestTheLossOfASureRowKeepsItsDigits(t *testing.T) {
	g := open(t)
	logits, labels := []float64{0, 20}, []float64{1}
	loss, want := g.bytes(4), []float64{0}
	g.run(SoftmaxCrossEntropy(1, 2, loss, g.planar(logits), g.planar(labels)))
	reference.SoftmaxCrossEntropy(1, 2, want, logits, labels)
	g.within("loss", g.readNumbers(loss, F32, 1), want, 1e-5*want[0])
}

func TestContrastIsTheReferences(t *testing.T) {
	g := open(t)
	for _, s := range [][2]int{{2, 512}, {3, 33}, {100, 70}} {
		classes, n := s[0], s[1]
		w := g.uniform(classes*n, F32, -1, 1)
		pw := g.planar(w)
		g.compare("contrast", len(w), func(to Pointer) []Launch { return Contrast(classes, n, to, pw) }, func(to []float64) { reference.Contrast(classes, n, to, w) })
	}
}

func TestWeightsOfSamplesAndTheirMeanAreTheReferences(t *testing.T) {
	g := open(t)
	for _, n := range []int{1, 31, 600} {
		first, second, weight := g.uniform(n, F32, 0, 3), g.uniform(n, F32, 0, 3), make([]float64, n)
		for _, share := range []float64{0, 0.5, 1} {
			for i := range weight {
				weight[i] = 0
				if g.rng.Float64() < share {
					weight[i] = float64(1 + i%3)
				}
			}
			p1, p2, pw := g.planar(first), g.planar(second), g.planar(weight)
			for _, ofSecond := range []bool{false, true} {
				g.compare("balance", n, func(to Pointer) []Launch { return Balance(n, ofSecond, to, p1, p2, pw) },
					func(to []float64) { reference.Balance(n, ofSecond, to, first, second, weight) })
			}
		}
		dloss := []float64{0.75}
		pd, pw := g.planar(dloss), g.planar(second)
		g.compare("gradient of the mean", n, func(to Pointer) []Launch { return WeightedMeanBackward(n, to, pd, pw) },
			func(to []float64) { reference.WeightedMeanBackward(n, to, dloss, second) })
		for _, terms := range []int{1, 8, 10} {
			values, weights := make([][]float64, terms), make([][]float64, terms)
			pv, pw := make([]Pointer, terms), make([]Pointer, terms)
			for i := range terms {
				values[i], weights[i] = g.uniform(n, F32, 0, 1), g.uniform(n, F32, 0, 1)
				pv[i], pw[i] = g.planar(values[i]), g.planar(weights[i])
			}
			g.compare(fmt.Sprintf("mean of %d terms", terms), 1, func(to Pointer) []Launch { return WeightedMean(n, to, pv, pw) },
				func(to []float64) {
					for i := range terms {
						var term [1]float64
						reference.WeightedMean(n, term[:], values[i], weights[i])
						to[0] += term[0]
					}
				})
		}
	}
}
