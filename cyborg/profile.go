package cyborg

import (
	"io"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// Profile sums up what the operators of a training's steps take. The zero value is
// ready for a call of [Train], after which it can be read.
type Profile struct{ nn nn.Profile }

// Steps is the number of steps that were measured: those that this process took, but
// for the first, which touches the memory for the first time.
func (p *Profile) Steps() int { return p.nn.Steps() }

// Write writes the profile as tables in Markdown. peaks tells how many floating point
// operations and bytes a second a device reaches, 0 where that is not known: so many
// cores of "cpu" in float32, or "cuda:0" in a precision.
func (p *Profile) Write(w io.Writer, peaks func(device, precision string, workers int) (flops, bandwidth float64)) error {
	return p.nn.Write(w, peaks)
}

// operators is what programs fill, nil of nil.
func (p *Profile) operators() *nn.Profile {
	if p == nil {
		return nil
	}
	return &p.nn
}
