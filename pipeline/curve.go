package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
)

// AllMaps among the numbers of human maps to try stands for as many as the
// configuration allows.
const AllMaps = 0

// CurveOptions say what an annotation curve tries.
type CurveOptions struct {
	Options
	// Maps are the numbers of human maps to try, in any order. AllMaps is always tried;
	// a number above it is left out with a warning.
	Maps []int
	// Margin is how much lower than with all human maps an AUC may be and still count
	// as reached.
	Margin float64
}

// Curve is the annotation curve: what more and more human maps give, alone and with
// predicted maps for all other images.
type Curve struct {
	Out    string // folder of curve.csv and curve.html
	Split  string // that the AUC is of
	All    int    // human maps that the configuration allows
	Margin float64
	// Points are none, without maps, then human and combined for every number of maps
	// in rising order. Where classifiers start from the predictor's encoder, none has
	// a point for every number too.
	Points []CurvePoint
	// Enough is the smallest number of human maps down from all of them with which
	// combined is not inferior to human with all; 0 if it is not even with all.
	Enough int
}

// CurvePoint is what an arm reaches with a number of human maps. Numbers that are not
// defined are NaN.
type CurvePoint struct {
	Maps int // 0 where none have an effect
	Arm  string
	Runs int
	// AUC is the mean over the runs, SD their standard deviation, Low to High the 95 %
	// interval of the mean.
	AUC, SD, Low, High Number
	// Difference is the mean difference of the AUC to human with all maps, seed by
	// seed, with its 95 % interval and P of the paired t-test.
	Difference, DifferenceLow, DifferenceHigh, P Number
	// CC and MeanMap are the mean correlations of the predicted and of the mean map with
	// held-out human maps, Weight is that of the predicted maps in the loss; of
	// combined alone.
	CC, MeanMap, Weight Number

	aucs perSeed
}

// AnnotationCurve runs a configuration with several numbers of human maps, up to the
// evaluation, and compares what they give. Artefacts are shared with runs of the same
// store, and what is there already is not made again: a call whose context ended goes
// on where it was.
//
// The numbers' human maps hold each other: 4 are among the 8. The data of each number
// are laid out in a folder of their own.
func AnnotationCurve(ctx context.Context, cfg *Config, o CurveOptions) (*Curve, error) {
	c := &curve{cfg: cfg, options: o, out: filepath.Join(cfg.OutDir(), "curve")}
	found, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("curve: %w", classify(ctx, err))
	}
	return found, nil
}

// curve is one under way.
type curve struct {
	cfg     *Config
	options CurveOptions
	out     string
}

func (c *curve) run(ctx context.Context) (found *Curve, err error) {
	base, err := New(c.config(c.cfg.Data.Annotated.HumanMaps, c.out, cyborg.None, cyborg.Human, cyborg.Combined), c.options.Options)
	if err != nil {
		return nil, err
	}
	if err := base.openOut(); err != nil {
		return nil, err
	}
	defer func() {
		if closed := base.closeOut(); closed != nil {
			err = errors.Join(err, closed)
		}
	}()
	all, err := base.usableMaps(ctx)
	if err != nil {
		return nil, err
	}
	found = &Curve{Out: c.out, Split: c.cfg.Evaluate.Split, All: all, Margin: c.options.Margin}
	levels, beyond := levels(c.options.Maps, all)
	for _, n := range beyond {
		base.events.of(StageIngest).warn(fmt.Sprintf("%d human maps are left out of the curve: there are %d to be used", n, all))
	}
	for _, n := range levels {
		points, err := c.level(ctx, n, all, base.prints)
		if err != nil {
			return nil, fmt.Errorf("%d human maps: %w", n, err)
		}
		found.Points = append(found.Points, points...)
	}
	found.compare()
	return found, base.writeCurve(found)
}

// config is the configuration with a number of human maps and another folder.
func (c *curve) config(maps int, out string, arms ...cyborg.Arm) *Config {
	cfg := *c.cfg
	cfg.Store, cfg.Out = c.cfg.StoreDir(), out
	cfg.Data.Annotated.HumanMaps = maps
	cfg.Train.Arms = nil
	for _, arm := range arms {
		cfg.Train.Arms = append(cfg.Train.Arms, string(arm))
	}
	return &cfg
}

// usableMaps is the number of human maps that the configuration allows.
func (p *Pipeline) usableMaps(ctx context.Context) (int, error) {
	r, err := p.recipes(ctx)
	if err != nil {
		return 0, err
	}
	parts, err := p.curveParts(r)
	if err != nil {
		return 0, err
	}
	if err := p.claimOut(parts); err != nil {
		return 0, err
	}
	in, err := p.ingest(ctx, r.ingest)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", StageIngest, err)
	}
	if len(in.chosen) == 0 {
		return 0, withStrays(dataError(ctx, errNoMaps), in.set)
	}
	return len(in.chosen), nil
}

// levels are the wanted numbers of maps and all, in rising order, and the numbers above
// it.
func levels(wanted []int, all int) (levels, beyond []int) {
	levels = []int{all}
	for _, n := range wanted {
		switch {
		case n > all:
			beyond = append(beyond, n)
		case n != AllMaps:
			levels = append(levels, n)
		}
	}
	slices.Sort(levels)
	slices.Sort(beyond)
	return slices.Compact(levels), slices.Compact(beyond)
}

// learnt reports whether even the arm none has something of the human maps: the
// encoder of the predictor that was fitted on them.
func (c *curve) learnt() bool { return c.cfg.Classifier.Pretrained == ownEncoder }

// level runs the arms with n of all human maps; ordinary training once, unless maps have
// an effect on it.
func (c *curve) level(ctx context.Context, n, all int, prints *fingerprints) ([]CurvePoint, error) {
	arms, maps := []cyborg.Arm{cyborg.Human, cyborg.Combined}, n
	if n == all {
		maps = c.cfg.Data.Annotated.HumanMaps // as a plain run has it
	}
	if n == all || c.learnt() {
		arms = append(arms, cyborg.None)
	}
	p, err := New(c.config(maps, filepath.Join(c.out, "maps-"+strconv.Itoa(n)), arms...), c.options.with(n))
	if err != nil {
		return nil, err
	}
	p.prints = prints // of the same data
	r, err := p.Run(ctx, StageEvaluate)
	if err != nil {
		return nil, err
	}
	var points []CurvePoint
	for _, row := range r.Table.Arms {
		maps := n
		if row.Arm == string(cyborg.None) && !c.learnt() {
			maps = 0
		}
		points = append(points, newCurvePoint(maps, row, r))
	}
	return points, nil
}

// with are the options of a run whose events say that it is the one with n maps.
func (o CurveOptions) with(n int) Options {
	options := o.Options
	if o.Observe != nil {
		options.Observe = func(e Event) {
			e.Text = fmt.Sprintf("%d maps: %s", n, e.Text)
			o.Observe(e)
		}
	}
	return options
}

func newCurvePoint(maps int, row Row, r *Result) CurvePoint {
	interval, undefined := metric.MeanInterval(row.aucs.list()), Number(nan())
	x := CurvePoint{
		Maps: maps, Arm: row.Arm, Runs: row.Runs, aucs: row.aucs,
		AUC: row.AUC, SD: row.SD, Low: Number(interval.Low), High: Number(interval.High),
		CC: undefined, MeanMap: undefined, Weight: undefined,
	}
	if x.Arm == string(cyborg.Combined) {
		held := r.Predictor.HeldOut()
		x.CC, x.MeanMap, x.Weight = Number(held.Predictor.CC.Mean), Number(held.MeanMap.CC.Mean), Number(r.Trust.Weight)
	}
	return x
}

// compare orders the points, finds their differences to human with all maps, and how
// many maps are enough.
func (c *Curve) compare() {
	slices.SortStableFunc(c.Points, func(a, b CurvePoint) int { return a.Maps - b.Maps })
	ceiling := c.point(c.All, cyborg.Human).aucs
	for i := range c.Points {
		x := &c.Points[i]
		d := x.aucs.minus(ceiling)
		x.Difference, x.DifferenceLow, x.DifferenceHigh, x.P = Number(d.Mean), Number(d.Low), Number(d.High), Number(d.P)
	}
	c.Enough = c.enough()
}

// enough tests the numbers of maps from all downwards, and stops at the first with
// which combined may be inferior: the lower end of its interval is at the margin or
// below. In this fixed order the chance of a wrong claim is that of one test, 2.5 %.
func (c *Curve) enough() int {
	enough := 0
	for _, x := range slices.Backward(c.Points) {
		if x.Arm != string(cyborg.Combined) {
			continue
		}
		if !(float64(x.DifferenceLow) > -c.Margin) {
			break
		}
		enough = x.Maps
	}
	return enough
}

func (c *Curve) point(maps int, arm cyborg.Arm) *CurvePoint {
	for i, x := range c.Points {
		if x.Maps == maps && x.Arm == string(arm) {
			return &c.Points[i]
		}
	}
	return nil
}
