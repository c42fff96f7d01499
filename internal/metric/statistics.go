package metric

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Mean is the arithmetic mean; NaN of no values.
func Mean(values []float64) float64 { return mean(values) }

// SD is the standard deviation of a sample, with n-1 in the denominator; NaN of
// fewer than two values.
func SD(values []float64) float64 {
	if len(values) < 2 {
		return math.NaN()
	}
	m := mean(values)
	var squares float64
	for _, v := range values {
		squares += (v - m) * (v - m)
	}
	return math.Sqrt(squares / float64(len(values)-1))
}

// Interval is a mean and where it lies with 95 % confidence.
type Interval struct{ Mean, Low, High float64 }

// PairedDifference is the mean of a - b over pairs, such as two ways of training
// with the same seeds, with Student's interval
//
//	mean ± t(0.975, n-1) sd / sqrt(n).
//
// Low and High are NaN of fewer than two pairs.
func PairedDifference(a, b []float64) Interval {
	pair(len(a), len(b))
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	m, half := mean(d), math.NaN()
	if n := float64(len(d)); n > 1 {
		half = distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * SD(d) / math.Sqrt(n)
	}
	return Interval{m, m - half, m + half}
}

// Spearman is the correlation of the ranks of a and b, where equal values share
// the mean of their ranks, in [-1, 1]. It is NaN if either is constant.
func Spearman(a, b []float64) float64 {
	pair(len(a), len(b))
	if slices.ContainsFunc(a, math.IsNaN) || slices.ContainsFunc(b, math.IsNaN) {
		return math.NaN()
	}
	return pearson(ranks(a), ranks(b))
}

// ranks count from 1.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(values[i], values[j]) })
	ranks := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = float64(from+1+to) / 2
		}
		from = to
	}
	return ranks
}
