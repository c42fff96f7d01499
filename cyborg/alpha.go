package cyborg

import (
	"fmt"
	"math"
)

// Courses of alpha over a training.
const (
	fixedAlpha    = "fixed"    // Alpha
	linearAlpha   = "linear"   // from Alpha to AlphaEnd in a straight line
	cosineAlpha   = "cosine"   // from Alpha to AlphaEnd in half a cosine wave
	adaptiveAlpha = "adaptive" // the share of the cross-entropy in each step's losses
)

func (c Config) validateAlpha() error {
	switch c.AlphaSchedule {
	case "", fixedAlpha, linearAlpha, cosineAlpha, adaptiveAlpha:
	default:
		return fmt.Errorf("schedule of alpha %q: want fixed, linear, cosine or adaptive", c.AlphaSchedule)
	}
	for _, a := range []float64{c.Alpha, c.AlphaEnd} {
		if !(a >= 0 && a <= 1) {
			return fmt.Errorf("alpha %v: want 0 to 1", a)
		}
	}
	return nil
}

// alpha is the weight of the cross-entropy in a step of so many. Where it is adaptive
// the step itself finds it, and this is zero.
func (c Config) alpha(step, steps int) float64 {
	done := float64(step) / float64(max(steps-1, 1))
	switch c.AlphaSchedule {
	case adaptiveAlpha:
		return 0
	case linearAlpha:
	case cosineAlpha:
		done = (1 - math.Cos(math.Pi*done)) / 2
	default:
		return c.Alpha
	}
	return c.Alpha + (c.AlphaEnd-c.Alpha)*done
}

// Guides reports whether the distance from a map ever counts in the loss of an arm.
func (c Config) Guides(arm Arm) bool { return c.guides() && arm.Guided() }

// guides reports whether the distance from a map ever counts.
func (c Config) guides() bool {
	switch c.AlphaSchedule {
	case adaptiveAlpha:
		return true
	case linearAlpha, cosineAlpha:
		return c.Alpha < 1 || c.AlphaEnd < 1
	}
	return c.Alpha < 1
}

// needsMaps reports whether training ever looks at a map.
func (c Config) needsMaps() bool { return c.guides() || c.Blur > 0 }
