package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
)

func newPredictCommand() *cobra.Command {
	var (
		o        pipeline.PredictOptions
		columns  []string
		progress string
	)
	cmd := &cobra.Command{
		Use:   "predict MODEL DATA... --out FILE",
		Short: "Run a classifier or predictor over images: a Parquet file or PNG overlays",
		Long: `Predict runs a trained model over images and writes what it says of each. MODEL is
a file such as models/combined-1.safetensors, or a folder that holds one. DATA are
image files, folders of images, Parquet and Arrow files, folders and patterns of these,
and folders of save_to_disk. They may be larger than memory. An image's id is its path,
below the folder unless images of several folders would then have the same.

    --to parquet     a file with a row an image: id, label (as the data have it), and
                     of a classifier prediction, score (the probability of each class),
                     logits and cam (of the predicted class), of a predictor saliency
                     and saliency_quality; maps are 16-bit PNG files
    --to overlays    a folder with each image under its map, as PNG files

The output appears when all is done, or not at all. Images that cannot be used are
listed in a file beside it (.quarantine.jsonl). A classifier wants labels of its own
classes; --column label= leaves a column of others alone.

Exit codes: 0 done, 1 failure, 2 misuse, 3 unusable model or data, or more than
--max-bad of the rows, 130 interrupted.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return misuse{fmt.Errorf("found %d arguments, want at least 2: MODEL DATA", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model, o.Data = args[0], args[1:]
			return predict(cmd.Context(), o, columns, progress)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Out, "out", "", "file or folder to write")
	f.StringVar(&o.To, "to", "parquet", "parquet or overlays")
	f.StringVar(&o.Format, "format", "", dataFormats.String()+" (default: told by DATA)")
	f.StringArrayVar(&columns, "column", nil, "name of a column where it is another, such as image=img (repeatable)")
	f.Float64Var(&o.MaxBad, "max-bad", 0.01, "largest share of unusable rows")
	f.IntVar(&o.Workers, "workers", 0, "cores to use, 0 = all")
	f.IntVar(&o.Batch, "batch", 32, "images a forward pass")
	f.StringVar(&o.Device, "device", "auto", "auto (a GPU if there is one), cpu, cuda or cuda:NUMBER")
	f.StringVar(&o.Precision, "precision", "auto", "auto, f32, tf32 (on a GPU) or bf16")
	f.StringVar(&progress, "progress", "auto", "auto, bars, plain or none")
	return cmd
}

// startAnewError is an error of a command that keeps nothing of an interrupted call.
type startAnewError struct{ error }

func (e startAnewError) Unwrap() error { return e.error }

func predict(ctx context.Context, o pipeline.PredictOptions, columns []string, progress string) error {
	if o.Out == "" {
		return misuse{errors.New("want --out, the file or folder to write")}
	}
	if o.To != "parquet" && o.To != "overlays" {
		return misuse{fmt.Errorf("--to %q: want parquet or overlays", o.To)}
	}
	if err := cmp.Or(dataFormats.check(o.Format), checkRun(o.MaxBad, o.Workers, o.Batch)); err != nil {
		return err
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
	sayDevice(o.Device, o.Precision)
	o.Observe = view.observe
	summary, err := pipeline.Predict(ctx, o)
	view.close()
	if err != nil {
		return startAnewError{err}
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\nresults: %s\n", summary, o.Out)
	return err
}
