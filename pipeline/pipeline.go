// Package pipeline runs the stages that lead from a few annotated images to
// classifiers that look where people look:
//
//	ingest -> fit -> annotate -> train -> evaluate -> export -> report
//
// Every stage but the last leaves artefacts in a store, named by a key that
// covers all they depend on. A stage whose artefact is there is skipped, one
// that was interrupted continues in its draft, so that running again after any
// crash finishes what is left. Results are then laid out in a plain folder.
//
// # Determinism
//
// On one class of hardware the CPU gives the same bytes in results.csv,
// confusion.csv, data/ and models/ whatever the number of workers and however often
// the run was interrupted.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/surrogaze/surrogaze/configs"
	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// Stage is a step of the pipeline.
type Stage string

// The stages in their order.
const (
	StageIngest   Stage = "ingest"
	StageFit      Stage = "fit"
	StageAnnotate Stage = "annotate"
	StageTrain    Stage = "train"
	StageEvaluate Stage = "evaluate"
	StageExport   Stage = "export"
	StageReport   Stage = "report"
)

// Stages are all stages in their order.
func Stages() []Stage {
	return []Stage{StageIngest, StageFit, StageAnnotate, StageTrain, StageEvaluate, StageExport, StageReport}
}

// Options say what a pipeline cannot know by itself.
type Options struct {
	// Version is the program's, for manifests and the report.
	Version string
	// Hardware describes the machine, for the summary and the report.
	Hardware string
	// Command repeats the run, for the report.
	Command string
	// Observe is told what happens, one call at a time; it may be nil.
	Observe func(Event)
	// Profile, if not nil, measures the steps of the first classifier that is
	// trained, and makes classifiers be trained one after another, so that no other
	// disturbs.
	Profile *Profile
}

// Profile sums up what the operators of a training take.
type Profile = cyborg.Profile

// DataError says that the data cannot be used, as opposed to a failure of the
// machine or of the program.
type DataError = storage.DataError

// MismatchError says that pretrained weights are not those of the network that would
// start from them.
type MismatchError = cyborg.MismatchError

var (
	// ErrDeviceMemory says that something did not fit a GPU's memory.
	ErrDeviceMemory = predictor.ErrDeviceMemory
	// ErrDeviceLost says that a GPU has failed in the middle of its work, for good. What
	// was saved is kept.
	ErrDeviceLost = predictor.ErrDeviceLost
)

// DivergedError says that trainings came to numbers that are not finite. The others
// are done, and so are the stages behind them, on what there is.
type DivergedError struct {
	Of   int     // trainings in all
	Runs []error // of each that diverged: arm, seed, step and what is kept
}

func (e *DivergedError) Error() string {
	text := fmt.Sprintf("%d of %d trainings diverged", len(e.Runs), e.Of)
	for _, err := range e.Runs {
		text += "\n  " + err.Error()
	}
	return text
}

// Unwrap are the errors of the trainings.
func (e *DivergedError) Unwrap() []error { return e.Runs }

// dataError marks an error as one of the data, unless the context ended.
func dataError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &DataError{Err: err}
}

// classify marks the errors of single samples as errors of the data.
func classify(ctx context.Context, err error) error {
	var (
		row     *storage.RowError
		example *predictor.ExampleError
		sample  *cyborg.SampleError
	)
	if errors.As(err, &row) || errors.As(err, &example) || errors.As(err, &sample) {
		return dataError(ctx, err)
	}
	return err
}

// Config is a run's configuration, loaded and validated.
type Config = config.Config

// LoadConfig reads a configuration file, or a built-in configuration by its name,
// and lays the overrides ("train.alpha=0.2") over it.
func LoadConfig(pathOrName string, overrides []string) (*Config, error) {
	return config.Load(pathOrName, overrides, problems)
}

// ConfigError says that a configuration cannot be used, with every problem found.
type ConfigError = config.Error

// configError marks an error as one of what was asked for.
func configError(err error) error {
	return &ConfigError{Problems: []config.Problem{{Text: err.Error()}}}
}

// Pipeline runs one configuration. The data and weights that it reads are to stay as they
// are while it lives.
type Pipeline struct {
	cfg     *Config
	options Options
	store   *storage.Store
	root    string // of the data
	workers int
	events  *events
	prints  *fingerprints
	results *results // nil while nothing is written there
}

// New prepares the pipeline of a configuration. Only a built-in data set is
// written to disk, below the store.
func New(cfg *Config, options Options) (*Pipeline, error) {
	if err := validate(cfg); err != nil {
		return nil, err
	}
	store, err := storage.OpenStore(cfg.StoreDir())
	if err != nil {
		return nil, err
	}
	root, err := configs.Root(cfg.Data.Root, filepath.Join(cfg.StoreDir(), ".data"))
	if err != nil {
		return nil, err
	}
	workers := cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Pipeline{cfg: cfg, options: options, store: store, root: root, workers: workers, events: newEvents(options.Observe), prints: new(fingerprints)}, nil
}

// Out is the folder of the results.
func (p *Pipeline) Out() string { return p.cfg.OutDir() }

// Run brings the run up to a stage: it makes what is missing of that stage and
// those before it, and lays the results out. Run(ctx, StageReport) is the whole
// run. When the context ends, what is under way is kept for the next call and
// the error is the context's. With a *DivergedError the result is of the trainings
// that did not diverge, nil if all did.
//
// The folder of the results belongs to one process at a time: the error is a
// *[storage.FolderLockedError] where another writes there, and a *ConfigError where
// results would take the place of what is not ours.
func (p *Pipeline) Run(ctx context.Context, last Stage) (result *Result, err error) {
	if err := p.openOut(); err != nil {
		return nil, err
	}
	defer func() {
		if closed := p.closeOut(); closed != nil {
			err = errors.Join(err, closed)
		}
	}()
	return p.run(ctx, last)
}

func (p *Pipeline) run(ctx context.Context, last Stage) (*Result, error) {
	r, err := p.recipes(ctx)
	if err != nil {
		return nil, err
	}
	parts, err := p.parts(r)
	if err != nil {
		return nil, err
	}
	if err := p.claimOut(parts); err != nil {
		return nil, err
	}
	result := &Result{Out: p.Out()}
	err = p.stages(ctx, r, last, result)
	var diverged *DivergedError
	if err != nil && !(errors.As(err, &diverged) && len(diverged.Runs) < diverged.Of) {
		return nil, classify(ctx, err)
	}
	return result, err
}

// stages runs the stages in a row, each on what those before it left.
func (p *Pipeline) stages(ctx context.Context, r *recipes, last Stage, result *Result) error {
	annotated, err := p.ingest(ctx, r.ingest)
	if err != nil {
		return fmt.Errorf("%s: %w", StageIngest, err)
	}
	result.Data = annotated.Summary
	if last == StageIngest {
		return nil
	}
	if err := p.foresee(ctx, annotated, last); err != nil {
		return err
	}
	fitted, err := p.fit(ctx, r.fit, annotated)
	if err != nil {
		return fmt.Errorf("%s: %w", StageFit, withStrays(err, annotated.set))
	}
	result.Predictor, result.Trust = fitted.scores, &fitted.trust
	if last == StageFit {
		return nil
	}
	data, err := p.annotate(ctx, r.annotate, annotated, fitted)
	if err != nil {
		return fmt.Errorf("%s: %w", StageAnnotate, err)
	}
	result.Data = data.Summary
	if last == StageAnnotate {
		return nil
	}
	images, err := p.openImages(data.set, p.cfg.Train.Arms, last)
	if err != nil {
		return err
	}
	for _, gap := range data.gaps() {
		p.events.of(StageTrain).warn(gap)
	}
	trained, err := p.train(ctx, r.runs, fitted, images)
	if err != nil {
		return fmt.Errorf("%s: %w", StageTrain, err)
	}
	if err := p.stagesOfTrained(ctx, last, findings{recipes: r, fitted: fitted, data: data, trained: trained}, result); err != nil {
		return err
	}
	if trained.diverged != nil {
		return fmt.Errorf("%s: %w", StageTrain, trained.diverged)
	}
	return nil
}

// stagesOfTrained runs the stages behind the training, on the classifiers that
// there are.
func (p *Pipeline) stagesOfTrained(ctx context.Context, last Stage, f findings, result *Result) error {
	if last == StageTrain {
		return nil
	}
	evaluated, err := p.evaluate(ctx, f.trained, f.data)
	if err != nil {
		return fmt.Errorf("%s: %w", StageEvaluate, err)
	}
	f.evaluated, result.Table = evaluated, evaluated.table
	if last == StageEvaluate {
		return nil
	}
	if err := p.export(ctx, f.recipes.exports, f.data); err != nil {
		return fmt.Errorf("%s: %w", StageExport, err)
	}
	if last == StageExport {
		return nil
	}
	if err := p.report(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", StageReport, err)
	}
	return nil
}

// draft is an artefact that is being made, with the record of its making.
type draft struct {
	*storage.Draft
	*record
}

// artefact returns the published artefact of a recipe, making it if need be. fill
// fills the draft and is called again with the same draft after an interruption.
func (p *Pipeline) artefact(ctx context.Context, r recipe, fill func(draft) error) (*storage.Artefact, error) {
	a, err := p.store.Lookup(r.Kind, r.key)
	if !errors.Is(err, storage.ErrNotPublished) {
		return a, err
	}
	d, err := p.store.AwaitDraft(ctx, r.Kind, r.key, func(e *storage.LockedError) {
		p.events.of(stageOf[r.Kind]).warn("waiting: " + e.Error())
	})
	if errors.Is(err, storage.ErrPublished) { // by another process meanwhile
		return p.store.Lookup(r.Kind, r.key)
	}
	if err != nil {
		return nil, err
	}
	if a, err = p.makeArtefact(ctx, d, r, fill); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return a, nil
}

func (p *Pipeline) makeArtefact(ctx context.Context, d *storage.Draft, r recipe, fill func(draft) error) (*storage.Artefact, error) {
	on, err := p.predictOptions().Ran()
	if err != nil {
		return nil, err
	}
	record, err := openRecord(d.Path(recordName), on)
	if err != nil {
		return nil, err
	}
	err = fill(draft{d, record})
	failure := err
	if ctx.Err() != nil {
		failure = nil
	}
	if err := errors.Join(err, record.close(failure)); err != nil {
		return nil, err
	}
	return d.Publish(storage.Manifest{Recipe: r.Recipe, Program: p.options.Version, Ran: record.Ran})
}
