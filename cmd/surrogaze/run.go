package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/internal/doctor"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/predictor"
)

// runOptions are the flags of the commands that work on a configuration.
type runOptions struct {
	out          string
	set          []string
	allowMissing []string
	jobs         int
	progress     string
	profile      string
}

func (o *runOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.out, "out", "", "folder for the results (default runs/<config name>)")
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "override a value of the configuration, such as train.alpha=0.2 (repeatable)")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "training runs side by side within the cores (default as the configuration says)")
	cmd.Flags().StringArrayVar(&o.allowMissing, "allow-missing", nil, "`PATTERN` of names, such as 'layer4.*', that pretrained weights may lack or have beyond the network's (repeatable)")
}

func (o *runOptions) registerProgress(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.progress, "progress", "auto", "auto, bars, plain or none")
}

// load reads the configuration with the flags laid over it.
func (o *runOptions) load(path string) (*pipeline.Config, error) {
	sets := o.set
	if o.out != "" {
		sets = append(sets, "out="+o.out)
	}
	if o.jobs != 0 {
		sets = append(sets, fmt.Sprintf("jobs=%d", o.jobs))
	}
	cfg, err := pipeline.LoadConfig(path, sets)
	if err != nil {
		return nil, err
	}
	cfg.Predictor.AllowMissing = append(cfg.Predictor.AllowMissing, o.allowMissing...)
	cfg.Classifier.AllowMissing = append(cfg.Classifier.AllowMissing, o.allowMissing...)
	return cfg, nil
}

// begin says on standard error what is run, opens the view of it, and returns the
// options of a pipeline that is watched by it.
func (o *runOptions) begin(cfg *pipeline.Config) (pipeline.Options, view, error) {
	machine := doctor.Inspect()
	fmt.Fprintf(os.Stderr, "surrogaze %s: %s to %s on %s\n", version(), cfg.Name, cfg.OutDir(), machine)
	sayDevice(cfg.Device, cfg.Precision)
	view, err := newView(o.progress)
	if err != nil {
		return pipeline.Options{}, nil, err
	}
	return pipeline.Options{
		Version: version(), Hardware: machine.String(),
		Command: "surrogaze " + commandLine(os.Args[1:]), Observe: view.observe,
	}, view, nil
}

// sayDevice says on standard error which GPU is used, or why the device "auto" is the CPU
// where a GPU might be expected.
func sayDevice(device, precision string) {
	o := predictor.Options{Device: device, Precision: precision}
	on, err := o.Ran()
	switch notice := o.Notice(); {
	case err != nil: // the pipeline says it
	case notice != "":
		fmt.Fprintf(os.Stderr, "warning: device auto is the CPU: %s\n", notice)
	case on.Device != "cpu":
		fmt.Fprintf(os.Stderr, "device %s (%s), %s\n", on.Device, on.Hardware, on.Precision)
	}
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run CONFIG",
		Short: "Run all stages: ingest, fit, annotate, train, evaluate, export, report",
		Long: `Run runs all stages of a configuration: a YAML file, or the name of a built-in
one (quickstart, coffee, faces, iris-pad, chest-xray). What is done already is
skipped; what was interrupted continues.`,
		Args: exactly("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStages(cmd.Context(), o, args[0], pipeline.StageReport)
		},
	}
	o.register(cmd)
	o.registerProgress(cmd)
	return cmd
}

// stageHelp says what the stages do that are commands of their own.
var stageHelp = map[pipeline.Stage]string{
	pipeline.StageIngest:   "Read and check the annotated images and their human maps",
	pipeline.StageFit:      "Fit the saliency predictor on the human maps",
	pipeline.StageTrain:    "Train the classifiers of all arms and seeds",
	pipeline.StageEvaluate: "Judge the classifiers: results.csv and the table",
	pipeline.StageExport:   "Write the annotated data set in other formats",
	pipeline.StageReport:   "Write report.html",
}

func newStageCommand(stage pipeline.Stage) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   string(stage) + " CONFIG",
		Short: stageHelp[stage],
		Long:  stageHelp[stage] + ", after the stages before it\nwhere they are not done yet.",
		Args:  exactly("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStages(cmd.Context(), o, args[0], stage)
		},
	}
	o.register(cmd)
	o.registerProgress(cmd)
	if stage == pipeline.StageTrain {
		cmd.Flags().StringVar(&o.profile, "profile", "", "write a table of what the operators of the first training take to `FILE`")
	}
	return cmd
}

// runStages brings a run up to a stage and prints what it found.
func runStages(ctx context.Context, o runOptions, path string, last pipeline.Stage) error {
	cfg, err := o.load(path)
	if err != nil {
		return err
	}
	if dir := filepath.Dir(o.profile); o.profile != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return misuse{fmt.Errorf("--profile %q: found no folder %q, want a file in one", o.profile, dir)}
		}
	}
	options, view, err := o.begin(cfg)
	if err != nil {
		return err
	}
	var profile *pipeline.Profile
	if o.profile != "" {
		profile = new(pipeline.Profile)
		options.Profile = profile
	}
	p, err := pipeline.New(cfg, options)
	if err != nil {
		view.close()
		return err
	}
	result, err := p.Run(ctx, last)
	view.close()
	if profile != nil {
		err = errors.Join(err, writeProfile(ctx, o.profile, profile))
	}
	if err != nil && result == nil {
		return err
	}
	return errors.Join(printResult(os.Stdout, result, last), err)
}
