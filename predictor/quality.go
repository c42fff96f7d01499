package predictor

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/metric"
)

// correlation is Pearson's CC of two maps; a constant map correlates with
// nothing: 0.
func correlation(a, b []float32) float64 {
	if cc := metric.CC(a, b); !math.IsNaN(cc) {
		return cc
	}
	return 0
}

// evidence is what can be seen of a predicted map without a human one, as signs
// of how well it may agree with it.
type evidence = [4]float64

// gather finds the evidence in a map of probabilities p and the agreement of the
// two maps that it is the mean of:
//
//   - the CC to be expected if every pixel of the human map were marked with
//     probability p, independently: sd(p) / sqrt(m(1-m)) with m = mean(p);
//   - the agreement of the maps of the image and of its mirror image;
//   - the entropy of p scaled to sum 1, as a share of a uniform map's;
//   - the highest value.
func gather(p []float32, agreement float64) evidence {
	var sum, squares, logs, top float64
	for _, v := range p {
		x := float64(v)
		sum += x
		squares += x * x
		if x > 0 {
			logs += x * math.Log(x)
		}
		top = max(top, x)
	}
	n := float64(len(p))
	mean := sum / n
	var e evidence
	if spread := mean * (1 - mean); spread > 0 {
		e[0] = math.Sqrt(max(0, squares/n-mean*mean) / spread)
	}
	e[1] = agreement
	if sum > 0 && n > 1 {
		e[2] = (math.Log(sum) - logs/sum) / math.Log(n)
	}
	e[3] = top
	return e
}

// judged is a predicted map whose agreement with a human one is known.
type judged struct {
	evidence evidence
	cc       float64
}

// Calibration estimates the CC of a map with what a human would have drawn from the
// evidence in it: a ridge regression on standardised evidence, in the order of its
// fields the spread, the agreement of the mirrored image's map, the entropy and the
// highest value. Its JSON form is what files hold.
type Calibration struct {
	Mean   [4]float64 `json:"mean"`
	Scale  [4]float64 `json:"scale"` // 0 for evidence that never varied
	Weight [4]float64 `json:"weight"`
	Bias   float64    `json:"bias"`
	Maps   int        `json:"maps"` // that it was fitted on
}

// ridge is the penalty on each weight, in judged maps: with as few as these, the
// estimate stays near the mean CC.
const ridge = 4

// calibrate fits a calibration by least squares, minimising
//
//	sum over maps (cc - bias - weight·z)² + ridge |weight|²,  z = scale (evidence - mean).
//
// Without maps it returns nil.
func calibrate(maps []judged) *Calibration {
	if len(maps) == 0 {
		return nil
	}
	c := &Calibration{Maps: len(maps)}
	n := float64(len(maps))
	for _, m := range maps {
		c.Bias += m.cc / n
		for k, v := range m.evidence {
			c.Mean[k] += v / n
		}
	}
	for k := range c.Scale {
		var squares float64
		for _, m := range maps {
			squares += (m.evidence[k] - c.Mean[k]) * (m.evidence[k] - c.Mean[k])
		}
		if sd := math.Sqrt(squares / n); sd > 1e-9 {
			c.Scale[k] = 1 / sd
		}
	}
	var a [len(evidence{})]evidence
	var b evidence
	for _, m := range maps {
		z := c.standardise(m.evidence)
		for i := range z {
			b[i] += z[i] * (m.cc - c.Bias)
			for j := range z {
				a[i][j] += z[i] * z[j]
			}
		}
	}
	for i := range a {
		a[i][i] += ridge
	}
	c.Weight = solve(a, b)
	return c
}

func (c *Calibration) standardise(e evidence) evidence {
	for k := range e {
		e[k] = (e[k] - c.Mean[k]) * c.Scale[k]
	}
	return e
}

// quality is the estimated CC, in [-1, 1]; NaN without a calibration.
func (c *Calibration) quality(e evidence) float32 {
	if c == nil {
		return float32(math.NaN())
	}
	estimate := c.Bias
	for k, z := range c.standardise(e) {
		estimate += c.Weight[k] * z
	}
	return float32(min(max(estimate, -1), 1))
}

// solve finds x with a x = b for a symmetric positive definite a, by elimination.
func solve(a [len(evidence{})]evidence, b evidence) evidence {
	for i := range a {
		for r := i + 1; r < len(a); r++ {
			f := a[r][i] / a[i][i]
			for k := i; k < len(a); k++ {
				a[r][k] -= f * a[i][k]
			}
			b[r] -= f * b[i]
		}
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := i + 1; k < len(a); k++ {
			b[i] -= a[i][k] * b[k]
		}
		b[i] /= a[i][i]
	}
	return b
}
