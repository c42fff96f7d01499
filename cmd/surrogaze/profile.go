package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// writeProfile writes the profile of a training beside the peaks of the machine, as
// far as the training came. Where there is nothing to write, it says so.
func writeProfile(ctx context.Context, path string, profile *pipeline.Profile) error {
	if profile.Steps() == 0 {
		fmt.Fprintf(os.Stderr, "no profile written to %s: no classifier was trained for more than a step (with another --out, all are trained)\n", path)
		return nil
	}
	return storage.AtomicWrite(path, func(w io.Writer) error { return profile.Write(w, doctor.PeaksOf(ctx)) })
}
