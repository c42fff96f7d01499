package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"
)

// Layout says how a data set is cut into files.
type Layout struct {
	// RowGroupBytes bounds a row group, which is what a reader holds in memory at a
	// time. A row group may pass it by no more than a single larger row.
	RowGroupBytes int64
	// ShardBytes bounds a file in the same way.
	ShardBytes int64
}

// DefaultLayout is the layout of Create.
var DefaultLayout = Layout{RowGroupBytes: 64 << 20, ShardBytes: 256 << 20}

// dataFolder is the folder of a data set that holds its files.
const dataFolder = "data"

// Writer writes a data set folder: data/<split>-00000-of-0000N.parquet. Until
// Close the files have the ending .part (finished) or .writing, so that a crash
// leaves nothing that looks like a data set. The bytes written depend on the
// schema, the layout and the samples alone.
//
// A Writer holds at most one row group per split in memory. It is not safe for
// concurrent use.
type Writer struct {
	dir    string // the data folder
	schema Schema
	layout Layout
	disk   disk
	splits map[string]*splitWriter
	ids    map[xxh3.Uint128]struct{} // hashes of the ids written, finished shards included
	err    error                     // the first error; it ends the writer
	closed bool
}

// ErrDuplicateID says that a data set has a sample of the same id already.
var ErrDuplicateID = errors.New("the id is there already")

// splitWriter writes the shards of one split.
type splitWriter struct {
	name    string
	rows    int // in finished shards
	pending []Sample
	bytes   int64
	shards  int // finished
	open    *shard
}

// shard is a file being written.
type shard struct {
	path string
	file diskFile
	*parquetWriter
	rows int
}

// Create begins a data set in dir with the default layout. It refuses a folder
// that holds one already; what a crash left of another is removed.
func Create(dir string, schema Schema) (*Writer, error) {
	return create(osDisk{}, dir, schema, DefaultLayout)
}

// CreateWith is Create with another layout.
func CreateWith(dir string, schema Schema, layout Layout) (*Writer, error) {
	return create(osDisk{}, dir, schema, layout)
}

// Continue goes on with a data set that was not closed: shards that were finished
// stay, all else is removed. Done says how many rows of each split they hold; the
// caller goes on with the row after them. With the same samples and layout the
// result is byte-equal to that of an unbroken Writer. It begins a new data set
// where there is none, and may be called on one that was closed.
func Continue(dir string, schema Schema, layout Layout) (*Writer, error) {
	return resume(osDisk{}, dir, schema, layout)
}

func create(d disk, dir string, schema Schema, layout Layout) (*Writer, error) {
	w, names, err := newWriter(d, dir, schema, layout)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch shardState(name) {
		case final:
			return nil, fmt.Errorf("create data set %q: %w: %s/%s", dir, fs.ErrExist, dataFolder, name)
		case finished, unfinished:
			if err := d.RemoveAll(filepath.Join(w.dir, name)); err != nil {
				return nil, fmt.Errorf("create data set %q: %w", dir, err)
			}
		}
	}
	return w, nil
}

// newWriter makes the folder and returns the names of the files in it.
func newWriter(d disk, dir string, schema Schema, layout Layout) (*Writer, []string, error) {
	if err := schema.validate(); err != nil {
		return nil, nil, fmt.Errorf("create data set %q: %w", dir, err)
	}
	if layout.RowGroupBytes <= 0 || layout.ShardBytes <= 0 {
		return nil, nil, fmt.Errorf("create data set %q: row groups of %d and shards of %d bytes, want more than 0",
			dir, layout.RowGroupBytes, layout.ShardBytes)
	}
	data := filepath.Join(dir, dataFolder)
	if err := d.MkdirAll(data); err != nil {
		return nil, nil, fmt.Errorf("create data set %q: %w", dir, err)
	}
	entries, err := d.ReadDir(data)
	if err != nil {
		return nil, nil, fmt.Errorf("create data set %q: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	w := &Writer{dir: data, schema: schema, layout: layout, disk: d,
		splits: map[string]*splitWriter{}, ids: map[xxh3.Uint128]struct{}{}}
	return w, names, nil
}

func resume(d disk, dir string, schema Schema, layout Layout) (*Writer, error) {
	w, names, err := newWriter(d, dir, schema, layout)
	if err != nil {
		return nil, err
	}
	if err := w.resume(names); err != nil {
		return nil, fmt.Errorf("continue data set %q: %w", dir, err)
	}
	return w, nil
}

// resume adopts finished shards and removes unfinished ones. What cannot be gone on with
// stays as it is.
func (w *Writer) resume(names []string) error {
	for _, name := range names {
		if st := shardState(name); st == final || st == finished {
			if err := w.adopt(filepath.Join(w.dir, name), name); err != nil {
				return err
			}
		}
	}
	for _, s := range w.splits {
		if err := w.checkRun(s); err != nil {
			return err
		}
	}
	for _, name := range names {
		path, err := filepath.Join(w.dir, name), error(nil)
		switch shardState(name) {
		case unfinished:
			err = w.disk.RemoveAll(path)
		case final, finished: // the name that it has until Close
			split, index, _ := parseShard(name)
			err = w.disk.Rename(path, w.shardPath(split, index, finished))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt counts a finished shard.
func (w *Writer) adopt(path, name string) error {
	split, index, _ := parseShard(name)
	f, err := openParquet(path)
	if err != nil {
		return err
	}
	want, err := w.schema.footer()
	if err != nil {
		return err
	}
	if f.footer != want {
		return fmt.Errorf("%q was written with another schema", path)
	}
	rows, err := f.readRows(interner())
	if err != nil {
		return err
	}
	for _, r := range rows {
		w.ids[xxh3.HashString128(r.ID)] = struct{}{}
	}
	s := w.split(split)
	s.rows += f.rows
	s.shards = max(s.shards, index+1)
	return nil
}

// checkRun reports a gap in the finished shards of a split.
func (w *Writer) checkRun(s *splitWriter) error {
	entries, err := w.disk.ReadDir(w.dir)
	if err != nil {
		return err
	}
	n := 0
	for _, e := range entries {
		if split, _, ok := parseShard(e.Name()); ok && split == s.name && shardState(e.Name()) != unfinished {
			n++
		}
	}
	if n != s.shards {
		return fmt.Errorf("%d shards of split %q, want %d", n, s.name, s.shards)
	}
	return nil
}

// Done is the number of rows of each split in finished shards.
func (w *Writer) Done() map[string]int {
	done := map[string]int{}
	for name, s := range w.splits {
		done[name] = s.rows
	}
	return done
}

// splitName is what Hugging Face datasets takes for a split.
var splitName = regexp.MustCompile(`^\w+(\.\w+)*$`)

// IsSplit reports whether a split can have a name.
func IsSplit(name string) bool { return splitName.MatchString(name) }

// Append adds a sample to its split. The writer keeps the sample's byte slices
// until the row group is written: the caller does not change them. A sample that is
// refused, such as one with ErrDuplicateID, leaves the writer as it was.
func (w *Writer) Append(s Sample) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return fmt.Errorf("append to data set %q: %w", filepath.Dir(w.dir), fs.ErrClosed)
	}
	if err := w.schema.check(&s); err != nil {
		return fmt.Errorf("append to data set %q: %w", filepath.Dir(w.dir), err)
	}
	if !splitName.MatchString(s.Split) {
		return fmt.Errorf("append to data set %q: sample %q: split %q, want a word such as train", filepath.Dir(w.dir), s.ID, s.Split)
	}
	id := xxh3.HashString128(s.ID)
	if _, twice := w.ids[id]; twice {
		return fmt.Errorf("append to data set %q: sample %q: %w", filepath.Dir(w.dir), s.ID, ErrDuplicateID)
	}
	w.ids[id] = struct{}{}
	split := w.split(s.Split)
	size := s.size()
	if len(split.pending) > 0 && split.bytes+size > w.layout.RowGroupBytes {
		if err := w.flush(split); err != nil {
			return w.fail(err)
		}
	}
	split.pending = append(split.pending, s)
	split.bytes += size
	return nil
}

func (w *Writer) split(name string) *splitWriter {
	s := w.splits[name]
	if s == nil {
		s = &splitWriter{name: name}
		w.splits[name] = s
	}
	return s
}

// fail remembers the first error and closes the open files, whose names still say
// that they are unfinished.
func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("write data set %q: %w", filepath.Dir(w.dir), err)
	w.closeFiles()
	return w.err
}

func (w *Writer) closeFiles() {
	for _, s := range w.splits {
		if s.open != nil {
			_ = s.open.file.Close() // what is in it is given up
			s.open = nil
		}
		s.pending = nil
	}
}

// flush writes the pending rows of a split as a row group, in a new shard where
// the open one is full.
func (w *Writer) flush(s *splitWriter) error {
	if len(s.pending) == 0 {
		return nil
	}
	if s.open != nil && s.open.Size()+s.bytes > w.layout.ShardBytes {
		if err := w.finish(s); err != nil {
			return err
		}
	}
	if s.open == nil {
		if err := w.begin(s); err != nil {
			return err
		}
	}
	if err := s.open.WriteRowGroup(s.pending); err != nil {
		return fmt.Errorf("write %q: %w", s.open.path, err)
	}
	s.open.rows += len(s.pending)
	clear(s.pending) // let go of the images
	s.pending, s.bytes = s.pending[:0], 0
	return nil
}

func (w *Writer) begin(s *splitWriter) error {
	path := w.shardPath(s.name, s.shards, unfinished)
	f, err := w.disk.Create(path)
	if err != nil {
		return err
	}
	p, err := newParquetWriter(f, w.schema)
	if err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", path, err), f.Close())
	}
	s.open = &shard{path: path, file: f, parquetWriter: p}
	return nil
}

// finish completes the open shard of a split and makes it durable.
func (w *Writer) finish(s *splitWriter) error {
	o := s.open
	if o == nil {
		return nil
	}
	s.open = nil
	err := o.parquetWriter.Close()
	if err == nil {
		err = o.file.Sync()
	}
	if closed := o.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", o.path, err)
	}
	if err := w.disk.Rename(o.path, w.shardPath(s.name, s.shards, finished)); err != nil {
		return err
	}
	s.shards++
	s.rows += o.rows
	return nil
}

// Close writes what is pending and gives the files their names.
func (w *Writer) Close() error {
	if w.err != nil || w.closed {
		return w.err
	}
	w.closed = true
	for _, s := range w.inOrder() {
		err := w.flush(s)
		if err == nil {
			err = w.finish(s)
		}
		if err != nil {
			return w.fail(err)
		}
	}
	if err := w.publish(); err != nil {
		return w.fail(err)
	}
	return nil
}

// publish renames the finished shards, all or none. A crash in its midst leaves
// .part files, and Open refuses a folder with any.
func (w *Writer) publish() (err error) {
	var undo []func() error
	defer func() {
		if err != nil {
			for _, u := range undo {
				err = errors.Join(err, u())
			}
		}
	}()
	for _, s := range w.inOrder() {
		for i := range s.shards {
			part := w.shardPath(s.name, i, finished)
			name := filepath.Join(w.dir, shardFile(s.name, i, s.shards))
			if err := w.disk.Rename(part, name); err != nil {
				return err
			}
			undo = append(undo, func() error { return w.disk.Rename(name, part) })
		}
	}
	return w.disk.SyncDir(w.dir)
}

func (w *Writer) inOrder() []*splitWriter {
	names := make([]string, 0, len(w.splits))
	for name := range w.splits {
		names = append(names, name)
	}
	slices.Sort(names)
	splits := make([]*splitWriter, len(names))
	for i, name := range names {
		splits[i] = w.splits[name]
	}
	return splits
}

// Suspend ends the writer and keeps its finished shards, with which Continue goes
// on. After Close it does nothing.
func (w *Writer) Suspend() error {
	if !w.closed {
		w.closed = true
		w.closeFiles()
	}
	return nil
}

// Abort closes the open files and removes all that the writer has written. After
// Close it does nothing.
func (w *Writer) Abort() error {
	if w.closed && w.err == nil {
		return nil
	}
	w.closed = true
	w.closeFiles()
	entries, err := w.disk.ReadDir(w.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if shardState(e.Name()) != foreign {
			errs = append(errs, w.disk.RemoveAll(filepath.Join(w.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Clear removes what a Writer that finished no shard has left in dir. It removes
// nothing and reports false where there are finished ones, of a set that was closed or
// not. Files of others stay.
func Clear(dir string) (bool, error) {
	data := filepath.Join(dir, dataFolder)
	names, err := FolderEntries(data)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if state := shardState(name); state == finished || state == final {
			return false, nil
		}
	}
	left := 0
	for _, name := range names {
		if shardState(name) == foreign {
			left++
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(data, name)))
	}
	if left == 0 && exists(data) {
		err = errors.Join(err, os.Remove(data))
	}
	return err == nil, err
}

// state is how far a file of a data folder has come, read from its name.
type state int

const (
	foreign    state = iota // not ours
	unfinished              // <split>-00000.writing
	finished                // <split>-00000.part
	final                   // <split>-00000-of-00001.parquet
)

var shardName = regexp.MustCompile(`^(\w+(?:\.\w+)*)-(\d{5,})(?:-of-(\d{5,})\.parquet|\.part|\.writing)$`)

func shardState(name string) state {
	switch {
	case !shardName.MatchString(name):
		return foreign
	case filepath.Ext(name) == ".writing":
		return unfinished
	case filepath.Ext(name) == ".part":
		return finished
	}
	return final
}

// parseShard takes the name of a shard apart.
func parseShard(name string) (split string, index int, ok bool) {
	m := shardName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	index, err := strconv.Atoi(m[2])
	return m[1], index, err == nil
}

func (w *Writer) shardPath(split string, index int, st state) string {
	ending := ".part"
	if st == unfinished {
		ending = ".writing"
	}
	return filepath.Join(w.dir, fmt.Sprintf("%s-%05d%s", split, index, ending))
}
