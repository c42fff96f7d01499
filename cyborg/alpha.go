package cyborg

import (
	"fmt"
	"math"
)

// Courses of alpha over a training.
const (
	fixedAlpha  = "fixed"  // Alpha
	linearAlpha = "linear" // from Alpha to AlphaEnd in a straight line
	cosineAlpha = "cosine" // from Alpha to AlphaEnd in half a cosine wave
)

func (c Config) validateAlpha() error {
	switch c.AlphaSchedule {
	case "", fixedAlpha, linearAlpha, cosineAlpha:
	default:
		return fmt.Errorf("schedule of alpha %q: want fixed, linear or cosine", c.AlphaSchedule)
	}
	for _, a := range []float64{c.Alpha, c.AlphaEnd} {
		if !(a >= 0 && a <= 1) {
			return fmt.Errorf("alpha %v: want 0 to 1", a)
		}
	}
	return nil
}

// alpha is the weight of the cross-entropy in a step of so many.
func (c Config) alpha(step, steps int) float64 {
	done := float64(step) / float64(max(steps-1, 1))
	switch c.AlphaSchedule {
	case linearAlpha:
	case cosineAlpha:
		done = (1 - math.Cos(math.Pi*done)) / 2
	default:
		return c.Alpha
	}
	return c.Alpha + (c.AlphaEnd-c.Alpha)*done
}

// guides reports whether a map ever counts.
func (c Config) guides() bool {
	fixed := c.AlphaSchedule == "" || c.AlphaSchedule == fixedAlpha
	return c.Alpha < 1 || !fixed && c.AlphaEnd < 1
}
