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
// marked with at least the threshold. It is NaN if all pixels or none are. A human
// map's NaN is no mark.
func MapAUC(pred, human []float32, threshold float64) float64 {
	pair(len(pred), len(human))
	scores := make([]float64, len(pred))
	for i, v := range pred {
		scores[i] = float64(v)
	}
	return AUC(scores, marks(human, threshold))
}

// marks are the pixels of at least the threshold.
func marks(m []float32, threshold float64) []bool {
	marked := make([]bool, len(m))
	for i, v := range m {
		marked[i] = float64(v) >= threshold
	}
	return marked
}

// IoU is the intersection over union of the pixels that two maps hold at at least
// the threshold, in [0, 1]; 1 is agreement. It is NaN if neither map has any. NaN is
// below any threshold.
//
// Source: Jaccard, The distribution of the flora in the alpine zone (1912).
func IoU(a, b []float32, threshold float64) float64 {
	pair(len(a), len(b))
	both, either := 0, 0
	other := marks(b, threshold)
	for i, marked := range marks(a, threshold) {
		if marked && other[i] {
			both++
		}
		if marked || other[i] {
			either++
		}
	}
	return float64(both) / float64(either)
}

// NSS is the normalised scanpath saliency: the mean of a map, scaled to mean 0 and
// standard deviation 1 (n in the denominator), over the pixels that a human fixated.
// 0 is chance; it has no bounds but those that the number of pixels sets. Fixated
// are the pixels of at least the threshold: with a map of fixations, 1 where there is
// one, any threshold in (0, 1] gives the published measure; a continuous map counts
// as the region in which it reaches the threshold, every pixel once. NSS is NaN of a
// constant map, where pysaliency's is 0, and if no pixel is fixated.
//
// Source: Peters et al., Components of bottom-up gaze allocation in natural images
// (2005); pysaliency's NSS.
func NSS(pred, human []float32, threshold float64) float64 {
	pair(len(pred), len(human))
	m := mean(pred)
	var squares, sum, fixated float64
	marked := marks(human, threshold)
	for i, v := range pred {
		z := float64(v) - m
		squares += z * z
		if marked[i] {
			sum += z
			fixated++
		}
	}
	sd := math.Sqrt(squares / float64(len(pred)))
	if sd == 0 {
		return math.NaN()
	}
	return sum / fixated / sd
}

// Entropy is how widely a map spreads, in nats: with the map scaled to sum 1 as in
// [SIM],
//
//	-sum p log p
//
// from 0 for one pixel to log n for n equal ones; a map that sums to 0 counts as
// uniform. NaN of no pixels.
//
// Source: Shannon, A mathematical theory of communication (1948).
func Entropy(m []float32) float64 {
	if len(m) == 0 {
		return math.NaN()
	}
	var sum float64
	p := densityOf(m)
	for i := range m {
		if v := p.at(i); v != 0 {
			sum -= v * math.Log(v)
		}
	}
	return sum
}
