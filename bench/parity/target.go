package main

import (
	"context"

	"github.com/surrogaze/surrogaze/internal/nn"
)

// target says what a precision comes to on this machine.
func target(_ context.Context, dir folder) error {
	var j job
	if err := dir.readJSON("job.json", &j); err != nil {
		return err
	}
	t, err := nn.Options{Precision: j.Precision}.Resolve()
	if err != nil {
		return err
	}
	return dir.writeJSON("out.json", t)
}
