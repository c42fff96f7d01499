package storage

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"weak"
)

// Dataset is a data set folder opened for reading. It holds the light columns of
// all rows in memory; images are read when asked for. It is safe for concurrent
// use.
type Dataset struct {
	dir    string
	schema Schema
	files  []*parquetFile
	groups []RowGroup
	places []place // of each row group
	rows   []Row
	window int
	cache  *groupCache
}

// place is where a row group is.
type place struct {
	file  *parquetFile
	group int
}

// DefaultWindow is the number of row groups that one reader holds in memory.
const DefaultWindow = 4

// keepBytes is the size up to which a whole data set stays in memory once read.
const keepBytes = 256 << 20

// Open reads the footers and the light columns of the data set in dir. A file
// that is truncated, foreign or of another schema than its neighbours is an error
// with its name, and so is a missing one.
func Open(dir string) (*Dataset, error) {
	paths, err := shardPaths(dir)
	if err != nil {
		return nil, fmt.Errorf("open data set %q: %w", dir, err)
	}
	d := &Dataset{dir: dir, window: DefaultWindow}
	for _, path := range paths {
		if err := d.add(path); err != nil {
			return nil, fmt.Errorf("open data set %q: %w", dir, err)
		}
	}
	d.schema = d.files[0].schema
	if err := d.readRows(); err != nil {
		return nil, fmt.Errorf("open data set %q: %w", dir, err)
	}
	d.cache = newGroupCache(d.places, d.bytes() <= keepBytes)
	return d, nil
}

// shardPaths lists the files of a data set by split and number, all of which have
// to be there.
func shardPaths(dir string) ([]string, error) {
	data := filepath.Join(dir, dataFolder)
	entries, err := os.ReadDir(data)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		switch shardState(e.Name()) {
		case unfinished, finished:
			return nil, fmt.Errorf("%s/%s: the data set was not finished", dataFolder, e.Name())
		case final:
			names[e.Name()] = true
		}
	}
	var paths []string
	for name := range names {
		split, of := shardCount(name)
		for i := range of {
			want := shardFile(split, i, of)
			if !names[want] {
				return nil, fmt.Errorf("%s/%s: %w", dataFolder, want, fs.ErrNotExist)
			}
		}
		paths = append(paths, filepath.Join(data, name))
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no files %s/<split>-00000-of-00001.parquet", dataFolder)
	}
	slices.Sort(paths)
	return paths, nil
}

func (d *Dataset) add(path string) error {
	f, err := openParquet(path)
	if err != nil {
		return err
	}
	if len(d.files) > 0 && f.footer != d.files[0].footer {
		return fmt.Errorf("%q has another schema than %q", path, d.files[0].path)
	}
	start := 0
	if n := len(d.groups); n > 0 {
		start = d.groups[n-1].Start + d.groups[n-1].Len
	}
	for i, g := range f.groups {
		d.groups = append(d.groups, RowGroup{Start: start + g.Start, Len: g.Len})
		d.places = append(d.places, place{f, i})
	}
	d.files = append(d.files, f)
	return nil
}

func (d *Dataset) readRows() error {
	intern := interner()
	for _, f := range d.files {
		rows, err := f.readRows(intern)
		if err != nil {
			return err
		}
		d.rows = append(d.rows, rows...)
	}
	return nil
}

func (d *Dataset) bytes() int64 {
	n := int64(0)
	for _, f := range d.files {
		n += f.bytes
	}
	return n
}

// Dir is the folder of the data set.
func (d *Dataset) Dir() string { return d.dir }

// Schema says what the rows hold. The caller does not change it.
func (d *Dataset) Schema() Schema { return d.schema }

// Classes are the class names in the order of their indices.
func (d *Dataset) Classes() []string { return d.schema.Classes }

// Rows are the light columns of all rows, in the order of the files: splits by
// name, within a split as written. The caller does not change them.
func (d *Dataset) Rows() []Row { return d.rows }

// Groups are the row groups, in the order of the rows.
func (d *Dataset) Groups() []RowGroup { return d.groups }

// Files are the paths of the data set's files, in the order of the rows.
func (d *Dataset) Files() []string {
	paths := make([]string, len(d.files))
	for i, f := range d.files {
		paths[i] = f.path
	}
	return paths
}

// Splits are the names of the splits, sorted.
func (d *Dataset) Splits() []string {
	seen := map[string]bool{}
	var splits []string
	for i := range d.rows {
		if s := d.rows[i].Split; !seen[s] {
			seen[s] = true
			splits = append(splits, s)
		}
	}
	slices.Sort(splits)
	return splits
}

// TornGroups are the groups that have samples in more than one split, sorted.
func (d *Dataset) TornGroups() []string {
	splits := map[string]string{}
	torn := map[string]bool{}
	for i := range d.rows {
		r := &d.rows[i]
		first, seen := splits[r.Group]
		switch {
		case r.Group == "":
		case !seen:
			splits[r.Group] = r.Split
		case first != r.Split:
			torn[r.Group] = true
		}
	}
	return slices.Sorted(maps.Keys(torn))
}

// WithWindow is the same data set, read with another window: the number of row
// groups that each reader holds, at least that of the Order in which it reads.
func (d *Dataset) WithWindow(groups int) *Dataset {
	c := *d
	c.window = max(groups, 1)
	return &c
}

// All reads every row in order.
func (d *Dataset) All(ctx context.Context) iter.Seq2[Sample, error] {
	rows := make([]int, len(d.rows))
	for i := range rows {
		rows[i] = i
	}
	return d.Read(ctx, rows)
}

// Read reads the given rows in the order given. It holds the row groups that it
// used last, as many as the window says, and one more that it reads ahead: an
// order that stays within that many groups at a time, such as Order's, reads each
// group once. Readers at work share the groups that they hold. An error ends the
// sequence.
func (d *Dataset) Read(ctx context.Context, rows []int) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		r := newGroupReader(d, rows)
		defer r.stop()
		for i, row := range rows {
			if err := ctx.Err(); err != nil {
				yield(Sample{}, err)
				return
			}
			s, err := r.sample(i, row)
			if err != nil {
				yield(Sample{}, fmt.Errorf("read data set %q: %w", d.dir, err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// group finds the row group of a row.
func (d *Dataset) group(row int) int {
	g, found := slices.BinarySearchFunc(d.groups, row, func(g RowGroup, row int) int {
		switch {
		case g.Start+g.Len <= row:
			return -1
		case g.Start > row:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return g
}

// groupReader reads rows in a fixed order with a window of row groups.
type groupReader struct {
	set    *Dataset
	rows   []int
	held   []heldGroup // the window, the group used last at the end
	ahead  chan loaded // receives the group read ahead; nil if none is
	number int         // of the group read ahead
	cursor int         // first row that was not looked at for reading ahead
}

type heldGroup struct {
	number int
	data   *groupData
}

type loaded struct {
	data *groupData
	err  error
}

func newGroupReader(d *Dataset, rows []int) *groupReader { return &groupReader{set: d, rows: rows} }

// sample is row rows[i].
func (r *groupReader) sample(i, row int) (Sample, error) {
	g := r.set.group(row)
	if g < 0 {
		return Sample{}, fmt.Errorf("row %d, want 0 to %d", row, len(r.set.rows)-1)
	}
	data, err := r.hold(g)
	if err != nil {
		return Sample{}, err
	}
	r.readAhead(i)
	return data.samples[row-r.set.groups[g].Start], nil
}

// hold makes g the group used last.
func (r *groupReader) hold(g int) (*groupData, error) {
	if at := r.find(g); at >= 0 {
		h := r.held[at]
		r.held = append(slices.Delete(r.held, at, at+1), h)
		return h.data, nil
	}
	data, err := r.load(g)
	if err != nil {
		return nil, err
	}
	if len(r.held) >= r.set.window {
		r.held = slices.Delete(r.held, 0, 1)
	}
	r.held = append(r.held, heldGroup{g, data})
	return data, nil
}

func (r *groupReader) find(g int) int {
	return slices.IndexFunc(r.held, func(h heldGroup) bool { return h.number == g })
}

func (r *groupReader) load(g int) (*groupData, error) {
	if r.ahead == nil || r.number != g {
		return r.set.cache.load(g)
	}
	l := <-r.ahead
	r.ahead = nil
	return l.data, l.err
}

// readAhead begins to read the first group after rows[i] that is not held.
func (r *groupReader) readAhead(i int) {
	if r.ahead != nil {
		return
	}
	for r.cursor = max(r.cursor, i+1); r.cursor < len(r.rows); r.cursor++ {
		g := r.set.group(r.rows[r.cursor])
		if g >= 0 && r.find(g) < 0 {
			ahead := make(chan loaded, 1)
			r.ahead, r.number = ahead, g
			go func() {
				data, err := r.set.cache.load(g)
				ahead <- loaded{data, err}
			}()
			return
		}
	}
}

// stop waits for the group that is being read ahead.
func (r *groupReader) stop() {
	if r.ahead != nil {
		<-r.ahead
		r.ahead = nil
	}
}

// groupData are the samples of a row group.
type groupData struct{ samples []Sample }

// groupCache lets readers share the row groups that any of them holds, and keeps
// those of a small data set.
type groupCache struct {
	places []place
	keep   bool
	slots  []groupSlot
}

type groupSlot struct {
	mu   sync.Mutex // held while the group is read: no two readers read the same
	weak weak.Pointer[groupData]
	kept *groupData
}

func newGroupCache(places []place, keep bool) *groupCache {
	return &groupCache{places: places, keep: keep, slots: make([]groupSlot, len(places))}
}

func (c *groupCache) load(g int) (*groupData, error) {
	s := &c.slots[g]
	s.mu.Lock()
	defer s.mu.Unlock()
	if data := s.weak.Value(); data != nil {
		return data, nil
	}
	samples, err := c.places[g].file.readGroup(c.places[g].group)
	if err != nil {
		return nil, err
	}
	data := &groupData{samples}
	s.weak = weak.Make(data)
	if c.keep {
		s.kept = data
	}
	return data, nil
}

// shardFile is the name of a finished file.
func shardFile(split string, index, of int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.parquet", split, index, of)
}

// shardCount takes the number of shards from the name of a finished file.
func shardCount(name string) (split string, of int) {
	m := shardName.FindStringSubmatch(name)
	of, err := strconv.Atoi(m[3])
	if err != nil {
		of = math.MaxInt // no folder has so many: the next one is missing
	}
	return m[1], of
}
