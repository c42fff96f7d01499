package reference

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// ArgMax is the index of the largest of each row of logits (N, classes), the
// first of equals.
func ArgMax[T Float](n, classes int, class, logits []T) {
	for i := range n {
		row := logits[i*classes : (i+1)*classes]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		class[i] = T(best)
	}
}

// SoftmaxCrossEntropy is -log softmax(logits)[label], one loss (N) for each row
// of logits (N, classes). A label outside [0, classes) counts as none: its loss
// is zero.
func SoftmaxCrossEntropy[T Float](n, classes int, loss, logits, labels []T) {
	for i := range n {
		row, label := logits[i*classes:(i+1)*classes], int(labels[i])
		loss[i] = 0
		if label >= 0 && label < classes {
			loss[i] = T(logSumExp(row) - float64(row[label]))
		}
	}
}

// SoftmaxCrossEntropyBackward is the gradient of [SoftmaxCrossEntropy] by the
// logits: dloss*(softmax - onehot).
func SoftmaxCrossEntropyBackward[T Float](n, classes int, dlogits, dloss, logits, labels []T) {
	for i := range n {
		row, label := logits[i*classes:(i+1)*classes], int(labels[i])
		total := logSumExp(row)
		for k, v := range row {
			d := math.Exp(float64(v) - total)
			if k == label {
				d--
			}
			if label < 0 || label >= classes {
				d = 0
			}
			dlogits[i*classes+k] = T(float64(dloss[i]) * d)
		}
	}
}

func logSumExp[T Float](row []T) float64 {
	high := math.Inf(-1)
	for _, v := range row {
		high = math.Max(high, float64(v))
	}
	var sum float64
	for _, v := range row {
		sum += math.Exp(float64(v) - high)
	}
	return high + math.Log(sum)
}

// WeightedMean is out[0] = sum of values*weights / n.
func WeightedMean[T Float](n int, out, values, weights []T) {
	var sum float64
	for i := range n {
		sum += float64(values[i]) * float64(weights[i])
	}
	out[0] = T(sum / float64(n))
}

// WeightedMeanBackward is the gradient of [WeightedMean] by the values.
func WeightedMeanBackward[T Float](n int, dvalues, dout, weights []T) {
	for i := range n {
		dvalues[i] = T(float64(dout[0]) * float64(weights[i]) / float64(n))
	}
}

// Balance is the weight of each of N samples in the sum of two losses, first and
// second (N), of which the second counts by weight (N), 0 where there is none:
//
//	alpha = sum of weight*first / sum of weight*(first+second)
//
// All weigh alpha in the first, and (1-alpha)*weight in the second. Where that sum is
// zero, alpha is 1.
func Balance[T Float](n int, ofSecond bool, weights, first, second, weight []T) {
	var a, b float64
	for i := range n {
		a += float64(weight[i]) * float64(first[i])
		b += float64(weight[i]) * float64(second[i])
	}
	alpha := 1.0
	if a+b != 0 {
		alpha = a / (a + b)
	}
	for i := range n {
		weights[i] = T(alpha)
		if ofSecond {
			weights[i] = T((1 - alpha) * float64(weight[i]))
		}
	}
}

// Contrast is each of the rows of w (classes, n) less the mean of the others. It is
// its own gradient.
func Contrast[T Float](classes, n int, y, w []T) {
	for k := range classes {
		for i := range n {
			var others float64
			for j := range classes {
				if j != k {
					others += float64(w[j*n+i])
				}
			}
			y[k*n+i] = T(float64(w[k*n+i]) - others/float64(classes-1))
		}
	}
}

// CAM is the class activation map of [op.CAM]: f (N, C, H, W), w (Classes, C),
// class (N), cam (N, 1, H, W). A constant map, and that of a class outside
// [0, Classes), is zeros.
func CAM[T Float](g op.CAM, cam, f, w, class []T) {
	plane := g.Features.H * g.Features.W
	for n := range g.Features.N {
		m := rawCAM(g, n, f, w, class)
		for p := range plane {
			cam[n*plane+p] = 0
			if m.span > 0 {
				cam[n*plane+p] = T((m.raw[p] - m.raw[m.low]) / m.span)
			}
		}
	}
}

type rawMap struct {
	class     int
	raw       []float64
	low, high int // first positions of the minimum and the maximum
	span      float64
}

func rawCAM[T Float](g op.CAM, n int, f, w, class []T) rawMap {
	s := g.Features
	m := rawMap{class: int(class[n]), raw: make([]float64, s.H*s.W)}
	if m.class < 0 || m.class >= g.Classes {
		return m
	}
	for p := range m.raw {
		for c := range s.C {
			m.raw[p] += float64(w[m.class*s.C+c]) * float64(f[(n*s.C+c)*s.H*s.W+p])
		}
		if m.raw[p] < m.raw[m.low] {
			m.low = p
		}
		if m.raw[p] > m.raw[m.high] {
			m.high = p
		}
	}
	m.span = m.raw[m.high] - m.raw[m.low]
	return m
}

// gradient is that of the unscaled map: the scaling's minimum and maximum pass
// their share to the first positions that have them.
func (m rawMap) gradient(dcam []float64) []float64 {
	d := make([]float64, len(m.raw))
	if !(m.span > 0) {
		return d
	}
	var low, high float64
	for p, g := range dcam {
		cam := (m.raw[p] - m.raw[m.low]) / m.span
		d[p] = g / m.span
		low += g * (cam - 1) / m.span
		high -= g * cam / m.span
	}
	d[m.low] += low
	d[m.high] += high
	return d
}

// CAMBackwardFeatures is the gradient of [CAM] by f.
func CAMBackwardFeatures[T Float](g op.CAM, df, dcam, f, w, class []T) {
	s := g.Features
	for n := range s.N {
		m, d := camGradient(g, n, dcam, f, w, class)
		for c := range s.C {
			for p := range d {
				df[(n*s.C+c)*s.H*s.W+p] = 0
				if m.span > 0 {
					df[(n*s.C+c)*s.H*s.W+p] = T(d[p] * float64(w[m.class*s.C+c]))
				}
			}
		}
	}
}

// CAMBackwardWeights is the gradient of [CAM] by w.
func CAMBackwardWeights[T Float](g op.CAM, dw, dcam, f, w, class []T) {
	s := g.Features
	acc := make([]float64, len(dw))
	for n := range s.N {
		m, d := camGradient(g, n, dcam, f, w, class)
		if !(m.span > 0) {
			continue
		}
		for c := range s.C {
			for p := range d {
				acc[m.class*s.C+c] += d[p] * float64(f[(n*s.C+c)*s.H*s.W+p])
			}
		}
	}
	narrow(dw, acc)
}

func camGradient[T Float](g op.CAM, n int, dcam, f, w, class []T) (rawMap, []float64) {
	m := rawCAM(g, n, f, w, class)
	return m, m.gradient(widen(dcam[n*len(m.raw) : (n+1)*len(m.raw)]))
}

func widen[T Float](src []T) []float64 {
	dst := make([]float64, len(src))
	for i, v := range src {
		dst[i] = float64(v)
	}
	return dst
}
