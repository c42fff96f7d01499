package metric

import "math"

// epsilon keeps logarithm and quotient of KL finite, as in the MIT/Tuebingen
// saliency benchmark.
const epsilon = 2.2204e-16

// CC is Pearson's correlation of two maps of equally many pixels, in [-1, 1]:
//
//	sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)² sum (b - mean b)²)
//
// It is NaN if either map is constant, where pysaliency's CC is 0 if only a is.
func CC(a, b []float32) float64 { return pearson(a, b) }

// SIM is the mass that two maps share when each is scaled to sum 1, in [0, 1]:
// sum min(a, b). As in pysaliency's SIM, a map with negative values is first
// lifted to a minimum of 0, and one that sums to 0 counts as uniform.
func SIM(a, b []float32) float64 {
	pair(len(a), len(b))
	if len(a) == 0 {
		return math.NaN()
	}
	p, q := densityOf(a), densityOf(b)
	var sum float64
	for i := range a {
		sum += min(p.at(i), q.at(i))
	}
	return sum
}

// KL is the divergence of a predicted map from a human one in nats, with both
// scaled to sum 1 as in SIM:
//
//	sum human log(eps + human / (pred + eps)),  eps = 2.2204e-16
//
// 0 is agreement; a human mark where nothing was predicted costs up to 36 nats.
// Source: pysaliency's MIT_KLDiv.
func KL(pred, human []float32) float64 {
	pair(len(pred), len(human))
	if len(pred) == 0 {
		return math.NaN()
	}
	p, q := densityOf(pred), densityOf(human)
	var sum float64
	for i := range pred {
		if h := q.at(i); h != 0 {
			sum += h * math.Log(epsilon+h/(p.at(i)+epsilon))
		}
	}
	return sum
}

// density is a map as a probability of each pixel: (value + offset) * scale.
type density struct {
	values        []float32
	offset, scale float64
}

func (d density) at(i int) float64 { return (float64(d.values[i]) + d.offset) * d.scale }

func densityOf(values []float32) density {
	d := density{values: values}
	var sum, low float64
	for _, v := range values {
		sum += float64(v)
		low = min(low, float64(v))
	}
	n := float64(len(values))
	d.offset = -low
	if sum -= n * low; sum == 0 {
		d.offset, sum = d.offset+1, n
	}
	d.scale = 1 / sum
	return d
}

// MSE is the mean squared difference of two maps as they are, without scaling.
func MSE(a, b []float32) float64 {
	pair(len(a), len(b))
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return sum / float64(len(a))
}

// MapAUC is the [AUC] of a map's values as a detector of the pixels that a human
// marked with at least the threshold. It is NaN if all pixels or none are.
func MapAUC(pred, human []float32, threshold float64) float64 {
	pair(len(pred), len(human))
	scores, marked := make([]float64, len(pred)), make([]bool, len(pred))
	for i, v := range pred {
		scores[i], marked[i] = float64(v), float64(human[i]) >= threshold
	}
	return AUC(scores, marked)
}
