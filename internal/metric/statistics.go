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

// Interval is an estimate and where its true value lies with 95 % confidence.
type Interval struct{ Mean, Low, High float64 }

// Difference is a mean difference and how probable one at least so far from 0 would
// be if there were none: P of the two-sided test, in [0, 1].
type Difference struct {
	Interval
	P float64
}

// PairedDifference is the mean of a - b over pairs, such as two ways of training
// with the same seeds, with Student's interval and the paired t-test:
//
//	mean ± t(0.975, n-1) sd / sqrt(n),  P = 2 P(T(n-1) > |mean| / (sd / sqrt(n)))
//
// Both take the differences for normal, which a few pairs cannot show. They hold
// from two pairs on, where the interval is wide: t(0.975, n-1) is 12.7 of two
// pairs, 4.3 of three, 2.8 of five, 2.3 of ten. A test of ranks needs no normal
// differences, but Wilcoxon's cannot fall below 0.05 with fewer than six pairs.
// Low, High and P are NaN of fewer than two pairs; P is, too, if all differences
// are 0.
//
// Source: Student, The probable error of a mean (1908); SciPy's ttest_rel.
func PairedDifference(a, b []float64) Difference {
	pair(len(a), len(b))
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	p := math.NaN()
	if n := float64(len(d)); n > 1 {
		se := SD(d) / math.Sqrt(n)
		if t := math.Abs(mean(d)) / se; !math.IsNaN(t) {
			p = 2 * distuv.StudentsT{Sigma: 1, Nu: n - 1}.Survival(t)
		}
	}
	return Difference{MeanInterval(d), p}
}

// MeanInterval is the mean of values with Student's interval:
//
//	mean ± t(0.975, n-1) sd / sqrt(n)
//
// Low and High are NaN of fewer than two values, all is of none.
func MeanInterval(values []float64) Interval {
	m, half := mean(values), math.NaN()
	if n := float64(len(values)); n > 1 {
		half = distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * SD(values) / math.Sqrt(n)
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
