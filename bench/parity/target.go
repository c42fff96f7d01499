package main

import (
	"context"
)

// target says what a device and a precision come to on this machine.
func target(_ context.Context, dir folder) error {
	var j job
	if err := dir.readJSON("job.json", &j); err != nil {
		return err
	}
	t, err := j.options().Resolve()
	if err != nil {
		return err
	}
	return dir.writeJSON("out.json", t)
}
