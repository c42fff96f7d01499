package nn

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// Optimizer says how gradients move the parameters, as torch.optim's of the
// same name do. All trainable parameters are treated alike.
type Optimizer struct {
	Name        string  // "sgd", "adam" or "adamw"
	LR          float64 // learning rate, which the schedule scales
	WeightDecay float64 // added to the gradient; decoupled from it in adamw
	Momentum    float64 // of sgd
	Nesterov    bool    // of sgd
	// Beta1, Beta2 and Eps are of adam and adamw; zeros mean 0.9, 0.999, 1e-8.
	Beta1, Beta2, Eps float64
}

// Validate reports the first thing wrong with the settings.
func (o Optimizer) Validate() error {
	switch {
	case o.Name != "sgd" && o.Name != "adam" && o.Name != "adamw":
		return fmt.Errorf("optimizer %q: want sgd, adam or adamw", o.Name)
	case !(o.LR > 0):
		return fmt.Errorf("optimizer %s: learning rate %v, want above 0", o.Name, o.LR)
	case !(o.WeightDecay >= 0):
		return fmt.Errorf("optimizer %s: weight decay %v, want at least 0", o.Name, o.WeightDecay)
	case !share(o.Momentum):
		return fmt.Errorf("optimizer %s: momentum %v, want at least 0 and below 1", o.Name, o.Momentum)
	case !share(o.Beta1) || !share(o.Beta2):
		return fmt.Errorf("optimizer %s: betas %v and %v, want at least 0 and below 1", o.Name, o.Beta1, o.Beta2)
	case !(o.Eps >= 0):
		return fmt.Errorf("optimizer %s: eps %v, want at least 0", o.Name, o.Eps)
	case o.Nesterov && o.Momentum == 0:
		return fmt.Errorf("optimizer %s: Nesterov wants a momentum", o.Name)
	}
	return nil
}

// share reports whether x is in [0, 1).
func share(x float64) bool { return x >= 0 && x < 1 }

// updates is the optimiser's step over all parameters of a program.
type updates struct {
	phases  []kernel.Phase
	moments *Params // named as their parameters, behind a prefix
	length  int     // of all parameters
	sgd     kernel.SGD
	adam    kernel.Adam
}

// momentPrefix keeps the optimiser's tensors apart from the parameters'.
const momentPrefix = "optimizer."

func newUpdates(p *Program, o Optimizer) *updates {
	u := &updates{
		moments: NewParams(0),
		sgd:     kernel.SGD{Momentum: float32(o.Momentum), WeightDecay: float32(o.WeightDecay), Nesterov: o.Nesterov},
		adam: kernel.Adam{Beta1: orDefault(o.Beta1, 0.9), Beta2: orDefault(o.Beta2, 0.999), Eps: orDefault(o.Eps, 1e-8),
			WeightDecay: o.WeightDecay, Decoupled: o.Name == "adamw"},
	}
	for i, v := range p.list.params {
		w, g := v.param.Data, p.list.gradients[i].data
		u.length += len(w)
		if o.Name == "sgd" {
			var velocity []float32
			if o.Momentum > 0 {
				velocity = u.moment("velocity", v.param)
			}
			u.phases = append(u.phases, kernel.SGDStep(p.env, &u.sgd, w, g, velocity)...)
		} else {
			first, second := u.moment("first", v.param), u.moment("second", v.param)
			u.phases = append(u.phases, kernel.AdamStep(p.env, &u.adam, w, g, first, second)...)
		}
	}
	return u
}

func orDefault(v, def float64) float64 {
	if v == 0 {
		return def
	}
	return v
}

func (u *updates) moment(kind string, p *Param) []float32 {
	m := &Param{Name: momentPrefix + kind + "." + p.Name, Shape: p.Shape, Data: kernel.Alloc(len(p.Data))}
	u.moments.add(m)
	return m.Data
}

// set prepares the step that is the count-th, from 1, at a learning rate.
func (u *updates) set(count int, rate float64) {
	u.sgd.LR = float32(rate)
	u.sgd.First = count == 1
	u.adam.LR, u.adam.Step = rate, count
}
