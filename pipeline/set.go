package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// SetOptions say which data set AnnotateSet annotates and how.
type SetOptions struct {
	// Models are a predictor, or classifiers that draw together as an ensemble of teachers
	// does: files, or folders that hold one.
	Models []string
	// Teacher is how classifiers draw; nil is [DefaultTeacherOptions]. A predictor draws as
	// it was fitted, and takes none.
	Teacher *TeacherOptions
	In      string // a Parquet or Arrow file, a pattern of them, or a folder
	Format  string // parquet, arrow or huggingface; "" is told by In
	Columns map[string]string
	Out     string  // folder of the new data set
	Split   string  // of rows that come without
	MaxBad  float64 // largest share of unusable rows
	Workers int     // at least 1
	Batch   int     // images a forward pass; 0 is 16
	Device  string
	// Precision is auto, f32, tf32 or bf16.
	Precision string
	Observe   func(Event)
}

// AnnotateSet draws a map for every image of a data set by trained models, without a
// project around them. The set may be larger than memory. What an interrupted call has
// finished in Out is kept for the next, and what is finished as a whole stays as it is.
// Out belongs to one process at a time: the error is a *[storage.FolderLockedError] where
// another writes there.
func AnnotateSet(ctx context.Context, o SetOptions) (*Summary, error) {
	s, err := annotateSet(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("annotate %q: %w", o.In, err)
	}
	return s, nil
}

func annotateSet(ctx context.Context, o SetOptions) (summary *Summary, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &setAnnotation{SetOptions: o, events: newEvents(o.Observe).of(StageAnnotate)}
	if s.by, err = openAnnotator(o.Models, o.Teacher); err != nil {
		return nil, err
	}
	format := o.Format
	if format == "" {
		format = formatOf(o.In)
	}
	s.source, err = storage.OpenFiles(ctx, storage.Files{Format: format, Path: o.In, Columns: o.Columns, Classes: s.by.classes, Workers: o.Workers})
	if err != nil {
		return nil, dataError(ctx, err)
	}
	lock, err := storage.LockFolder(o.Out)
	if err != nil {
		return nil, err
	}
	defer func() {
		if released := lock.Release(); released != nil {
			err = errors.Join(err, released)
		}
	}()
	return s.run(ctx)
}

// validate finds what no call can do, before one does anything.
func (o SetOptions) validate() error {
	var problems []config.Problem
	add := func(format string, values ...any) {
		problems = append(problems, config.Problem{Text: fmt.Sprintf(format, values...)})
	}
	if _, err := (predictor.Options{Device: o.Device, Precision: o.Precision}).Ran(); err != nil {
		add("%v", err)
	}
	if !storage.IsSplit(o.Split) {
		add("split %q: want a word such as train", o.Split)
	}
	if !(o.MaxBad >= 0 && o.MaxBad <= 1) {
		add("largest share of unusable rows %v: want at least 0 and at most 1", o.MaxBad)
	}
	if o.Workers < 1 {
		add("%d workers: want at least 1", o.Workers)
	}
	if o.Batch < 0 {
		add("batch of %d images: want at least 0", o.Batch)
	}
	if len(problems) > 0 {
		return &ConfigError{Problems: problems}
	}
	return nil
}

// setAnnotation is a call of AnnotateSet, with the lock of its folder.
type setAnnotation struct {
	SetOptions
	by     *setAnnotator
	source storage.Source
	events *stageEvents
}

func (s *setAnnotation) run(ctx context.Context) (*Summary, error) {
	data, err := s.source.Fingerprint(ctx)
	if err != nil {
		return nil, dataError(ctx, err)
	}
	id := setIdentity{
		Model: s.by.key, Teacher: s.by.teacher, In: s.source.Name(), Data: data, Rows: s.source.Rows(), Columns: s.Columns, Split: s.Split,
	}
	if err := id.claim(s.Out); err != nil {
		return nil, err
	}
	list, err := storage.OpenQuarantine(filepath.Join(s.Out, quarantineName))
	if err != nil {
		return nil, err
	}
	bad := &quarantine{list: list, rows: s.source.Rows(), share: s.MaxBad, path: filepath.Join(s.Out, quarantineName)}
	set, err := storage.Open(s.Out)
	if err != nil { // not there, or not finished
		err = s.write(ctx, bad)
	}
	if err := errors.Join(err, bad.close()); err != nil {
		return nil, errors.Join(err, s.giveUp(bad))
	}
	if set == nil {
		if set, err = storage.Open(s.Out); err != nil {
			return nil, err
		}
	}
	summary := summarise(set)
	summary.Excluded = bad.excluded()
	s.events.end(summary.String())
	return &summary, nil
}

func (s *setAnnotation) write(ctx context.Context, bad *quarantine) error {
	for _, column := range s.source.LeftOut() {
		s.events.warn("left out: " + column)
	}
	s.events.start(fmt.Sprintf("%d samples of %q", s.source.Rows(), s.source.Name()))
	a := &annotation{
		annotator: s.by, name: s.by.source, key: s.by.key, bad: bad, total: s.source.Rows(), events: s.events,
		options: predictor.Options{Workers: s.Workers, Batch: s.Batch, Device: s.Device, Precision: s.Precision},
		split:   func(storage.Sample) string { return s.Split },
	}
	return a.write(ctx, s.Out, s.source.Schema(), nothing, []stream{{s.source.Name(), s.source.Samples(ctx, 0)}})
}

// giveUp leaves the folder of a call that failed to others, if nothing is finished in
// it. A list of unusable rows stays, which may say why.
func (s *setAnnotation) giveUp(bad *quarantine) error {
	cleared, err := storage.Clear(s.Out)
	if err != nil || !cleared || bad.count() > 0 {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(s.Out, quarantineName)), os.Remove(filepath.Join(s.Out, identityName)))
}

// setIdentity says of what a folder holds the annotated set, so that a later call
// goes on with it or leaves it alone.
type setIdentity struct {
	Model   string            `json:"model"`
	Teacher *TeacherOptions   `json:"teacher,omitempty"`
	In      string            `json:"in"`
	Data    string            `json:"data"` // fingerprint of what In holds
	Rows    int64             `json:"rows"`
	Columns map[string]string `json:"columns"`
	Split   string            `json:"split"`
}

const identityName = "annotated.json"

// claim makes a locked folder that of the set, or finds that an earlier call has begun
// the same in it. One in which another set was begun, but nothing finished, is taken
// over.
func (id setIdentity) claim(dir string) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, identityName)
	found, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(found, text):
		return storage.Sweep(path)
	case err == nil:
		err = takeOver(dir)
	case errors.Is(err, fs.ErrNotExist):
		err = wantEmpty(dir)
	}
	if err != nil {
		return err
	}
	return errors.Join(storage.AtomicWriteFile(path, text), storage.Sweep(path))
}

// takeOver removes what a call for another set has left, if it has finished nothing.
func takeOver(dir string) error {
	cleared, err := storage.Clear(dir)
	if err != nil {
		return err
	}
	if !cleared {
		return configError(fmt.Errorf("%q says that the folder is of another model, other options or another set, or of a set that has changed: choose another folder",
			filepath.Join(dir, identityName)))
	}
	return os.RemoveAll(filepath.Join(dir, quarantineName))
}

// wantEmpty refuses a folder that somebody else has put something into.
func wantEmpty(dir string) error {
	names, err := storage.FolderEntries(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "."+identityName) { // of a claim that was killed
			return configError(fmt.Errorf("folder %q holds %q: want a new or an empty folder", dir, name))
		}
	}
	return nil
}

// nothing is an empty row of samples.
func nothing(func(storage.Sample, error) bool) {}

// formatOf tells the format of a data set by its path.
func formatOf(path string) string {
	if format := tableFormat(path); format != "" {
		return format
	}
	if isSaved(path) {
		return "huggingface"
	}
	return "parquet"
}

// tableFormat is the format that a file's name says, "" if none.
func tableFormat(path string) string {
	switch filepath.Ext(path) {
	case ".parquet":
		return "parquet"
	case ".arrow", ".arrows", ".ipc", ".feather":
		return "arrow"
	}
	return ""
}

// isSaved reports whether a folder is one of save_to_disk.
func isSaved(path string) bool {
	for _, name := range []string{"state.json", "dataset_dict.json", "dataset_info.json"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return true
		}
	}
	return false
}
