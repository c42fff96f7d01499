package storage

import (
	"fmt"
	"io/fs"
	"path"
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

// OpenFolder reads the CSV file and finds the maps. What is wrong with the CSV
// file or with the folder as a whole is an error here; an image or map that cannot
// be used is a *RowError of Samples, which decodes every one and holds the shape
// of each map against its image.
//
// The samples come in the order of the CSV file. Their id is the file name as
// written there, and the source of their maps is SourceHuman. Links are followed.
func OpenFolder(f Folder) (Source, error) {
	f.FS = filesOr(f.FS)
	labels := below(f.Root, f.Labels)
	s, err := f.list(labels)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", labels, err)
	}
	if f.Maps != "" {
		if err := (mapFolder{f.FS, below(f.Root, f.Maps), ""}).pair(s.all()); err != nil {
			return nil, fmt.Errorf("read maps of %q: %w", labels, err)
		}
	}
	return s, nil
}

// list reads the CSV file.
func (f Folder) list(labels string) (*listing, error) {
	text, err := readList(f.FS, labels)
	if err != nil {
		return nil, err
	}
	if err := wantFolder(f.FS, below(f.Root, f.Images)); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	found, classes, err := readLabels(text, f.Classes)
	if err != nil {
		return nil, err
	}
	s := &listing{files: f.FS, name: labels, classes: classes, workers: f.Workers, lists: []namedFile{{path.Base(labels), labels}}}
	for i, r := range found {
		s.rows = append(s.rows, listedRow{
			list: labels, index: i, line: r.line,
			id: r.file, split: r.split, group: r.group, label: r.label, image: below(f.Root, f.Images, r.file),
		})
	}
	return s, s.check()
}
