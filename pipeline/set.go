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
// project around them. The set may be larger than memory. What an
// interrupted call has finished in Out is kept for the next.
func AnnotateSet(ctx context.Context, o SetOptions) (*Summary, error) {
	s, err := annotateSet(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("annotate %q: %w", o.In, err)
	}
	return s, nil
}

func annotateSet(ctx context.Context, o SetOptions) (*Summary, error) {
	events := newEvents(o.Observe).of(StageAnnotate)
	if _, err := (predictor.Options{Device: o.Device, Precision: o.Precision}).Ran(); err != nil {
		return nil, configError(err)
	}
	by, err := openAnnotator(o.Models, o.Teacher)
	if err != nil {
		return nil, err
	}
	format := o.Format
	if format == "" {
		format = formatOf(o.In)
	}
	source, err := storage.OpenFiles(ctx, storage.Files{Format: format, Path: o.In, Columns: o.Columns, Classes: by.classes, Workers: o.Workers})
	if err != nil {
		return nil, dataError(ctx, err)
	}
	for _, column := range source.LeftOut() {
		events.warn("left out: " + column)
	}
	id := setIdentity{Model: by.key, Teacher: by.teacher, In: source.Name(), Rows: source.Rows(), Columns: o.Columns, Split: o.Split}
	if err := id.claim(o.Out); err != nil {
		return nil, err
	}
	list, err := storage.OpenQuarantine(filepath.Join(o.Out, quarantineName))
	if err != nil {
		return nil, err
	}
	bad := &quarantine{list: list, rows: source.Rows(), share: o.MaxBad, path: filepath.Join(o.Out, quarantineName)}
	events.start(fmt.Sprintf("%d samples of %q", source.Rows(), source.Name()))
	a := &annotation{
		annotator: by, name: by.source, key: by.key, bad: bad, total: source.Rows(), events: events,
		options: predictor.Options{Workers: o.Workers, Batch: o.Batch, Device: o.Device, Precision: o.Precision},
		split:   func(storage.Sample) string { return o.Split },
	}
	err = a.write(ctx, o.Out, source.Schema(), nothing, []stream{{source.Name(), source.Samples(ctx, 0)}})
	if err := errors.Join(err, bad.close()); err != nil {
		return nil, err
	}
	set, err := storage.Open(o.Out)
	if err != nil {
		return nil, err
	}
	summary := summarise(set)
	summary.Excluded = bad.excluded()
	events.end(summary.String())
	return &summary, nil
}

// setIdentity says of what a folder holds the annotated set, so that a later call
// goes on with it or leaves it alone.
type setIdentity struct {
	Model   string            `json:"model"`
	Teacher *TeacherOptions   `json:"teacher,omitempty"`
	In      string            `json:"in"`
	Rows    int64             `json:"rows"`
	Columns map[string]string `json:"columns"`
	Split   string            `json:"split"`
}

const identityName = "annotated.json"

// claim makes the folder, or finds that an earlier call has begun the same in it.
func (id setIdentity) claim(dir string) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, identityName)
	found, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(found, text):
		return nil
	case err == nil:
		return fmt.Errorf("%q says that the folder is of another model, other options or another set: choose another folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("folder %q holds %q: want a new or an empty folder", dir, entries[0].Name())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return storage.AtomicWriteFile(path, text)
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
