// Package metric measures classifiers and saliency maps: ROC curves and what
// follows from them, the errors of presentation attack detection, calibration, the
// agreement of maps, and the few statistics by which runs are compared.
//
// Slices that belong together must be equally long; a function panics if they
// are not. All sums are in float64. A measure that its operands do not define
// is NaN, and so is one of operands that hold a NaN unless the function says
// otherwise.
package metric

import (
	"fmt"
	"math"
)

// pair panics unless two operands are equally long.
func pair(a, b int) {
	if a != b {
		panic(fmt.Sprintf("metric: operands of %d and %d values, want as many of both", a, b))
	}
}

// pearson is the correlation of a and b, NaN if either is constant.
func pearson[T float32 | float64](a, b []T) float64 {
	pair(len(a), len(b))
	meanA, meanB := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i])-meanA, float64(b[i])-meanB
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return math.NaN()
	}
	return min(max(ab/(math.Sqrt(aa)*math.Sqrt(bb)), -1), 1)
}

// mean is NaN of nothing. The mean of equal values is that value, to the bit.
func mean[T float32 | float64](values []T) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	var sum float64
	first := float64(values[0])
	for _, v := range values {
		sum += float64(v) - first
	}
	return first + sum/float64(len(values))
}
