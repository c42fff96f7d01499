package nn

import (
	"fmt"
	"math"
)

// Schedule says how the learning rate changes over a run, as a factor on the
// optimiser's rate. The zero Schedule is constant.
type Schedule struct {
	// Kind is "constant" (or ""), "step", "cosine" or "one-cycle".
	Kind string
	// Warmup is the share of the run, in [0, 1), that rises: linearly from 0
	// under constant, step and cosine, by half a cosine under one-cycle.
	Warmup float64
	// Every and Gamma make "step" multiply the rate by Gamma each Every steps.
	Every int
	Gamma float64
}

// Validate reports the first thing wrong with the schedule.
func (s Schedule) Validate() error {
	switch s.Kind {
	case "", "constant", "cosine", "one-cycle":
	case "step":
		if s.Every < 1 || !(s.Gamma > 0) {
			return fmt.Errorf("schedule step: every %d steps times %v, want at least 1 and a factor above 0", s.Every, s.Gamma)
		}
	default:
		return fmt.Errorf("schedule %q: want constant, step, cosine or one-cycle", s.Kind)
	}
	if !share(s.Warmup) {
		return fmt.Errorf("schedule %s: warm-up %v, want at least 0 and below 1", s.Kind, s.Warmup)
	}
	return nil
}

// Factor is the schedule's value at a step in [0, total).
func (s Schedule) Factor(step, total int) float64 {
	if s.Kind == "one-cycle" {
		return oneCycle(step, total, s.Warmup)
	}
	rise := s.Warmup * float64(total)
	if t := float64(step + 1); t < rise {
		return t / rise
	}
	switch s.Kind {
	case "step":
		return math.Pow(s.Gamma, float64(step/s.Every))
	case "cosine":
		done := (float64(step) - rise) / max(float64(total)-rise, 1)
		return (1 + math.Cos(math.Pi*max(done, 0))) / 2
	}
	return 1
}

// oneCycle is torch.optim.lr_scheduler.OneCycleLR with cosine annealing and its
// defaults: from 1/25 of the rate up to it, then down to 1/25e4. Where the rise is
// shorter than a step the run begins on the way down.
func oneCycle(step, total int, warmup float64) float64 {
	const start, end = 1.0 / 25, 1.0 / 25e4
	peak := warmup*float64(total) - 1
	last := float64(total - 1)
	t := float64(step)
	if t <= peak && peak > 0 {
		return anneal(start, 1, t/peak)
	}
	return anneal(1, end, (t-peak)/(last-peak))
}

func anneal(from, to, share float64) float64 {
	return to + (from-to)/2*(1+math.Cos(math.Pi*share))
}
