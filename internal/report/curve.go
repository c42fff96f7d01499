package report

import (
	"bytes"
	_ "embed" // the page's template
	"fmt"
	"html/template"
	"io"
	"strconv"

	"gonum.org/v1/plot"

	"github.com/surrogaze/surrogaze/internal/metric"
)

// Curve is what more and more human maps gave. A number that is unknown is NaN and
// shown as a dash.
type Curve struct {
	Name    string  // of the run
	Split   string  // that the AUC is of: test or val
	Verdict string  // how many human maps are enough, in plain words
	All     int     // human maps that there were to be used
	Margin  float64 // how much lower an AUC may be and still count as reached
	Points  []CurvePoint
	Making  Making
}

// CurvePoint is what an arm reached with a number of human maps.
type CurvePoint struct {
	Maps int
	Arm  string
	Runs int
	AUC  metric.Interval // of the mean over the runs
	SD   float64         // of the runs
	// Difference is the AUC's to that of human with all maps, over pairs of runs, P that
	// of the paired t-test.
	Difference metric.Interval
	P          float64
	// Enough reports whether the verdict is that these maps are enough.
	Enough bool
	// CC and MeanMap are the correlations of the predicted and of the mean map with human
	// maps held out, Weight is that of predicted maps in the loss.
	CC, MeanMap, Weight float64
}

//go:embed curve.html
var curveHTML string

var curveTemplate = template.Must(template.Must(tmpl.Clone()).New("curve").Parse(curveHTML))

// curvePage is what the template shows.
type curvePage struct {
	*Curve
	Arms     []arm
	Rows     []curveRow
	Figures  []figure
	Glossary []Fact
}

// curveRow is a row of the table.
type curveRow struct {
	CurvePoint
	Name, Line string // of the arm
	Colour     int
	Reached    string
}

// WriteCurve writes the curve as an HTML file.
func WriteCurve(w io.Writer, c *Curve) error {
	var b bytes.Buffer
	if err := curveTemplate.ExecuteTemplate(&b, "curve", newCurvePage(c)); err != nil {
		return fmt.Errorf("write the curve: %w", err)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write the curve: %w", err)
	}
	return nil
}

func newCurvePage(c *Curve) *curvePage {
	p := &curvePage{Curve: c}
	lines := curveLines(c.Points)
	for _, l := range lines {
		p.Arms = append(p.Arms, arm{Name: l.name, Colour: l.colour, Line: l.line.String()})
		if l.meaning != "" {
			p.Glossary = append(p.Glossary, Fact{l.name, l.meaning})
		}
	}
	for _, x := range c.Points {
		colour, info := armOf(x.Arm, 0)
		p.Rows = append(p.Rows, curveRow{x, info.name, info.line.String(), colour, meanSD(stat{x.AUC.Mean, x.SD, x.Runs})})
	}
	p.Figures = []figure{
		{"AUC by human maps", "Mean over the runs with its 95 % interval. The level line is training without maps; the dotted one is human with all maps less the margin.", curveChart(c, lines)},
		{"Predictor by human maps", "CC with human maps held out: orange, of the predicted maps; grey, of the mean map.", curveFitChart(c.Points)},
	}
	return p
}

// curveLine is an arm with its points.
type curveLine struct {
	armInfo
	colour int
	points []CurvePoint
}

// curveLines gathers the points by arm, in the order in which the arms come first.
func curveLines(points []CurvePoint) []curveLine {
	var lines []curveLine
	at := map[string]int{}
	for _, x := range points {
		i, ok := at[x.Arm]
		if !ok {
			i = len(lines)
			at[x.Arm] = i
			colour, info := armOf(x.Arm, 0)
			lines = append(lines, curveLine{armInfo: info, colour: colour})
		}
		lines[i].points = append(lines[i].points, x)
	}
	return lines
}

// mapsAxis has the numbers of human maps, doubled from step to step.
func mapsAxis(points []CurvePoint) axis {
	const edge = 1.15
	a := axis{label: "human maps, log scale", min: 1, max: 2, log: true, ticks: []plot.Tick{}}
	for _, x := range points {
		if n := float64(x.Maps); n > 0 {
			if len(a.ticks) == 0 {
				a.min = n / edge
			}
			a.max = n * edge
			if k := len(a.ticks); k == 0 || a.ticks[k-1].Value != n {
				a.ticks = append(a.ticks, plot.Tick{Value: n, Label: strconv.Itoa(x.Maps)})
			}
		}
	}
	return a
}

// curveChart shows the AUC of every arm by the number of human maps; an arm without
// maps is level.
func curveChart(c *Curve, lines []curveLine) template.HTML {
	x := mapsAxis(c.Points)
	var bands, curves []drawing
	var values []float64
	for _, l := range lines {
		var mean, low, high, seen []point
		for _, p := range l.points {
			values = append(values, p.AUC.Mean, p.AUC.Low, p.AUC.High)
			for _, at := range p.places(x) {
				mean = append(mean, point{at, p.AUC.Mean})
				low, high = append(low, point{at, p.AUC.Low}), append(high, point{at, p.AUC.High})
			}
			if p.Maps > 0 {
				seen = append(seen, point{float64(p.Maps), p.AUC.Mean})
			}
		}
		bands = append(bands, band(low, high, bandColour(l.colour)))
		curves = append(curves, curve(mean, armColour(l.colour), l.line), dots(seen, 3.6, armColour(l.colour)))
	}
	if least := c.least(); finite(least) {
		values = append(values, least)
		curves = append(curves, segment(point{x.min, least}, point{x.max, least}, 1.2, muted, dotted))
	}
	low, high := span(values...)
	return chart(wide, "AUC by the number of human maps and arm", x, axis{label: before(c.Split) + "AUC", min: max(low, 0), max: min(high, 1.01)},
		append(bands, curves...)...)
}

// least is the lowest AUC that counts as reached: that of human with all maps less the
// margin; NaN where it is not known.
func (c *Curve) least() float64 {
	for _, x := range c.Points {
		if x.Maps == c.All && x.Arm == "human" {
			return x.AUC.Mean - c.Margin
		}
	}
	return nan
}

// places are where on an axis of numbers of maps the point is drawn.
func (x CurvePoint) places(a axis) []float64 {
	if x.Maps == 0 {
		return []float64{a.min, a.max}
	}
	return []float64{float64(x.Maps)}
}

// curveFitChart shows how good the predictors were.
func curveFitChart(points []CurvePoint) template.HTML {
	var predicted, mean []point
	values := []float64{0}
	for _, x := range points {
		if finite(x.CC) {
			predicted = append(predicted, point{float64(x.Maps), x.CC})
			mean = append(mean, point{float64(x.Maps), x.MeanMap})
			values = append(values, x.CC, x.MeanMap)
		}
	}
	low, high := span(values...)
	return chart(wide, "CC of the predicted and of the mean map by the number of human maps", mapsAxis(points),
		axis{label: "CC with human maps held out", min: low, max: min(high, 1.01)},
		curve(mean, muted, solid), dots(mean, 3.6, muted),
		curve(predicted, armColour(predictedColour), solid), dots(predicted, 3.6, armColour(predictedColour)))
}
