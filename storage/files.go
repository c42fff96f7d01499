package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Files is a set of images that other programs wrote, without maps.
type Files struct {
	// Format is parquet, arrow (IPC file or stream, found out by content) or
	// huggingface (a folder of save_to_disk).
	Format string
	// Path is a file, a folder with all that is below it, or a pattern such as
	// big/*.parquet.
	Path string
	// Columns are the set's names for id, image, label, split and group where they
	// differ from these; "" where none is to be read.
	Columns map[string]string
	// Classes are the class names in the order of their indices. If there are none,
	// they are those that the files name; labels are then plain numbers if they name
	// none.
	Classes []string
	// Workers is the number of files that Fingerprint reads at once, at least 1.
	Workers int
}

// table is one file of a set. It holds what its header or footer says; the file
// itself is open only while rows are read.
type table interface {
	columns() []tableColumn
	rows() int64
	// classNames are the names of a column's classes, nil if the file gives none.
	classNames(column string) []string
	// read begins to read the columns at the indices pick from a row on.
	read(from int64, pick []int) (tableRows, error)
}

// tableRows are the rows of a table, read one after another.
type tableRows interface {
	// next is the values of the next row: nil for null, else bool, int64, float32,
	// float64, string or []byte. The values are the caller's to keep, the slice is
	// not. The error is io.EOF at the end.
	next() ([]any, error)
	close()
}

// tableColumn is a column, or a field of a struct column.
type tableColumn struct {
	name  string
	field string // "" unless the column is a struct
	kind  Kind
	// usable says that the values are of the kind; empty that all are null.
	usable, empty bool
	typ           string // as the file calls it
}

// filesSource is an opened Files.
type filesSource struct {
	files  Files
	schema Schema
	left   []string
	parts  []part
	rows   int64
}

// part is one file of a set and how its rows become samples.
type part struct {
	path, name string // name is that within the set
	split      string // of the rows that do not say themselves
	table      table
	start      int64 // its first row in the set
	plan       plan
}

// OpenFiles reads the headers of the set's files. Files of the same set may differ
// in how wide their numbers are and in which extra columns they have.
//
// An image column holds encoded images, structs of bytes and path, or paths below
// the folder of the file. Further columns are kept as extra columns where their
// type is a Kind. A row without an id column is called <file>-<row>. Rows without a
// split are in that of their folder (save_to_disk of several splits) or file
// (<split>-00000-of-00001.parquet), if train, val or test can be read off its name.
// Images are checked by their headers, not decoded.
func OpenFiles(ctx context.Context, f Files) (Source, error) {
	s := &filesSource{files: f}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return s, nil
}

func (s *filesSource) open(ctx context.Context) error {
	if err := (Schema{Classes: s.files.Classes}).validate(); err != nil {
		return err
	}
	find, open := findFiles, openArrowTable
	switch s.files.Format {
	case "parquet":
		open = openParquetTable
	case "arrow":
	case "huggingface":
		find = findSaved
	default:
		return fmt.Errorf("format %q, want parquet, arrow or huggingface", s.files.Format)
	}
	for role := range s.files.Columns {
		if !slices.Contains(roles, role) {
			return fmt.Errorf("columns: %q, want one of %q%s", role, roles, didYouMean(role, roles))
		}
	}
	var err error
	if s.parts, err = find(s.files.Path, s.files.Format); err != nil {
		return err
	}
	for i := range s.parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &s.parts[i]
		if p.table, err = open(p.path); err != nil {
			return fmt.Errorf("%q: %w", p.path, err)
		}
		p.start = s.rows
		s.rows += p.table.rows()
	}
	return s.makePlans()
}

// endings of the files that a folder is searched for.
var endings = map[string][]string{"parquet": {".parquet", ".pq"}, "arrow": {".arrow", ".arrows", ".feather", ".ipc"}}

// findFiles lists the files of a path or pattern, sorted.
func findFiles(path, format string) ([]part, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && IsPattern(path):
		return findPattern(path)
	case err != nil:
		return nil, reason(err)
	case !info.IsDir():
		return []part{newPart(filepath.Dir(path), path)}, nil
	}
	var parts []part
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(e.Name(), ".") && p != path {
			if err == nil && e.IsDir() {
				return filepath.SkipDir
			}
			return err
		}
		if !e.IsDir() && slices.Contains(endings[format], strings.ToLower(filepath.Ext(p))) {
			parts = append(parts, newPart(path, p))
		}
		return nil
	})
	if err == nil && len(parts) == 0 {
		err = fmt.Errorf("no files with the ending %s", strings.Join(endings[format], " or "))
	}
	return parts, err
}

func findPattern(pattern string) ([]part, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, absent("no file matches")
	}
	// The names begin after the last folder that the pattern gives literally.
	base := pattern
	for IsPattern(base) {
		base = filepath.Dir(base)
	}
	var parts []part
	for _, p := range paths {
		parts = append(parts, newPart(base, p))
	}
	return parts, nil
}

func newPart(base, path string) part {
	name, err := filepath.Rel(base, path)
	if err != nil {
		name = filepath.Base(path)
	}
	return part{path: path, name: filepath.ToSlash(name), split: splitOfFile(filepath.Base(path))}
}

var shardOfOthers = regexp.MustCompile(`^(\w+)-\d+-of-\d+\.`)

// splitOfFile is the split that a file's name says it holds, "" if none.
func splitOfFile(name string) string {
	m := shardOfOthers.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	switch s := splitWord(m[1]); s {
	case "train", "val", "test":
		return s
	}
	return ""
}

// findSaved lists the files of a folder of save_to_disk: of one set, or of one set
// a split.
func findSaved(path, _ string) ([]part, error) {
	var dict struct {
		Splits []string `json:"splits"`
	}
	err := readJSON(filepath.Join(path, "dataset_dict.json"), &dict)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return findState(path, path)
	case err != nil:
		return nil, err
	}
	var parts []part
	for _, split := range dict.Splits {
		if !filepath.IsLocal(split) {
			return nil, fmt.Errorf("dataset_dict.json: split %q, want the name of a folder", split)
		}
		of, err := findState(path, filepath.Join(path, split))
		if err != nil {
			return nil, err
		}
		for i := range of {
			of[i].split = splitWord(split)
		}
		parts = append(parts, of...)
	}
	if len(parts) == 0 {
		return nil, errors.New("dataset_dict.json names no splits")
	}
	return parts, nil
}

func findState(base, dir string) ([]part, error) {
	var state struct {
		Files []struct {
			Name string `json:"filename"`
		} `json:"_data_files"`
		Split string `json:"_split"`
	}
	err := readJSON(filepath.Join(dir, "state.json"), &state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(fmt.Sprintf("no state.json or dataset_dict.json in %q: not a folder of save_to_disk", dir))
	}
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, f := range state.Files {
		if !filepath.IsLocal(f.Name) {
			return nil, fmt.Errorf("%q: file %q, want one in the same folder", filepath.Join(dir, "state.json"), f.Name)
		}
		p := newPart(base, filepath.Join(dir, f.Name))
		p.split = splitOfFile(state.Split + "-0-of-1.")
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%q names no files", filepath.Join(dir, "state.json"))
	}
	return parts, nil
}

// readJSON reads a small file.
func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%q: %w", path, reason(err))
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	return nil
}

func (s *filesSource) paths() []string {
	var paths []string
	for _, p := range s.parts {
		paths = append(paths, p.path)
	}
	return paths
}

func (s *filesSource) Name() string { return s.files.Path }

func (s *filesSource) Schema() Schema { return s.schema }

func (s *filesSource) Rows() int64 { return s.rows }

func (s *filesSource) LeftOut() []string { return s.left }

func (s *filesSource) Samples(ctx context.Context, from int64) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		for i := range s.parts {
			p := &s.parts[i]
			first := max(from-p.start, 0)
			if first >= p.table.rows() {
				continue
			}
			more, err := s.scan(ctx, p, first, yield)
			if err != nil {
				yield(Sample{}, err)
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// scan reads a part from a row on, and reports whether the reader wants more.
func (s *filesSource) scan(ctx context.Context, p *part, row int64, yield func(Sample, error) bool) (bool, error) {
	for values, err := range p.rows(ctx, row, p.plan.pick) {
		if err != nil {
			return false, err
		}
		x, err := p.sample(row, values, s.schema)
		if err != nil {
			x, err = Sample{}, &RowError{Source: p.path, Row: row, ID: x.ID, Err: err}
		}
		if row++; !yield(x, err) {
			return false, nil
		}
	}
	return true, nil
}

// rows reads the picked columns of a part from a row on. An error ends the
// sequence, and so does the end of the file before the last row.
func (p *part) rows(ctx context.Context, row int64, pick []int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		r, err := p.table.read(row, pick)
		if err != nil {
			yield(nil, fmt.Errorf("read %q: %w", p.path, err))
			return
		}
		defer r.close()
		for ; row < p.table.rows(); row++ {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			values, err := r.next()
			if err != nil {
				yield(nil, fmt.Errorf("read %q: row %d: %w", p.path, row, unexpected(err)))
				return
			}
			if !yield(values, nil) {
				return
			}
		}
	}
}

func (s *filesSource) Fingerprint(ctx context.Context) (string, error) {
	var files []namedFile
	for i := range s.parts {
		p := &s.parts[i]
		files = append(files, namedFile{p.saying(), p.path})
		images, err := p.images(ctx)
		if err != nil {
			return "", fmt.Errorf("fingerprint of %q: %w", s.files.Path, err)
		}
		for _, name := range images {
			files = append(files, namedFile{p.name + ": " + name, filepath.Join(filepath.Dir(p.path), filepath.FromSlash(name))})
		}
	}
	sum, err := fingerprint(ctx, osFiles{}, s.files.Workers, files)
	if err != nil {
		return "", fmt.Errorf("fingerprint of %q: %w", s.files.Path, err)
	}
	return sum, nil
}

// saying is the name of a part and what else is said of its rows beside the file.
func (p *part) saying() string {
	if p.split == splitOfFile(path.Base(p.name)) {
		return p.name
	}
	return fmt.Sprintf("%s of the split %q", p.name, p.split)
}

// images are the files beside a part that its rows may be read from, sorted.
func (p *part) images(ctx context.Context) ([]string, error) {
	if p.plan.path < 0 {
		return nil, nil
	}
	found := map[string]bool{}
	for values, err := range p.rows(ctx, 0, p.plan.pick[p.plan.path:p.plan.path+1]) {
		if err != nil {
			return nil, err
		}
		name, _ := values[0].(string)
		if !filepath.IsLocal(name) {
			continue
		}
		info, err := os.Stat(filepath.Join(filepath.Dir(p.path), name))
		if err == nil && info.Mode().IsRegular() {
			found[name] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
