package reference

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// klEpsilon keeps the logarithm of the KL distance finite, as pysaliency does.
const klEpsilon = 2.2204e-16

// MapLoss is the distance of each of N predicted maps from its target:
// pred and target (N, 1, H, W), loss (N).
//
//   - BCE of probabilities takes no logarithm below -100, as PyTorch.
//   - KL counts a map that sums to zero as uniform.
//   - CC of a constant map is 1, and without gradient.
func MapLoss[T Float](g op.MapLoss, loss, pred, target []T) {
	eachMap(g, pred, target, func(n int, raw, p, t []float64) {
		switch {
		case g.Kind == op.BCE && g.Logits:
			loss[n] = T(mean(raw, t, func(x, t float64) float64 {
				return math.Max(x, 0) - x*t + math.Log1p(math.Exp(-math.Abs(x)))
			}))
		case g.Kind == op.BCE:
			loss[n] = T(mean(p, t, func(p, t float64) float64 {
				return -t*math.Max(math.Log(p), -100) - (1-t)*math.Max(math.Log1p(-p), -100)
			}))
		case g.Kind == op.MSE:
			loss[n] = T(mean(p, t, func(p, t float64) float64 { return (p - t) * (p - t) }))
		case g.Kind == op.KL:
			p, _ = density(p)
			t, _ = density(t)
			loss[n] = T(float64(len(p)) * mean(p, t, func(p, t float64) float64 {
				return t * math.Log(klEpsilon+t/(p+klEpsilon))
			}))
		case g.Kind == op.CC:
			loss[n] = T(1 - correlate(p, t).r)
		}
	})
}

// MapLossBackward is the gradient of [MapLoss] by pred.
func MapLossBackward[T Float](g op.MapLoss, dpred, dloss, pred, target []T) {
	eachMap(g, pred, target, func(n int, _, p, t []float64) {
		d := mapGradient(g.Kind, p, t)
		for i := range d {
			if g.Logits && g.Kind == op.BCE {
				d[i] = (p[i] - t[i]) / float64(len(p))
			} else if g.Logits {
				d[i] *= p[i] * (1 - p[i])
			}
			dpred[n*len(d)+i] = T(float64(dloss[n]) * d[i])
		}
	})
}

// Entropy is -sum p log p of each map (N, 1, H, W) scaled to sum 1: one value an image
// (N). A map that sums to zero counts as uniform, and has no gradient.
func Entropy[T Float](s op.Shape, entropy, maps []T) {
	plane := s.H * s.W
	for n := range s.N {
		p, _ := density(widen(maps[n*plane : (n+1)*plane]))
		entropy[n] = T(entropyOf(p))
	}
}

// EntropyBackward is the gradient of [Entropy] by the maps. That of a value of zero
// is infinite, and taken for zero.
func EntropyBackward[T Float](s op.Shape, dmaps, dentropy, maps []T) {
	plane := s.H * s.W
	for n := range s.N {
		p, total := density(widen(maps[n*plane : (n+1)*plane]))
		for i, v := range p {
			dmaps[n*plane+i] = 0
			if total != 0 && v != 0 {
				dmaps[n*plane+i] = T(-float64(dentropy[n]) * (math.Log(v) + entropyOf(p)) / total)
			}
		}
	}
}

func entropyOf(p []float64) float64 {
	var sum float64
	for _, v := range p {
		if v != 0 {
			sum -= v * math.Log(v)
		}
	}
	return sum
}

// eachMap visits every image's prediction as given and as a probability, and
// its target.
func eachMap[T Float](g op.MapLoss, pred, target []T, visit func(n int, raw, p, t []float64)) {
	plane := g.H * g.W
	for n := range g.N {
		raw := widen(pred[n*plane : (n+1)*plane])
		p := raw
		if g.Logits {
			p = make([]float64, plane)
			Sigmoid(p, raw)
		}
		visit(n, raw, p, widen(target[n*plane:(n+1)*plane]))
	}
}

// mapGradient is the gradient of a distance by the probabilities p.
func mapGradient(kind op.MapLossKind, p, t []float64) []float64 {
	d, n := make([]float64, len(p)), float64(len(p))
	switch kind {
	case op.MSE:
		for i := range d {
			d[i] = 2 * (p[i] - t[i]) / n
		}
	case op.BCE:
		for i := range d {
			d[i] = (p[i] - t[i]) / math.Max(p[i]*(1-p[i]), 1e-12) / n
		}
	case op.KL:
		q, total := density(p)
		u, _ := density(t)
		if total == 0 {
			return d
		}
		var common float64
		for i := range d {
			d[i] = -u[i] * u[i] / (klEpsilon*(q[i]+klEpsilon) + u[i]) / (q[i] + klEpsilon)
			if u[i] == 0 {
				d[i] = 0
			}
			common += d[i] * q[i]
		}
		for i := range d {
			d[i] = (d[i] - common) / total
		}
	case op.CC:
		c := correlate(p, t)
		if c.spread == 0 {
			return d
		}
		for i := range d {
			d[i] = c.r*(p[i]-c.meanP)/c.squaresP - (t[i]-c.meanT)/c.spread
		}
	}
	return d
}

func mean(p, t []float64, f func(p, t float64) float64) float64 {
	var sum float64
	for i := range p {
		sum += f(p[i], t[i])
	}
	return sum / float64(len(p))
}

// density scales a map to sum 1 and returns the sum it had.
func density(p []float64) (q []float64, total float64) {
	for _, v := range p {
		total += v
	}
	q = make([]float64, len(p))
	for i, v := range p {
		q[i] = v / total
		if total == 0 {
			q[i] = 1 / float64(len(p))
		}
	}
	return q, total
}

type correlation struct{ r, meanP, meanT, squaresP, spread float64 }

// correlate is Pearson's correlation; spread is its denominator, and zero makes
// the correlation zero.
func correlate(p, t []float64) correlation {
	var c correlation
	firstP, firstT := p[0], t[0] // so that the mean of a constant map is exact
	c.meanP = firstP + mean(p, t, func(p, _ float64) float64 { return p - firstP })
	c.meanT = firstT + mean(p, t, func(_, t float64) float64 { return t - firstT })
	n := float64(len(p))
	c.squaresP = n * mean(p, t, func(p, _ float64) float64 { return (p - c.meanP) * (p - c.meanP) })
	squaresT := n * mean(p, t, func(_, t float64) float64 { return (t - c.meanT) * (t - c.meanT) })
	c.spread = math.Sqrt(c.squaresP * squaresT)
	if c.spread != 0 {
		c.r = n * mean(p, t, func(p, t float64) float64 { return (p - c.meanP) * (t - c.meanT) }) / c.spread
	}
	return c
}
