package cyborg

import (
	"errors"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// DivergedError says that a training came to a loss or to weights that are no finite
// numbers. It would do so again: the same arguments give the same numbers.
type DivergedError struct {
	Steps int    // that had been taken
	Kept  *Model // of the epoch kept until then; nil if none had ended
	Err   error  // what was found
}

func (e *DivergedError) Error() string { return e.Err.Error() }

// Unwrap is what was found.
func (e *DivergedError) Unwrap() error { return e.Err }

// diverged is err, which ended the training, with the model that is left if it has
// diverged. The checkpoint on disk stays.
func (t *training) diverged(err error) error {
	var found *nn.DivergedError
	if !errors.As(err, &found) {
		return err
	}
	e := &DivergedError{Steps: found.Steps, Err: err}
	if t.state.Best.Step > 0 {
		e.Kept = t.model()
	}
	return e
}
