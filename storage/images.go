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
	"strings"
)

// Images is a set of image files, without labels and maps.
type Images struct {
	// Paths are files, folders of which all images below are taken, by their endings,
	// and patterns of these such as photos/*.png.
	Paths []string
	// FullIDs makes the id of a file in a folder, too, the path to it.
	FullIDs bool
	// Workers is the number of images that are read at once, at least 1.
	Workers int
}

// IsImage reports whether a file's name has the ending of an image.
func IsImage(name string) bool {
	_, is := stem(name)
	return is
}

// imagesSource is an opened Images.
type imagesSource struct {
	images Images
	files  []namedFile
}

// OpenImages finds the files. They come in the order of the paths, those of a folder
// or pattern by name. Their id is the path as given or matched, of a file in a folder
// the path below it. Images are checked by their headers, not decoded.
func OpenImages(images Images) (Source, error) {
	s, err := openImages(images)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenEachImages opens every path as a set of its own. Where a file in one folder has
// the id of another, all ids are the paths to the files.
func OpenEachImages(paths []string, workers int) ([]Source, error) {
	owner := map[string]string{}
	twice := false
	sets := make([]*imagesSource, len(paths))
	for i, p := range paths {
		var err error
		if sets[i], err = openImages(Images{Paths: []string{p}, Workers: workers}); err != nil {
			return nil, err
		}
		for _, f := range sets[i].files {
			other, known := owner[f.name]
			twice = twice || known && filepath.Clean(other) != filepath.Clean(f.path)
			owner[f.name] = f.path
		}
	}
	sources := make([]Source, len(sets))
	for i, s := range sets {
		s.images.FullIDs = twice
		sources[i] = s
	}
	return sources, nil
}

func openImages(images Images) (*imagesSource, error) {
	s := &imagesSource{images: images}
	for _, p := range images.Paths {
		if err := s.find(p); err != nil {
			return nil, fmt.Errorf("read %q: %w", p, reason(err))
		}
	}
	return s, nil
}

func (s *imagesSource) find(root string) error {
	info, err := os.Stat(root)
	if errors.Is(err, fs.ErrNotExist) && IsPattern(root) {
		return s.findPattern(root)
	}
	if err != nil || !info.IsDir() {
		s.files = append(s.files, namedFile{filepath.ToSlash(root), filepath.ToSlash(root)})
		return err
	}
	before := len(s.files)
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && name != "."
		switch {
		case e.IsDir() && hidden:
			return fs.SkipDir
		case !e.IsDir() && !hidden && IsImage(name):
			s.files = append(s.files, namedFile{name, path.Join(filepath.ToSlash(root), name)})
		}
		return nil
	})
	if err == nil && len(s.files) == before {
		err = fmt.Errorf("no files with the ending %s", strings.Join(imageEndings, ", "))
	}
	return err
}

func (s *imagesSource) findPattern(pattern string) error {
	paths, err := filepath.Glob(pattern)
	if err == nil && len(paths) == 0 {
		err = absent("no file matches")
	}
	for _, p := range paths {
		if err == nil {
			err = s.find(p)
		}
	}
	return err
}

// IsPattern reports whether a path may stand for several.
func IsPattern(path string) bool { return strings.ContainsAny(path, "*?[") }

// id is what a file's sample is called.
func (s *imagesSource) id(f namedFile) string {
	if s.images.FullIDs {
		return f.path
	}
	return f.name
}

func (s *imagesSource) paths() []string {
	var paths []string
	for _, f := range s.files {
		paths = append(paths, f.path)
	}
	return paths
}

func (s *imagesSource) Name() string { return strings.Join(s.images.Paths, ", ") }

func (s *imagesSource) Schema() Schema { return Schema{} }

func (s *imagesSource) Rows() int64 { return int64(len(s.files)) }

func (s *imagesSource) LeftOut() []string { return nil }

func (s *imagesSource) Samples(ctx context.Context, from int64) iter.Seq2[Sample, error] {
	return samplesInOrder(ctx, s.images.Workers, from, s.Rows(), func(i int) (Sample, error) { return s.sample(ctx, i) })
}

func (s *imagesSource) sample(ctx context.Context, i int) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	f := s.files[i]
	image, err := readEncoded(osFiles{}, f.path)
	if err == nil {
		err = checkImage(image)
	}
	if err != nil {
		return Sample{}, &RowError{Source: s.Name(), Row: int64(i), ID: s.id(f), Err: fmt.Errorf("image: %w", err)}
	}
	return Sample{ID: s.id(f), Image: image, Label: NoLabel, SaliencyQuality: NoQuality()}, nil
}

func (s *imagesSource) Fingerprint(ctx context.Context) (string, error) {
	sum, err := fingerprint(ctx, osFiles{}, s.images.Workers, s.files)
	if err != nil {
		return "", fmt.Errorf("fingerprint of %q: %w", s.Name(), err)
	}
	return sum, nil
}
