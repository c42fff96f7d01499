package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// listing is a source whose rows stand in text files, each with the path of an image
// and perhaps a human map.
type listing struct {
	files   fs.FS
	name    string
	classes []string
	workers int
	lists   []namedFile // what the rows were read from
	rows    []listedRow
}

// listedRow is one row of a listing. Its id is unique, its split one that the list
// gives or "".
type listedRow struct {
	list  string // path of the file that lists it
	index int    // in that file, counted from 0
	line  int    // in that file, counted from 1

	id, split, group string
	label            int64
	image            string   // path
	saliency         humanMap // nil if there is none
}

// newListing begins a listing by the path of its first list and that of the folder
// of its images.
func newListing(files fs.FS, name, images string, classes []string, workers int) (*listing, error) {
	if err := (Schema{Classes: classes}).validate(); err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if err := wantFolder(files, images); err != nil {
		return nil, fmt.Errorf("read %q: images: %w", name, err)
	}
	return &listing{files: files, name: name, classes: classes, workers: workers}, nil
}

// all are the rows, to be changed.
func (s *listing) all() []*listedRow {
	rows := make([]*listedRow, len(s.rows))
	for i := range s.rows {
		rows[i] = &s.rows[i]
	}
	return rows
}

// SplitsOfGroups are the splits of the groups of which a row has one: that of the first.
func (s *listing) SplitsOfGroups() map[string]string {
	splits := map[string]string{}
	for _, row := range s.all() {
		if row.group != "" && row.split != "" && splits[row.group] == "" {
			splits[row.group] = row.split
		}
	}
	return splits
}

// check tells whether an image is listed twice, or a class has none.
func (s *listing) check() error {
	first := make(map[string]*listedRow, len(s.rows))
	seen := make([]bool, len(s.classes))
	for _, row := range s.all() {
		name := path.Clean(row.id)
		if other, twice := first[name]; twice {
			return fmt.Errorf("%s: file %q is listed in %s already", s.place(row), row.id, s.place(other))
		}
		first[name] = row
		if len(seen) > 0 && row.label != NoLabel {
			seen[row.label] = true
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		return fmt.Errorf("class %q has no image, want at least one of each of %q", s.classes[i], s.classes)
	}
	return nil
}

// place is where a row stands, in the words of a message that names the first list.
func (s *listing) place(row *listedRow) string {
	if row.list == s.name {
		return fmt.Sprintf("line %d", row.line)
	}
	return fmt.Sprintf("line %d of %q", row.line, row.list)
}

// humanMap is where the map of an image comes from.
type humanMap interface {
	// encoded is the map of an image that is displayed with w x h pixels.
	encoded(files fs.FS, w, h int) (Encoded, error)
}

// mapFile is the path of a map that is an image file.
type mapFile string

func (m mapFile) encoded(files fs.FS, w, h int) (Encoded, error) {
	e, err := readEncoded(files, string(m))
	if err == nil {
		err = checkMap(e.Bytes, w, h)
	}
	if err != nil {
		return e, fmt.Errorf("map %q: %w", e.Path, err)
	}
	return e, nil
}

// osFiles are the files of the operating system by any path, not only by those
// below a root as in os.DirFS.
type osFiles struct{}

func (osFiles) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

// filesOr are the files, or those of the operating system if there are none.
func filesOr(files fs.FS) fs.FS {
	if files == nil {
		return osFiles{}
	}
	return files
}

// below is the path of what is below a root.
func below(root string, elem ...string) string {
	return path.Join(append([]string{filepath.ToSlash(root)}, elem...)...)
}

// reason is what went wrong with a file whose name the message gives already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// absent is an error in words of its own that is fs.ErrNotExist.
type absent string

func (a absent) Error() string { return string(a) }

func (absent) Is(target error) bool { return target == fs.ErrNotExist }

// wantFolder tells what stands in the way of a folder.
func wantFolder(files fs.FS, path string) error {
	info, err := fs.Stat(files, path)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", path, reason(err))
	case !info.IsDir():
		return fmt.Errorf("%q: want a folder, found a file", path)
	}
	return nil
}

// readList reads a file that lists rows.
func readList(files fs.FS, path string) ([]byte, error) {
	text, err := fs.ReadFile(files, path)
	if err != nil {
		return nil, reason(err)
	}
	return text, nil
}

func (s *listing) Name() string { return s.name }

func (s *listing) Schema() Schema { return Schema{Classes: s.classes} }

func (s *listing) Rows() int64 { return int64(len(s.rows)) }

func (s *listing) LeftOut() []string { return nil }

func (s *listing) Samples(ctx context.Context, from int64) iter.Seq2[Sample, error] {
	return samplesInOrder(ctx, s.workers, from, s.Rows(), func(i int) (Sample, error) { return s.sample(ctx, s.rows[i]) })
}

// sample reads a row and decodes its image and map to see that they can be.
func (s *listing) sample(ctx context.Context, row listedRow) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	out := Sample{ID: row.id, Label: row.label, Split: row.split, Group: row.group, SaliencyQuality: NoQuality()}
	var err error
	if out.Image, out.Saliency, err = s.read(row); err != nil {
		return Sample{}, &RowError{Source: row.list, Row: int64(row.index), ID: row.id, Err: fmt.Errorf("line %d: %w", row.line, err)}
	}
	if out.Saliency.Present() {
		out.SaliencySource = SourceHuman
	}
	return out, nil
}

func (s *listing) read(row listedRow) (image, saliency Encoded, err error) {
	image, err = readEncoded(s.files, row.image)
	if err != nil {
		return image, saliency, fmt.Errorf("image: %w", err)
	}
	m, err := raster.Decode(image.Bytes)
	if err != nil {
		return image, saliency, fmt.Errorf("image: %w", err)
	}
	if row.saliency != nil {
		saliency, err = row.saliency.encoded(s.files, m.W, m.H)
	}
	return image, saliency, err
}

// readEncoded reads an image file as it is.
func readEncoded(files fs.FS, name string) (Encoded, error) {
	e := Encoded{Path: path.Base(name)}
	info, err := fs.Stat(files, name)
	switch {
	case err != nil:
		return e, reason(err)
	case info.IsDir():
		return e, errors.New("found a folder, want a file")
	case info.Size() > maxBlob:
		return e, fmt.Errorf("found %d bytes, want at most %d", info.Size(), maxBlob)
	}
	if e.Bytes, err = fs.ReadFile(files, name); err != nil {
		return e, reason(err)
	}
	return e, nil
}

// mapTolerance is the ratio of width to height up to which a map may be off, either way.
const mapTolerance = 1.02

// checkMap decodes a map and compares its shape with that of its image, w x h as
// displayed.
func checkMap(data []byte, w, h int) error {
	m, err := raster.DecodeMap(data)
	if err != nil {
		return err
	}
	off := float64(m.W) * float64(h) / (float64(m.H) * float64(w))
	if off > mapTolerance || off < 1/mapTolerance {
		return fmt.Errorf("found %d x %d pixels, want the shape of the image as displayed, %d x %d, within 2 %%", m.W, m.H, w, h)
	}
	return nil
}

func (s *listing) Fingerprint(ctx context.Context) (string, error) {
	files := slices.Clone(s.lists)
	for _, row := range s.rows {
		files = append(files, namedFile{row.id, row.image})
		if m, is := row.saliency.(mapFile); is {
			files = append(files, namedFile{"map of " + row.id, string(m)})
		}
	}
	sum, err := fingerprint(ctx, s.files, s.workers, files)
	if err != nil {
		return "", fmt.Errorf("fingerprint of %q: %w", s.name, err)
	}
	return sum, nil
}
