package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// Folder is a set of images with a CSV file of their labels and a folder of maps
// drawn by humans.
type Folder struct {
	// FS is where Root is, nil for the files of the operating system.
	FS fs.FS
	// Root is the folder that the other paths are in.
	Root string
	// Images is the folder that the file names of the CSV file are in.
	Images string
	// Labels is a CSV file with a header. Of its columns, file (below Images, with
	// slashes) and label (a class name, an index, or nothing) must be there, split
	// and group may be, and others are ignored.
	Labels string
	// Maps is the folder of the maps, "" if there are none. The map of images/a/b.jpg
	// is maps/a/b or else maps/b, with the ending of any image format. An image may
	// lack one.
	Maps string
	// Classes are the class names in the order of their indices. If there are none,
	// they are the labels found, sorted, unless those are whole numbers.
	Classes []string
	// Workers is the number of images that are read and decoded at once, at least 1.
	Workers int
}

// folderSource is an opened Folder.
type folderSource struct {
	folder Folder
	labels string // path of the CSV file
	rows   []labelRow
	maps   []string // path of each row's map, "" for none
}

// OpenFolder reads the CSV file and finds the maps. What is wrong with the CSV
// file or with the folder as a whole is an error here; an image or map that cannot
// be used is a *RowError of Samples, which decodes every one and holds the shape
// of each map against its image.
//
// The samples come in the order of the CSV file. Their id is the file name as
// written there, and the source of their maps is SourceHuman. Links are followed.
func OpenFolder(f Folder) (Source, error) {
	if f.FS == nil {
		f.FS = osFiles{}
	}
	s := &folderSource{folder: f, labels: f.path(f.Labels)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("read %q: %w", s.labels, err)
	}
	if err := s.findMaps(); err != nil {
		return nil, fmt.Errorf("read maps of %q: %w", s.labels, err)
	}
	return s, nil
}

// osFiles are the files of the operating system by any path, not only by those
// below a root as in os.DirFS.
type osFiles struct{}

func (osFiles) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

func (f Folder) path(elem ...string) string {
	return path.Join(append([]string{filepath.ToSlash(f.Root)}, elem...)...)
}

func (s *folderSource) open() error {
	text, err := fs.ReadFile(s.folder.FS, s.labels)
	if err != nil {
		return reason(err)
	}
	if err := s.wantFolder(s.folder.path(s.folder.Images)); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	s.rows, s.folder.Classes, err = readLabels(text, s.folder.Classes)
	return err
}

// reason is what went wrong with a file whose name the message gives already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (s *folderSource) wantFolder(path string) error {
	info, err := fs.Stat(s.folder.FS, path)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", path, reason(err))
	case !info.IsDir():
		return fmt.Errorf("%q: want a folder, found a file", path)
	}
	return nil
}

// mapTolerance is the ratio of width to height up to which a map may be off, either way.
const mapTolerance = 1.02

var imageEndings = []string{".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}

// stem is a file name without the ending of an image.
func stem(name string) (string, bool) {
	ending := path.Ext(name)
	return strings.TrimSuffix(name, ending), slices.Contains(imageEndings, strings.ToLower(ending))
}

// findMaps pairs the rows with the maps.
func (s *folderSource) findMaps() error {
	s.maps = make([]string, len(s.rows))
	if s.folder.Maps == "" {
		return nil
	}
	dir := s.folder.path(s.folder.Maps)
	if err := s.wantFolder(dir); err != nil {
		return err
	}
	found, err := s.listMaps(dir)
	if err != nil {
		return err
	}
	owner := map[string]string{} // of each map
	for i, row := range s.rows {
		name, err := mapOf(row.file, found)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if other, taken := owner[name]; taken {
			return fmt.Errorf("images %q and %q have the same map %q: want names that differ before the ending", other, row.file, name)
		}
		owner[name] = row.file
		s.maps[i] = path.Join(dir, name)
	}
	if len(owner) == 0 && len(found) > 0 {
		return fmt.Errorf("none of the %d maps in %q, such as %q, has the name of an image, such as %q",
			len(found), dir, slices.Min(slices.Collect(maps.Keys(found))), s.rows[0].file)
	}
	return nil
}

// listMaps finds the images in a folder and those below it, by stem.
func (s *folderSource) listMaps(dir string) (map[string][]string, error) {
	found := map[string][]string{}
	err := fs.WalkDir(s.folder.FS, dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		if key, is := stem(name); is {
			found[key] = append(found[key], name)
		}
		return nil
	})
	return found, err
}

func mapOf(file string, found map[string][]string) (string, error) {
	s, _ := stem(path.Clean(file))
	names := found[s]
	if len(names) == 0 {
		names = found[path.Base(s)]
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("image %q has %d maps: %q", file, len(names), names)
}

func (s *folderSource) Name() string { return s.labels }

func (s *folderSource) Schema() Schema { return Schema{Classes: s.folder.Classes} }

func (s *folderSource) Rows() int64 { return int64(len(s.rows)) }

func (s *folderSource) LeftOut() []string { return nil }

func (s *folderSource) Samples(ctx context.Context, from int64) iter.Seq2[Sample, error] {
	return samplesInOrder(ctx, s.folder.Workers, from, s.Rows(), func(i int) (Sample, error) { return s.sample(ctx, i) })
}

// sample reads a row and decodes its image and map to see that they can be.
func (s *folderSource) sample(ctx context.Context, i int) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	row := s.rows[i]
	out := Sample{ID: row.file, Label: row.label, Split: row.split, Group: row.group, SaliencyQuality: NoQuality()}
	var err error
	if out.Image, out.Saliency, err = s.read(i); err != nil {
		return Sample{}, &RowError{Source: s.labels, Row: int64(i), ID: row.file, Err: fmt.Errorf("line %d: %w", row.line, err)}
	}
	if out.Saliency.Present() {
		out.SaliencySource = SourceHuman
	}
	return out, nil
}

func (s *folderSource) read(i int) (image, saliency Encoded, err error) {
	image, err = readEncoded(s.folder.FS, s.imagePath(i))
	if err != nil {
		return image, saliency, fmt.Errorf("image: %w", err)
	}
	m, err := raster.Decode(image.Bytes)
	if err != nil {
		return image, saliency, fmt.Errorf("image: %w", err)
	}
	if s.maps[i] == "" {
		return image, saliency, nil
	}
	saliency, err = readEncoded(s.folder.FS, s.maps[i])
	if err == nil {
		err = checkMap(saliency.Bytes, m.W, m.H)
	}
	if err != nil {
		return image, saliency, fmt.Errorf("map %q: %w", saliency.Path, err)
	}
	return image, saliency, nil
}

func (s *folderSource) imagePath(i int) string {
	return s.folder.path(s.folder.Images, s.rows[i].file)
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

func (s *folderSource) Fingerprint(ctx context.Context) (string, error) {
	files := []namedFile{{path.Base(s.labels), s.labels}}
	for i, row := range s.rows {
		files = append(files, namedFile{row.file, s.imagePath(i)})
		if m := s.maps[i]; m != "" {
			files = append(files, namedFile{"map of " + row.file, m})
		}
	}
	sum, err := fingerprint(ctx, s.folder.FS, s.folder.Workers, files)
	if err != nil {
		return "", fmt.Errorf("fingerprint of %q: %w", s.labels, err)
	}
	return sum, nil
}
