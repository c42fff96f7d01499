package storage

import (
	"context"
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
	// Paths are files, and folders of which all images below are taken, by their
	// endings.
	Paths []string
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
// by name. Their id is the path as given, of a file in a folder the path below it.
// Images are checked by their headers, not decoded.
func OpenImages(images Images) (Source, error) {
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
		return Sample{}, &RowError{Source: s.Name(), Row: int64(i), ID: f.name, Err: fmt.Errorf("image: %w", err)}
	}
	return Sample{ID: f.name, Image: image, Label: NoLabel, SaliencyQuality: NoQuality()}, nil
}

func (s *imagesSource) Fingerprint(ctx context.Context) (string, error) {
	sum, err := fingerprint(ctx, osFiles{}, s.images.Workers, s.files)
	if err != nil {
		return "", fmt.Errorf("fingerprint of %q: %w", s.Name(), err)
	}
	return sum, nil
}
