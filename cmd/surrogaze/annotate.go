package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
)

func newAnnotateCommand() *cobra.Command {
	var (
		o       runOptions
		set     pipeline.SetOptions
		columns []string
	)
	cmd := &cobra.Command{
		Use:   "annotate CONFIG | --model FILE --in SET --out DIR",
		Short: "Draw maps: for a configuration's data, or for any data set by a fitted model",
		Long: `Annotate CONFIG draws a saliency map for every sample of a configuration that has
none, after the stages before it where they are not done yet.

Annotate --model FILE --in SET --out DIR needs no configuration: it draws a map for
every image of a data set (a Parquet or Arrow file or a pattern of such files, or a
folder) and writes an annotated data set. The set may be larger than memory.`,
		Args: func(_ *cobra.Command, args []string) error {
			if set.Model == "" && set.In == "" {
				return exactly("CONFIG")(nil, args)
			}
			return exactly()(nil, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return runStages(cmd.Context(), o, args[0], pipeline.StageAnnotate)
			}
			set.Out = o.out
			return annotateSet(cmd.Context(), set, columns, o.progress)
		},
	}
	o.register(cmd)
	o.registerProgress(cmd)
	f := cmd.Flags()
	f.StringVar(&set.Model, "model", "", "a predictor's file, such as models/predictor.safetensors of a run")
	f.StringVar(&set.In, "in", "", "data set to annotate")
	f.StringVar(&set.Format, "format", "", "parquet, arrow or huggingface (default: told by --in)")
	f.StringArrayVar(&columns, "column", nil, "name of a column where it is another, such as image=img (repeatable)")
	f.StringVar(&set.Split, "split", "train", "split of rows that come without one")
	f.Float64Var(&set.MaxBad, "max-bad", 0.01, "largest share of unusable rows")
	f.IntVar(&set.Workers, "workers", 0, "cores to use, 0 = all")
	f.IntVar(&set.Batch, "batch", 32, "images a forward pass")
	f.StringVar(&set.Device, "device", "auto", "auto (a GPU if there is one), cpu, cuda or cuda:NUMBER; with --model")
	f.StringVar(&set.Precision, "precision", "auto", "auto, f32, tf32 (on a GPU) or bf16; with --model")
	return cmd
}

func annotateSet(ctx context.Context, o pipeline.SetOptions, columns []string, progress string) error {
	if o.Model == "" || o.In == "" || o.Out == "" {
		return misuse{errors.New("want --model, --in and --out together")}
	}
	var err error
	if o.Columns, err = parseColumns(columns); err != nil {
		return err
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	view, err := newView(progress)
	if err != nil {
		return err
	}
	warnOfCPU(o.Device, o.Precision)
	o.Observe = view.observe
	summary, err := pipeline.AnnotateSet(ctx, o)
	view.close()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\nresults: %s\n", summary, o.Out)
	return err
}

// parseColumns reads the values of --column.
func parseColumns(flags []string) (map[string]string, error) {
	columns := map[string]string{}
	for _, c := range flags {
		ours, theirs, ok := strings.Cut(c, "=")
		if !ok {
			return nil, misuse{fmt.Errorf("--column %q: want ours=theirs, such as image=img", c)}
		}
		columns[ours] = theirs
	}
	return columns, nil
}
