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
	case o.Name != sgdName && o.Name != "adam" && o.Name != "adamw":
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

const sgdName = "sgd"

// momentPrefix keeps the optimiser's tensors apart from the parameters'.
const momentPrefix = "optimizer."

// Names of the optimisers' moments.
const (
	velocityMoment = "velocity" // of sgd
	firstMoment    = "first"    // of adam and adamw
	secondMoment   = "second"
)

// newMoments makes the state of an optimiser of some parameters, all zeros, in the order
// of the parameters.
func (o Optimizer) newMoments(of []*value) *Params {
	kinds := []string{firstMoment, secondMoment}
	if o.Name == sgdName {
		kinds = []string{velocityMoment}[:b2i(o.Momentum > 0)]
	}
	moments := NewParams(0)
	for _, v := range of {
		for _, kind := range kinds {
			p := v.param
			moments.add(&Param{Name: momentName(kind, p), Shape: p.Shape, Data: kernel.Alloc(len(p.Data))})
		}
	}
	return moments
}

func momentName(kind string, p *Param) string { return momentPrefix + kind + "." + p.Name }

// sgd and adam are the optimiser's settings for kernels.
func (o Optimizer) sgd() kernel.SGD {
	return kernel.SGD{Momentum: float32(o.Momentum), WeightDecay: float32(o.WeightDecay), Nesterov: o.Nesterov}
}

func (o Optimizer) adam() kernel.Adam {
	return kernel.Adam{Beta1: orDefault(o.Beta1, 0.9), Beta2: orDefault(o.Beta2, 0.999), Eps: orDefault(o.Eps, 1e-8),
		WeightDecay: o.WeightDecay, Decoupled: o.Name == "adamw"}
}

func orDefault(v, def float64) float64 {
	if v == 0 {
		return def
	}
	return v
}
