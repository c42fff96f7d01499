package cyborg

import (
	"math"
	"testing"
)

func TestAlphaFollowsItsSchedule(t *testing.T) {
	for _, c := range []struct {
		schedule string
		want     [5]float64 // of five steps
	}{
		{"", [5]float64{0.2, 0.2, 0.2, 0.2, 0.2}},
		{"fixed", [5]float64{0.2, 0.2, 0.2, 0.2, 0.2}},
		{"linear", [5]float64{0.2, 0.4, 0.6, 0.8, 1}},
		{"adaptive", [5]float64{}}, // found by the step
		{"cosine", [5]float64{0.2, 0.2 + 0.4*(1-math.Sqrt2/2), 0.6, 0.2 + 0.4*(1+math.Sqrt2/2), 1}},
	} {
		cfg := Config{Alpha: 0.2, AlphaEnd: 1, AlphaSchedule: c.schedule}
		for step, want := range c.want {
			if got := cfg.alpha(step, len(c.want)); math.Abs(got-want) > 1e-12 {
				t.Errorf("schedule %q, step %d: alpha %v, want %v", c.schedule, step, got, want)
			}
		}
	}
}

func TestAScheduleToOrFromOneStillGuides(t *testing.T) {
	for c, want := range map[[2]float64]bool{{1, 0.5}: true, {0.5, 1}: true, {1, 1}: false} {
		if got := (Config{Alpha: c[0], AlphaEnd: c[1], AlphaSchedule: "linear"}).guides(); got != want {
			t.Errorf("from %v to %v: guides %v, want %v", c[0], c[1], got, want)
		}
	}
}

func TestMapsAreNeededWhereTheyGuideOrBlur(t *testing.T) {
	for _, c := range []struct {
		cfg           Config
		guides, needs bool
	}{
		{Config{Alpha: 1}, false, false},
		{Config{Alpha: 1, Blur: 1}, false, true},
		{Config{Alpha: 1, AlphaSchedule: "adaptive"}, true, true},
		{Config{Alpha: 1, AlphaEnd: 0.5}, false, false},
	} {
		if c.cfg.guides() != c.guides || c.cfg.needsMaps() != c.needs {
			t.Errorf("%+v: guides %t, needs maps %t", c.cfg, c.cfg.guides(), c.cfg.needsMaps())
		}
	}
}

func TestAScheduledAlphaOfOneValueIsAFixedOne(t *testing.T) {
	cfg := tiny()
	cfg.Epochs = 2
	cfg.Alpha, cfg.AlphaEnd = 0.3, 0.3
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	fixed := trained(t, cfg, d, Combined, 0)
	cfg.AlphaSchedule = "cosine"
	if err := sameWeights(trained(t, cfg, d, Combined, 0), fixed); err != nil {
		t.Error(err)
	}
	cfg.AlphaEnd = 0.9
	if sameWeights(trained(t, cfg, d, Combined, 0), fixed) == nil {
		t.Error("alpha rises, and the weights are those of a fixed one")
	}
}

func TestADiscountChangesOnlyWhatPredictedMapsGuide(t *testing.T) {
	cfg := tiny()
	cfg.Epochs = 1
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	discounted := cfg
	discounted.Discount = 1
	for arm, same := range map[Arm]bool{None: true, Human: true, Full: true, Combined: false, Predicted: false, Shuffled: false, Mean: false, Inverted: false} {
		if got := sameWeights(trained(t, cfg, d, arm, 0), trained(t, discounted, d, arm, 0)) == nil; got != same {
			t.Errorf("arm %s: the weights are the same: %v, want %v", arm, got, same)
		}
	}
	combined, human := trained(t, discounted, d, Combined, 0), trained(t, cfg, d, Human, 0)
	if err := sameWeights(combined, human); err != nil {
		t.Errorf("without the predicted maps combined is not human: %v", err)
	}
}

func TestTheHistoryHasTheMeanAlphaOfTheGuidedImages(t *testing.T) {
	constant := func(alpha float64) func(int, Point) float64 { return func(int, Point) float64 { return alpha } }
	for name, c := range map[string]struct {
		arm    Arm
		change func(*Config)
		want   func(epoch int, p Point) float64
	}{
		"fixed":          {HumanSmall, func(*Config) {}, constant(0.2)},
		"linear":         {HumanSmall, func(c *Config) { c.AlphaSchedule = "linear" }, func(epoch int, _ Point) float64 { return []float64{0.2, 0.6, 1}[epoch] }},
		"adaptive":       {HumanSmall, func(c *Config) { c.AlphaSchedule = "adaptive" }, func(_ int, p Point) float64 { return p.TrainCE / (p.TrainCE + p.TrainMap) }},
		"nothing guided": {None, func(*Config) {}, constant(1)},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tiny()
			cfg.Alpha, cfg.AlphaEnd, cfg.Augment = 0.2, 1, Augment{}
			c.change(&cfg)
			d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll) // of human_small a step an epoch
			for epoch, p := range trained(t, cfg, d, c.arm, 0).Summary().History {
				if want := c.want(epoch, p); math.Abs(p.Alpha-want) > 1e-6 {
					t.Errorf("epoch %d: alpha %v, want %v", epoch+1, p.Alpha, want)
				}
			}
		})
	}
}
