package report

import (
	"fmt"
	"html/template"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/surrogaze/surrogaze/internal/metric"
)

var nan = math.NaN()

// rows is the axis of plots with one row an arm, the first on top.
func rows(arms []summary) axis {
	a := axis{min: -0.5, max: float64(len(arms)) - 0.5, ticks: []plot.Tick{}, rows: len(arms)}
	for i, s := range arms {
		a.ticks = append(a.ticks, plot.Tick{Value: row(arms, i), Label: shorten(s.name)})
	}
	return a
}

func row(arms []summary, i int) float64 { return float64(len(arms) - 1 - i) }

// shorten keeps a long name from squeezing the plot that it labels.
func shorten(name string) string {
	const most = 14
	r := []rune(name)
	if len(r) > most {
		r = append(r[:most-1], '…')
	}
	return string(r)
}

// runsChart shows the AUC of every run as a dot and the mean of each arm as a
// bar.
func runsChart(arms []summary, split string) template.HTML {
	var drawings []drawing
	var values []float64
	for i, s := range arms {
		at := row(arms, i)
		var found []point
		for j, r := range s.runs {
			if finite(auc(r)) {
				found = append(found, point{auc(r), at + offset(j, len(s.runs))})
				values = append(values, auc(r))
			}
		}
		if s.auc.n > 0 {
			drawings = append(drawings, segment(point{s.auc.mean, at - 0.36}, point{s.auc.mean, at + 0.36}, 2, ink, solid))
		}
		drawings = append(drawings, dots(found, 3.6, armColour(s.colour)))
	}
	low, high := span(values...)
	return chart(wide, "AUC of every run by arm", axis{label: before(split) + "AUC", min: low, max: min(high, 1.01)}, rows(arms), drawings...)
}

// offset spreads n dots of a row over its height, the first on top.
func offset(i, n int) float64 {
	if n < 2 {
		return 0
	}
	return 0.25 - 0.5*float64(i)/float64(n-1)
}

// differenceChart shows the differences to the arm none with their intervals.
func differenceChart(arms []summary) template.HTML {
	var compared []summary
	values := []float64{0}
	for _, s := range arms {
		if s.pairs > 0 {
			compared = append(compared, s)
			values = append(values, s.difference.Mean, s.difference.Low, s.difference.High)
		}
	}
	low, high := span(values...)
	y := rows(compared)
	drawings := []drawing{segment(point{0, y.min}, point{0, y.max}, 1.2, muted, solid)}
	for i, s := range compared {
		d, at, c := s.difference, row(compared, i), armColour(s.colour)
		if finite(d.Low) {
			drawings = append(drawings, segment(point{d.Low, at}, point{d.High, at}, 2.4, c, solid))
		}
		drawings = append(drawings, dots([]point{{d.Mean, at}}, 4.4, c))
	}
	return chart(wide, "difference of the AUC to the arm none with its 95 % interval",
		axis{label: "AUC above none, mean and 95 % interval", min: low, max: high}, y, drawings...)
}

// hasROC reports whether any run has a curve.
func hasROC(arms []summary) bool {
	for _, s := range arms {
		for _, r := range s.runs {
			if len(r.ROC) > 0 {
				return true
			}
		}
	}
	return false
}

// rocChart shows the mean curve of each arm: at each false positive rate the
// mean over the runs of the highest true positive rate.
func rocChart(arms []summary, log bool) template.HTML {
	x := axis{label: "false positive rate", min: 0, max: 1}
	if log {
		x = logRates(arms)
	}
	rates := steps(x)
	drawings := []drawing{curve(chance(rates), muted, dotted)}
	for _, s := range arms {
		drawings = append(drawings, curve(meanROC(s.runs, rates), armColour(s.colour), s.line))
	}
	description := "ROC curves, mean over runs by arm"
	if log {
		description += ", false positive rate on a logarithmic axis"
	}
	return chart(wide, description, x, axis{label: "true positive rate", min: 0, max: 1}, drawings...)
}

func chance(rates []float64) []point {
	line := make([]point, len(rates))
	for i, v := range rates {
		line[i] = point{v, v}
	}
	return line
}

// steps are enough false positive rates for a smooth curve over the axis.
func steps(x axis) []float64 {
	const n = 160
	rates := make([]float64, n+1)
	for i := range rates {
		t := float64(i) / n
		if x.log {
			rates[i] = math.Pow(x.min, 1-t)
		} else {
			rates[i] = t
		}
	}
	return rates
}

// logRates is an axis in decades down to the smallest false positive rate above
// 0.
func logRates(arms []summary) axis {
	const fewest, most = -1, -5
	decade := math.Inf(1)
	for _, s := range arms {
		for _, r := range s.runs {
			for _, p := range r.ROC {
				if p.FPR > 0 {
					decade = min(decade, math.Floor(math.Log10(p.FPR)))
					break
				}
			}
		}
	}
	decade = max(min(decade, fewest), most)
	a := axis{label: "false positive rate, log scale", min: math.Pow(10, decade), max: 1, log: true}
	for e := decade; e <= 0; e++ {
		a.ticks = append(a.ticks, plot.Tick{Value: math.Pow(10, e), Label: number(math.Pow(10, e), int(-e))})
	}
	return a
}

func meanROC(runs []Run, rates []float64) []point {
	line := make([]point, len(rates))
	for i, rate := range rates {
		line[i] = point{rate, statOf(runs, func(r Run) float64 { return tprAt(r.ROC, rate) }).mean}
	}
	return line
}

// historyChart shows a value of each epoch, the mean over each arm's runs and a
// band of one standard deviation.
func historyChart(arms []summary, label string, value func(Epoch) float64) template.HTML {
	var bands, lines []drawing
	var values []float64
	last := 1.0
	for _, s := range arms {
		mean, low, high := course(s.runs, value)
		for i := range mean {
			values = append(values, low[i].y, high[i].y)
			last = max(last, mean[i].x)
		}
		bands = append(bands, band(low, high, bandColour(s.colour)))
		lines = append(lines, curve(mean, armColour(s.colour), s.line))
	}
	low, high := span(values...)
	return chart(narrow, label+" by epoch, mean over runs by arm", axis{label: "epoch", min: 1, max: max(last, 2)},
		axis{label: label, min: max(low, 0), max: high}, append(bands, lines...)...)
}

// course is the mean of a value over runs by epoch, and one standard deviation
// below and above it.
func course(runs []Run, value func(Epoch) float64) (mean, low, high []point) {
	epochs := 0
	for _, r := range runs {
		epochs = max(epochs, len(r.History))
	}
	for i := range epochs {
		s := statOf(runs, func(r Run) float64 {
			if i >= len(r.History) {
				return nan
			}
			return value(r.History[i])
		})
		sd := s.sd
		if s.n < 2 {
			sd = 0
		}
		x := float64(i + 1)
		mean = append(mean, point{x, s.mean})
		low = append(low, point{x, s.mean - sd})
		high = append(high, point{x, s.mean + sd})
	}
	return mean, low, high
}

// predictedColour is the colour of the arm predicted, and of predicted maps.
const predictedColour = 2

// fitCharts show the course of the predictor's fit: losses and, where validation maps
// judged it, CC.
func fitCharts(p *Predictor) (loss, agreement template.HTML) {
	var train, validation, cc []point
	var losses, ccs []float64
	last := 1.0
	for _, h := range p.History {
		x := float64(h.Step)
		train = append(train, point{x, h.TrainLoss})
		validation = append(validation, point{x, h.Loss})
		cc = append(cc, point{x, h.CC})
		losses = append(losses, h.TrainLoss, h.Loss)
		ccs = append(ccs, h.CC)
		last = max(last, x)
	}
	steps := axis{label: "step", min: 0, max: last}
	low, high := span(losses...)
	kept := float64(p.Best)
	loss = chart(narrow, "loss of the predictor by step", steps, axis{label: "loss", min: max(low, 0), max: high},
		segment(point{kept, max(low, 0)}, point{kept, high}, 1.2, ink, dashed),
		curve(train, muted, solid), curve(validation, armColour(predictedColour), solid))
	low, high = span(ccs...)
	agreement = chart(narrow, "CC of the predictor with the validation maps by step", steps, axis{label: "validation CC", min: low, max: min(high, 1.01)},
		segment(point{kept, low}, point{kept, min(high, 1.01)}, 1.2, ink, dashed),
		curve(cc, armColour(predictedColour), solid))
	return loss, agreement
}

// mostDots is how many points of a scatter plot are drawn.
const mostDots = 1000

// qualityPairs are the images of all checks that have both values.
func qualityPairs(checks []Check) (estimated, found []float64) {
	for _, c := range checks {
		for _, i := range c.Images {
			if finite(i.Quality) && finite(i.CC) {
				estimated, found = append(estimated, i.Quality), append(found, i.CC)
			}
		}
	}
	return estimated, found
}

// qualityChart shows how the estimated quality of predicted maps tells their
// true CC.
func qualityChart(estimated, found []float64) template.HTML {
	stride := (len(found) + mostDots - 1) / mostDots
	var points []point
	for i := 0; i < len(found); i += stride {
		points = append(points, point{estimated[i], found[i]})
	}
	low, high := span(append(append([]float64{}, estimated...), found...)...)
	high = min(high, 1.01)
	description := fmt.Sprintf("estimated quality against true CC of %d images", len(points))
	return chart(narrow, description, axis{label: "estimated CC", min: low, max: high}, axis{label: "true CC", min: low, max: high},
		segment(point{low, low}, point{high, high}, 1.2, muted, dotted),
		dots(points, 2.6, armColour(predictedColour)))
}

// spearman is the rank correlation of the two.
func spearman(estimated, found []float64) float64 {
	if len(found) == 0 {
		return nan
	}
	return metric.Spearman(estimated, found)
}

// histogramChart shows how many predicted maps have which estimated quality.
func histogramChart(h Histogram) template.HTML {
	const width = 2.0 / Bins
	first, most := Bins/2, 0
	for i, n := range h {
		if n > 0 {
			first = min(first, i)
			most = max(most, n)
		}
	}
	bars := func(c draw.Canvas, x, y func(float64) vg.Length) {
		for i, n := range h {
			left := float64(i)*width - 1
			if n > 0 {
				c.FillPolygon(armColour(predictedColour), []vg.Point{
					{X: x(left) + 0.5, Y: y(0)}, {X: x(left+width) - 0.5, Y: y(0)},
					{X: x(left+width) - 0.5, Y: y(float64(n))}, {X: x(left) + 0.5, Y: y(float64(n))},
				})
			}
		}
	}
	return chart(wide, "estimated quality of the predicted maps",
		axis{label: "estimated CC", min: float64(first)*width - 1, max: 1},
		axis{label: "maps", min: 0, max: float64(most) * 1.05}, bars)
}
