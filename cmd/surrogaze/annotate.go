package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

func newAnnotateCommand() *cobra.Command {
	var (
		o       runOptions
		set     pipeline.SetOptions
		teacher = pipeline.DefaultTeacherOptions()
		columns []string
	)
	cmd := &cobra.Command{
		Use:   "annotate CONFIG | --model FILE --in SET --out DIR",
		Short: "Draw maps: for a configuration's data, or for any data set by a trained model",
		Long: `Annotate CONFIG draws a saliency map for every sample of a configuration that has
none, after the stages before it where they are not done yet.

Annotate --model FILE --in SET --out DIR needs no configuration: it draws a map for
every image of a data set (a Parquet or Arrow file or a pattern of such files, or a
folder) and writes an annotated data set. The set may be larger than memory.

A predictor draws as it was fitted. A classifier, be it a teacher or trained for an arm,
draws its class activation map, or with --annotator teacher-rise that of RISE: of the
class that the set gives, else of the most probable one. Several --model are an ensemble
of classifiers, whose maps are averaged. The set's labels are of the classifier's
classes; --column label= leaves a column of others alone.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(set.Models) == 0 && set.In == "" {
				return cmp.Or(refuse(cmd, slices.Concat(ofSets, ofTeachers), "--model"), exactly("CONFIG")(nil, args))
			}
			if teacher.Annotator != storage.SourceTeacherRISE {
				if err := refuse(cmd, ofRISE, "--annotator "+storage.SourceTeacherRISE); err != nil {
					return err
				}
			}
			return cmp.Or(refuse(cmd, ofConfigs, "annotate CONFIG"), exactly()(nil, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return runStages(cmd.Context(), o, args[0], pipeline.StageAnnotate)
			}
			set.Out = o.out
			if slices.ContainsFunc(ofTeachers, cmd.Flags().Changed) {
				set.Teacher = &teacher
			}
			return annotateSet(cmd.Context(), set, columns, o.progress)
		},
	}
	o.register(cmd)
	o.registerProgress(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&set.Models, "model", nil, "`FILE` of a predictor, such as models/predictor.safetensors of a run, or of a classifier (repeatable)")
	f.StringVar(&teacher.Annotator, "annotator", teacher.Annotator, "how classifiers draw, teacher-cam or teacher-rise")
	f.BoolVar(&teacher.Mirror, "mirror", teacher.Mirror, "average a classifier's maps of the image and of its mirror image")
	f.IntVar(&teacher.RISE.Masks, "rise-masks", teacher.RISE.Masks, "masks an image, each a forward pass")
	f.IntVar(&teacher.RISE.Cells, "rise-cells", teacher.RISE.Cells, "cells of a mask along a side")
	f.Float64Var(&teacher.RISE.Keep, "rise-keep", teacher.RISE.Keep, "share of the image that a mask lets through")
	f.StringVar(&set.In, "in", "", "data set to annotate")
	f.StringVar(&set.Format, "format", "", setFormats.String()+" (default: told by --in)")
	f.StringArrayVar(&columns, "column", nil, "name of a column where it is another, such as image=img (repeatable)")
	f.StringVar(&set.Split, "split", "train", "split of rows that come without one")
	f.Float64Var(&set.MaxBad, "max-bad", 0.01, "largest share of unusable rows")
	f.IntVar(&set.Workers, "workers", 0, "cores to use, 0 = all")
	f.IntVar(&set.Batch, "batch", 32, "images a forward pass")
	f.StringVar(&set.Device, "device", "auto", "auto (a GPU if there is one), cpu, cuda or cuda:NUMBER; with --model")
	f.StringVar(&set.Precision, "precision", "auto", "auto, f32, tf32 (on a GPU) or bf16; with --model")
	return cmd
}

// Flags of one way to draw maps. Those of RISE are among the teachers'.
var (
	ofConfigs  = []string{"set", "jobs", "allow-missing"}
	ofSets     = []string{"format", "column", "split", "max-bad", "workers", "batch", "device", "precision"}
	ofTeachers = []string{"annotator", "mirror", "rise-masks", "rise-cells", "rise-keep"}
	ofRISE     = ofTeachers[2:]
)

// refuse refuses flags without what they belong to.
func refuse(cmd *cobra.Command, names []string, owner string) error {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return misuse{fmt.Errorf("--%s belongs to %s", name, owner)}
		}
	}
	return nil
}

func annotateSet(ctx context.Context, o pipeline.SetOptions, columns []string, progress string) error {
	if len(o.Models) == 0 || o.In == "" || o.Out == "" {
		return misuse{errors.New("want --model, --in and --out together")}
	}
	if err := cmp.Or(setFormats.check(o.Format), checkRun(o.MaxBad, o.Workers, o.Batch), checkSplit(o.Split)); err != nil {
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
	summary, err := pipeline.AnnotateSet(ctx, o)
	view.close()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\nresults: %s\n", summary, o.Out)
	return err
}
