package pipeline

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/report"
	"github.com/surrogaze/surrogaze/storage"
)

// String says in plain words how many human maps are enough.
func (c *Curve) String() string {
	human, combined := c.point(c.All, cyborg.Human), c.point(c.All, cyborg.Combined)
	switch {
	case math.IsNaN(float64(human.AUC)):
		return fmt.Sprintf("There is no AUC to compare: it needs labelled images of at least two classes in the %s split.", c.Split)
	case human.Runs < 2:
		return "One seed shows no spread: with two or more (train.seeds) the curve says how many human maps are enough."
	case c.Enough == 0:
		return fmt.Sprintf("No number of human maps is shown to be enough: even with all %d the %s AUC of combined, %s, is not surely within %.3f of that of human, %s (difference %s).",
			c.All, c.Split, number("%.3f", combined.AUC), c.Margin, number("%.3f", human.AUC), combined.difference())
	}
	enough := c.point(c.Enough, cyborg.Combined)
	fewer := ""
	if c.Enough < c.All {
		fewer = fmt.Sprintf(", %.0f %% fewer", 100*(1-float64(c.Enough)/float64(c.All)))
	}
	return fmt.Sprintf("%d of %d human maps are enough%s: with the predicted maps of all other images (combined) they give a %s AUC of %s, where human alone has %s with all %d (difference %s, surely not below %.3f).",
		c.Enough, c.All, fewer, c.Split, number("%.3f", enough.AUC), number("%.3f", human.AUC), c.All, enough.difference(), -c.Margin)
}

// difference is that to human with all maps.
func (x *CurvePoint) difference() string {
	return number("%+.3f", x.Difference) + " " + bounds("%+.3f", x.DifferenceLow, x.DifferenceHigh)
}

// Write writes the curve as a table for people, and what it says.
func (c *Curve) Write(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "human maps\tarm\truns\t%s AUC\tsd\t95%% interval\tto human with %d\t95%% interval\tpredictor CC\tweight\t\n", c.Split, c.All)
	for _, x := range c.Points {
		fmt.Fprintf(tab, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Maps, x.Arm, x.Runs,
			number("%.3f", x.AUC), number("%.3f", x.SD), bounds("%.3f", x.Low, x.High),
			number("%+.3f", x.Difference), bounds("%+.3f", x.DifferenceLow, x.DifferenceHigh),
			number("%.3f", x.CC), number("%.2f", x.Weight))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", c)
	return err
}

// curveColumns are the columns of curve.csv behind maps, arm and runs.
var curveColumns = []struct {
	name  string
	value func(CurvePoint) Number
}{
	{"auc", func(x CurvePoint) Number { return x.AUC }},
	{"sd", func(x CurvePoint) Number { return x.SD }},
	{"low", func(x CurvePoint) Number { return x.Low }},
	{"high", func(x CurvePoint) Number { return x.High }},
	{"to_human_all", func(x CurvePoint) Number { return x.Difference }},
	{"to_human_all_low", func(x CurvePoint) Number { return x.DifferenceLow }},
	{"to_human_all_high", func(x CurvePoint) Number { return x.DifferenceHigh }},
	{"to_human_all_p", func(x CurvePoint) Number { return x.P }},
	{"predictor_cc", func(x CurvePoint) Number { return x.CC }},
	{"mean_map_cc", func(x CurvePoint) Number { return x.MeanMap }},
	{"predicted_weight", func(x CurvePoint) Number { return x.Weight }},
}

// writeCurve writes curve.csv and curve.html.
func (p *Pipeline) writeCurve(c *Curve) error {
	r, err := p.newCurveReport(c)
	if err != nil {
		return err
	}
	if err := storage.AtomicWrite(p.outPath("curve.csv"), c.writeCSV); err != nil {
		return err
	}
	return storage.AtomicWrite(p.outPath("curve.html"), func(w io.Writer) error { return report.WriteCurve(w, r) })
}

// writeCSV writes one row for each point; a value that is not defined is an empty
// field.
func (c *Curve) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := []string{"maps", "arm", "runs"}
	for _, column := range curveColumns {
		header = append(header, column.name)
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for _, x := range c.Points {
		row := []string{strconv.Itoa(x.Maps), x.Arm, strconv.Itoa(x.Runs)}
		for _, column := range curveColumns {
			row = append(row, field(column.value(x)))
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func (p *Pipeline) newCurveReport(c *Curve) (*report.Curve, error) {
	config, err := p.cfg.YAML()
	if err != nil {
		return nil, err
	}
	on, err := p.predictOptions().Ran()
	if err != nil {
		return nil, err
	}
	r := &report.Curve{
		Name: p.cfg.Name, Split: c.Split, Verdict: c.String(), All: c.All, Margin: c.Margin,
		Making: report.Making{Command: p.options.Command, Config: string(config), Facts: p.facts(on)},
	}
	for _, x := range c.Points {
		point := newReportPoint(x)
		point.Enough = x.Maps == c.Enough && x.Arm == string(cyborg.Combined)
		r.Points = append(r.Points, point)
	}
	return r, nil
}

func newReportPoint(x CurvePoint) report.CurvePoint {
	return report.CurvePoint{
		Maps: x.Maps, Arm: x.Arm, Runs: x.Runs, SD: float64(x.SD),
		AUC:        interval(x.AUC, x.Low, x.High),
		Difference: interval(x.Difference, x.DifferenceLow, x.DifferenceHigh), P: float64(x.P),
		CC: float64(x.CC), MeanMap: float64(x.MeanMap), Weight: float64(x.Weight),
	}
}

func interval(mean, low, high Number) metric.Interval {
	return metric.Interval{Mean: float64(mean), Low: float64(low), High: float64(high)}
}
