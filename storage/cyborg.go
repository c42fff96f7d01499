package storage

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// CYBORG is a set in the layout of the CYBORG reference (github.com/CVRL/CYBORG,
// training_code/dataset_Loader_cam.py), which the releases of the same group for
// iris presentation attacks and chest X-rays keep.
type CYBORG struct {
	// FS is where Root is, nil for the files of the operating system.
	FS fs.FS
	// Root is the folder that the other paths are in.
	Root string
	// Images is the folder that the paths of the CSV files are in, whether they begin
	// with a slash or not.
	Images string
	// Labels is a CSV file without header or quotes, with the columns split, class,
	// path. Split is train, or test for what chooses the epoch: the split val.
	Labels string
	// Tests are CSV files of the same kind, whose rows are all test: the split test.
	// Each is a group of the name of its file.
	Tests []string
	// Maps is the folder of the maps of train rows, which have the base names of
	// their images, with MapSuffix before the ending. An image may lack one.
	Maps string
	// MapSuffix is "" in most sets.
	MapSuffix string
	// Classes are the class names in the order of their indices, at least one.
	Classes []string
	// Workers is the number of images that are read and decoded at once, at least 1.
	Workers int
}

// OpenCYBORG reads the CSV files and finds the maps. What is wrong with these files
// or folders is an error here; an image or map that cannot be used is a *RowError of
// Samples.
//
// The samples come in the order of the CSV files, those of Tests last. Their id is
// the path without its first slash, and the source of their maps is SourceHuman.
func OpenCYBORG(c CYBORG) (Source, error) {
	c.FS = filesOr(c.FS)
	s, err := newListing(c.FS, below(c.Root, c.Labels), below(c.Root, c.Images), c.Classes, c.Workers)
	if err != nil {
		return nil, err
	}
	lists := []cyborgList{{path: s.name, splits: map[string]string{"train": "train", "test": "val"}}}
	for _, t := range c.Tests {
		lists = append(lists, cyborgList{
			path: below(c.Root, t), splits: map[string]string{"test": "test"}, group: strings.TrimSuffix(path.Base(t), path.Ext(t)),
		})
	}
	for _, list := range lists {
		if err := c.read(s, list); err != nil {
			return nil, fmt.Errorf("read %q: %w", list.path, err)
		}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("read %q: %w", s.name, err)
	}
	if err := c.findMaps(s); err != nil {
		return nil, fmt.Errorf("read maps of %q: %w", s.name, err)
	}
	return s, nil
}

// cyborgList is a CSV file, and what its words for splits mean here.
type cyborgList struct {
	path, group string
	splits      map[string]string
}

// read adds the rows of a list.
func (c CYBORG) read(s *listing, list cyborgList) error {
	text, err := readList(c.FS, list.path)
	if err != nil {
		return err
	}
	s.lists = append(s.lists, namedFile{"cyborg-csv " + path.Base(list.path), list.path})
	line, index := 0, 0
	for record := range strings.SplitSeq(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		line++
		if record = strings.TrimSpace(record); record == "" {
			continue
		}
		row, err := list.row(record, c.Classes)
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		row.image = below(c.Root, c.Images, row.id)
		row.index, row.line = index, line
		s.rows = append(s.rows, row)
		index++
	}
	if index == 0 {
		return fmt.Errorf("the file is empty, want lines of %s", cyborgColumns)
	}
	return nil
}

// cyborgColumns are the columns of a list.
const cyborgColumns = "split,class,path"

// row is what a line says: split, class and path, separated by commas, and no
// quotes, as the reference's loader has no word for them.
func (l cyborgList) row(record string, classes []string) (listedRow, error) {
	fields := strings.Split(record, ",")
	if len(fields) != 3 {
		return listedRow{}, fmt.Errorf("found %d columns, want 3, %s, without quotes", len(fields), cyborgColumns)
	}
	word, class, file := fields[0], fields[1], strings.TrimLeft(fields[2], "/")
	row := listedRow{list: l.path, id: file, group: l.group}
	var known bool
	if row.split, known = l.splits[strings.ToLower(word)]; !known {
		return row, fmt.Errorf("split %q, want %s (the file has no header, its columns are %s)",
			word, strings.Join(slices.Sorted(maps.Keys(l.splits)), " or "), cyborgColumns)
	}
	if err := checkFile(file); err != nil {
		return row, err
	}
	if class == "" {
		return row, fmt.Errorf("%q has no class, want one of %q", file, classes)
	}
	var err error
	if row.label, err = parseLabel(class, classes); err != nil {
		return row, fmt.Errorf("%q: %w", file, err)
	}
	return row, nil
}

// findMaps pairs the train rows with the maps: base names of other rows may be the
// same as theirs.
func (c CYBORG) findMaps(s *listing) error {
	if c.Maps == "" {
		return nil
	}
	var rows []*listedRow
	for _, row := range s.all() {
		if row.split == "train" {
			rows = append(rows, row)
		}
	}
	return mapFolder{c.FS, below(c.Root, c.Maps), c.MapSuffix}.pair(rows)
}
