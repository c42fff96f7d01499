package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// ArgMax is the index of the largest of each row of logits (N, classes), planar,
// the first of equals: class (N).
func ArgMax(_ *Env, n, classes int, class, logits []float32) []Phase {
	return []Phase{ranges(n, classes, func(from, to, _ int) {
		for i := from; i < to; i++ {
			row, best := logits[i*classes:(i+1)*classes], 0
			for k, v := range row {
				if v > row[best] {
					best = k
				}
			}
			class[i] = float32(best)
		}
	})}
}

// SoftmaxCrossEntropy is loss = -log softmax(logits)[label], one (N) for each row
// of logits (N, classes), planar. A label outside [0, classes) counts as none:
// its loss is zero.
func SoftmaxCrossEntropy(_ *Env, n, classes int, loss, logits, labels []float32) []Phase {
	return []Phase{ranges(n, classes*expCost, func(from, to, _ int) {
		for i := from; i < to; i++ {
			row := logits[i*classes : (i+1)*classes]
			loss[i] = 0
			if k := int(labels[i]); k >= 0 && k < classes {
				loss[i] = float32(logSumExp(row) - float64(row[k]))
			}
		}
	})}
}

// SoftmaxCrossEntropyBackward is the gradient of [SoftmaxCrossEntropy]:
// dlogits = dloss*(softmax - onehot).
func SoftmaxCrossEntropyBackward(_ *Env, n, classes int, dlogits, dloss, logits, labels []float32) []Phase {
	return []Phase{ranges(n, classes*expCost, func(from, to, _ int) {
		for i := from; i < to; i++ {
			row, d := logits[i*classes:(i+1)*classes], dlogits[i*classes:(i+1)*classes]
			label, scale := int(labels[i]), float64(dloss[i])
			if label < 0 || label >= classes {
				clear(d)
				continue
			}
			total := logSumExp(row)
			for k, v := range row {
				share := math.Exp(float64(v) - total)
				if k == label {
					share--
				}
				d[k] = float32(scale * share)
			}
		}
	})}
}

func logSumExp(row []float32) float64 {
	high := row[0]
	for _, v := range row {
		high = max(high, v)
	}
	var sum float64
	for _, v := range row {
		sum += math.Exp(float64(v) - float64(high))
	}
	return float64(high) + math.Log(sum)
}

// WeightedMean is out[0] = sum of values*weights / n.
func WeightedMean(_ *Env, n int, out, values, weights []float32) []Phase {
	return []Phase{{Tasks: 1, Run: func(int, int) {
		var sum float64
		for i, v := range values[:n] {
			sum += float64(v) * float64(weights[i])
		}
		out[0] = float32(sum / float64(n))
	}}}
}

// WeightedMeanBackward is the gradient of [WeightedMean] by the values.
func WeightedMeanBackward(_ *Env, n int, dvalues, dout, weights []float32) []Phase {
	return []Phase{{Tasks: 1, Run: func(int, int) {
		scale := float64(dout[0]) / float64(n)
		for i, w := range weights[:n] {
			dvalues[i] = float32(scale * float64(w))
		}
	}}}
}

// Balance is the weight of each of N samples in the sum of two losses, first and
// second (N), of which the second counts by weight (N), 0 where there is none:
//
//	alpha = sum of weight*first / sum of weight*(first+second)
//
// All weigh alpha in the first, and (1-alpha)*weight in the second. Where that sum is
// zero, alpha is 1. It has no gradient.
func Balance(_ *Env, n int, ofSecond bool, weights, first, second, weight []float32) []Phase {
	return []Phase{{Tasks: 1, Run: func(int, int) {
		var a, b float64
		for i, w := range weight[:n] {
			a += float64(w) * float64(first[i])
			b += float64(w) * float64(second[i])
		}
		share := 0.0 // of the second: 1 - alpha
		if a+b != 0 {
			share = b / (a + b)
		}
		for i, w := range weight[:n] {
			weights[i] = float32(share * float64(w))
			if !ofSecond {
				weights[i] = float32(1 - share)
			}
		}
	}}}
}

// Entropy is -sum p log p of each map (N, 1, H, W) scaled to sum 1: one value an image
// (N), planar. A map that sums to zero counts as uniform, and has no gradient.
func Entropy(_ *Env, s op.Shape, entropy, maps []float32) []Phase {
	return eachPlane(s, maps, func(n int, p []float32) { entropy[n] = float32(entropyOf(p, densityOf(p))) })
}

// EntropyBackward is the gradient of [Entropy] by the maps. That of a value of zero
// is infinite, and taken for zero.
func EntropyBackward(_ *Env, s op.Shape, dmaps, dentropy, maps []float32) []Phase {
	plane := s.H * s.W
	return eachPlane(s, maps, func(n int, p []float32) {
		d := dmaps[n*plane : (n+1)*plane]
		clear(d)
		density := densityOf(p)
		if density.total == 0 {
			return
		}
		entropy, scale := entropyOf(p, density), -float64(dentropy[n])/density.total
		for i, v := range p {
			if v != 0 {
				d[i] = float32(scale * (math.Log(density.of(float64(v))) + entropy))
			}
		}
	})
}

// eachPlane visits the maps of (N, 1, H, W).
func eachPlane(s op.Shape, maps []float32, visit func(n int, p []float32)) []Phase {
	plane := s.H * s.W
	return []Phase{ranges(s.N, plane*expCost, func(from, to, _ int) {
		for n := from; n < to; n++ {
			visit(n, maps[n*plane:(n+1)*plane])
		}
	})}
}

func entropyOf(p []float32, d density) float64 {
	var sum float64
	for _, v := range p {
		if q := d.of(float64(v)); q != 0 {
			sum -= q * math.Log(q)
		}
	}
	return sum
}

// klEpsilon keeps the logarithm of the KL distance finite, as pysaliency does.
const klEpsilon = 2.2204e-16

// MapLoss is the distance of each of N predicted maps from its target: pred and
// target (N, 1, H, W), loss (N), planar.
//
//   - BCE of probabilities takes no logarithm below -100, as PyTorch.
//   - KL counts a map that sums to zero as uniform.
//   - CC of a constant map is 1, and without gradient.
func MapLoss(e *Env, g op.MapLoss, loss, pred, target []float32) []Phase {
	m := newMaps(e, g, pred, target)
	return m.each(func(n, worker int) { loss[n] = float32(m.loss(n, worker)) })
}

// MapLossBackward is the gradient of [MapLoss] by pred.
func MapLossBackward(e *Env, g op.MapLoss, dpred, dloss, pred, target []float32) []Phase {
	m := newMaps(e, g, pred, target)
	slopes := workerMaps(e, g)
	return m.each(func(n, worker int) {
		p, t := m.probabilities(n, worker), m.image(target, n)
		m.gradient(m.image(dpred, n), slopes[worker], p, t, float64(dloss[n]))
	})
}

// maps is what the passes of a map loss share.
type maps struct {
	op.MapLoss
	pred, target []float32
	buffers      [][]float64 // a map of probabilities for each worker
}

func newMaps(e *Env, g op.MapLoss, pred, target []float32) *maps {
	return &maps{MapLoss: g, pred: pred, target: target, buffers: workerMaps(e, g)}
}

func workerMaps(e *Env, g op.MapLoss) [][]float64 {
	buffers := make([][]float64, e.Workers)
	for i := range buffers {
		buffers[i] = make([]float64, g.H*g.W)
	}
	return buffers
}

// each visits every image.
func (m *maps) each(visit func(n, worker int)) []Phase {
	return []Phase{ranges(m.N, m.H*m.W*expCost, func(from, to, worker int) {
		for n := from; n < to; n++ {
			visit(n, worker)
		}
	})}
}

func (m *maps) image(x []float32, n int) []float32 {
	plane := m.H * m.W
	return x[n*plane : (n+1)*plane]
}

// probabilities is an image's prediction behind its sigmoid.
func (m *maps) probabilities(n, worker int) []float64 {
	p := m.buffers[worker]
	for i, v := range m.image(m.pred, n) {
		p[i] = float64(v)
		if m.Logits {
			p[i] = sigmoid(float64(v))
		}
	}
	return p
}

func (m *maps) loss(n, worker int) float64 {
	t := m.image(m.target, n)
	if m.Kind == op.BCE && m.Logits {
		return crossEntropyOfLogits(m.image(m.pred, n), t)
	}
	p := m.probabilities(n, worker)
	switch m.Kind {
	case op.MSE:
		return meanSquare(p, t)
	case op.BCE:
		return crossEntropyOfProbabilities(p, t)
	case op.KL:
		return divergence(p, t)
	default:
		return 1 - correlate(p, t).r
	}
}

func meanSquare(p []float64, t []float32) float64 {
	var sum float64
	for i, v := range p {
		d := v - float64(t[i])
		sum += d * d
	}
	return sum / float64(len(p))
}

// crossEntropyOfLogits is the mean of max(x, 0) - x*t + log(1 + exp(-|x|)). The
// logarithms' sum is that of a product, which stays finite over a stretch.
func crossEntropyOfLogits(x, t []float32) float64 {
	const stretch = 1000
	var sum float64
	for from := 0; from < len(x); from += stretch {
		product := 1.0
		for i := from; i < min(from+stretch, len(x)); i++ {
			x := float64(x[i])
			sum += max(x, 0) - x*float64(t[i])
			product *= 1 + math.Exp(-math.Abs(x))
		}
		sum += math.Log(product)
	}
	return sum / float64(len(x))
}

func crossEntropyOfProbabilities(p []float64, t []float32) float64 {
	var sum float64
	for i, v := range p {
		t := float64(t[i])
		sum -= t*math.Max(math.Log(v), -100) + (1-t)*math.Max(math.Log1p(-v), -100)
	}
	return sum / float64(len(p))
}

func divergence(p []float64, t []float32) float64 {
	ps, ts := densityOf(p), densityOf(t)
	var sum float64
	for i, v := range p {
		if u := ts.of(float64(t[i])); u != 0 {
			sum += u * math.Log(klEpsilon+u/(ps.of(v)+klEpsilon))
		}
	}
	return sum
}

// density scales a map to sum 1: (value + offset) * scale.
type density struct{ total, offset, scale float64 }

func (d density) of(v float64) float64 { return (v + d.offset) * d.scale }

func densityOf[T float32 | float64](p []T) density {
	var d density
	for _, v := range p {
		d.total += float64(v)
	}
	d.scale = 1 / d.total
	if d.total == 0 {
		d.offset, d.scale = 1, 1/float64(len(p))
	}
	return d
}

// gradient leaves scale times the distance's gradient by the prediction in d.
// Slopes is room for a map.
func (m *maps) gradient(d []float32, slopes, p []float64, t []float32, scale float64) {
	switch {
	case m.Kind == op.MSE:
		meanSquareSlopes(slopes, p, t)
	case m.Kind == op.BCE && m.Logits:
		for i, v := range p {
			d[i] = float32(scale * (v - float64(t[i])) / float64(len(p)))
		}
		return
	case m.Kind == op.BCE:
		crossEntropySlopes(slopes, p, t)
	case m.Kind == op.KL:
		divergenceSlopes(slopes, p, t)
	default:
		correlationSlopes(slopes, p, t)
	}
	for i, v := range p {
		s := scale * slopes[i]
		if m.Logits {
			s *= v * (1 - v)
		}
		d[i] = float32(s)
	}
}

func meanSquareSlopes(slopes, p []float64, t []float32) {
	for i, v := range p {
		slopes[i] = 2 * (v - float64(t[i])) / float64(len(p))
	}
}

func crossEntropySlopes(slopes, p []float64, t []float32) {
	for i, v := range p {
		slopes[i] = (v - float64(t[i])) / math.Max(v*(1-v), 1e-12) / float64(len(p))
	}
}

func divergenceSlopes(slopes, p []float64, t []float32) {
	ps, ts := densityOf(p), densityOf(t)
	clear(slopes)
	if ps.total == 0 {
		return
	}
	var common float64
	for i, v := range p {
		if u := ts.of(float64(t[i])); u != 0 {
			q := ps.of(v)
			slopes[i] = -u * u / (klEpsilon*(q+klEpsilon) + u) / (q + klEpsilon)
			common += slopes[i] * q
		}
	}
	for i := range slopes {
		slopes[i] = (slopes[i] - common) / ps.total
	}
}

func correlationSlopes(slopes, p []float64, t []float32) {
	c := correlate(p, t)
	clear(slopes)
	if c.spread == 0 {
		return
	}
	for i, v := range p {
		slopes[i] = c.r*(v-c.meanP)/c.squaresP - (float64(t[i])-c.meanT)/c.spread
	}
}

// correlation is Pearson's; spread is its denominator, and where that is zero so
// is the correlation.
type correlation struct{ r, meanP, meanT, squaresP, spread float64 }

func correlate(p []float64, t []float32) correlation {
	var c correlation
	firstP, firstT := p[0], float64(t[0]) // so that the mean of a constant map is exact
	for i, v := range p {
		c.meanP += v - firstP
		c.meanT += float64(t[i]) - firstT
	}
	n := float64(len(p))
	c.meanP = firstP + c.meanP/n
	c.meanT = firstT + c.meanT/n
	var squaresT, product float64
	for i, v := range p {
		a, b := v-c.meanP, float64(t[i])-c.meanT
		c.squaresP += a * a
		squaresT += b * b
		product += a * b
	}
	c.spread = math.Sqrt(c.squaresP * squaresT)
	if c.spread != 0 {
		c.r = product / c.spread
	}
	return c
}
