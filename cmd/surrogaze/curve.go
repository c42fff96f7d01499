package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
)

// curveOptions are the flags of the curve command.
type curveOptions struct {
	runOptions
	maps   []string
	margin float64
}

func newCurveCommand() *cobra.Command {
	var o curveOptions
	cmd := &cobra.Command{
		Use:   "curve CONFIG",
		Short: "Say how many human maps are enough: the AUC with 4, 8, 16, ... of them",
		Long: `Curve runs a configuration with several numbers of human maps, up to the
evaluation: human trains with these maps alone, combined with the predicted maps
of all other images too, none without maps. It says the smallest number of maps with
which combined is not inferior to human with all of them, and leaves curve.csv
and curve.html. What is done already is skipped; what was interrupted continues.`,
		Args: exactly("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCurve(cmd.Context(), o, args[0])
		},
	}
	o.register(cmd)
	o.registerProgress(cmd)
	cmd.Flags().StringSliceVar(&o.maps, "maps", []string{"4", "8", "16", "32", "all"}, "numbers of human maps; all that the configuration allows are always tried")
	cmd.Flags().Float64Var(&o.margin, "margin", 0.02, "how much lower an AUC may be and still count as reached")
	return cmd
}

// fewestMaps are those that can be divided into maps to fit on, to choose a checkpoint by
// and to hold out.
const fewestMaps = 3

// numbers are the numbers of maps to try.
func (o *curveOptions) numbers() ([]int, error) {
	var found []int
	for _, text := range o.maps {
		if text = strings.TrimSpace(text); text == "all" {
			found = append(found, pipeline.AllMaps)
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < fewestMaps {
			return nil, misuse{fmt.Errorf("--maps %q: want whole numbers of at least %d, or all", text, fewestMaps)}
		}
		found = append(found, n)
	}
	if !(o.margin >= 0 && o.margin < 1) {
		return nil, misuse{fmt.Errorf("--margin %v: want at least 0 and less than 1", o.margin)}
	}
	return found, nil
}

// runCurve runs the curve of a configuration and prints what it found.
func runCurve(ctx context.Context, o curveOptions, path string) error {
	maps, err := o.numbers()
	if err != nil {
		return err
	}
	cfg, err := o.load(path)
	if err != nil {
		return err
	}
	options, view, err := o.begin(cfg)
	if err != nil {
		return err
	}
	curve, err := pipeline.AnnotationCurve(ctx, cfg, pipeline.CurveOptions{Options: options, Maps: maps, Margin: o.margin})
	view.close()
	if err != nil {
		return err
	}
	if err := curve.Write(os.Stdout); err != nil {
		return err
	}
	_, err = fmt.Printf("results: %s\n", filepath.Join(curve.Out, "curve.html"))
	return err
}
