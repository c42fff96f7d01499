package storage

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// NIHChestXray is NIH's ChestX-ray14 as it is distributed: images in any number of
// folders, Data_Entry_2017.csv (or Data_Entry_2017_v2020.csv) and BBox_List_2017.csv.
type NIHChestXray struct {
	// FS is where Root is, nil for the files of the operating system.
	FS fs.FS
	// Root is the folder that the other paths are in.
	Root string
	// Images is a folder that has all images below it.
	Images string
	// Entries is the CSV file of the images. Of its columns, Image Index, Finding
	// Labels (separated by |, or No Finding) and Patient ID are read.
	Entries string
	// Boxes is the CSV file of the boxes that radiologists drew around findings, in
	// pixels of images of 1024 x 1024.
	Boxes string
	// Classes are findings, normal (no finding) or abnormal (any finding), in the
	// order of their indices. An image of none of them or of several has no label.
	Classes []string
	// Workers is the number of images that are read and decoded at once, at least 1.
	Workers int
}

// nihSide is the side of the images that the boxes are given in.
const nihSide = 1024

// OpenNIHChestXray reads the CSV files and finds the images. What is wrong with
// these is an error here; an image that is not there or cannot be decoded is a
// *RowError of Samples.
//
// The samples come in the order of Entries. Their id is the name of the image, their
// group the patient, and they have no split. The map of an image is 1 in the boxes
// of findings that make it one of its class, and 0 elsewhere; most have none.
func OpenNIHChestXray(c NIHChestXray) (Source, error) {
	c.FS = filesOr(c.FS)
	entries, dir := below(c.Root, c.Entries), below(c.Root, c.Images)
	s, err := newListing(c.FS, entries, dir, c.Classes, c.Workers)
	if err != nil {
		return nil, err
	}
	s.lists = []namedFile{{"nih-chest-xray " + path.Base(entries), entries}, {"boxes", below(c.Root, c.Boxes)}}
	images, err := imagesByBase(c.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("read images of %q: %w", entries, err)
	}
	drawn, err := c.readBoxes()
	if err != nil {
		return nil, err
	}
	if err := c.readEntries(s, images, drawn); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("read %q: %w", entries, err)
	}
	return s, nil
}

// imagesByBase are the paths of the images below a folder, by their base names
// without ending.
func imagesByBase(files fs.FS, dir string) (map[string]string, error) {
	found, err := imagesBelow(files, dir)
	if err != nil {
		return nil, err
	}
	images := make(map[string]string, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		base, name := path.Base(key), found[key][0]
		if other, twice := images[base]; twice {
			return nil, fmt.Errorf("%q holds %q and %q: want one image of a name", dir, other, name)
		}
		images[base] = name
	}
	return images, nil
}

// nihBox is a box around a finding.
type nihBox struct {
	finding string
	box
}

// readBoxes are the boxes by the names of their images.
func (c NIHChestXray) readBoxes() (map[string][]nihBox, error) {
	t, err := readTable(c.FS, below(c.Root, c.Boxes), "Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
	if err != nil {
		return nil, err
	}
	found := map[string][]nihBox{}
	for _, row := range t.rows {
		b, err := row.nihBox()
		if err != nil {
			return nil, fmt.Errorf("read %q: line %d: %w", t.path, row.line, err)
		}
		found[row.fields[0]] = append(found[row.fields[0]], b)
	}
	return found, nil
}

func (r csvRow) nihBox() (nihBox, error) {
	n, err := r.numbers(2)
	if err != nil {
		return nihBox{}, fmt.Errorf("box: %w", err)
	}
	x, y, w, h := n[0], n[1], n[2], n[3]
	if x < 0 || y < 0 || w <= 0 || h <= 0 || x >= nihSide || y >= nihSide {
		return nihBox{}, fmt.Errorf("box at %g, %g of %g x %g, want one within %d x %d pixels", x, y, w, h, nihSide, nihSide)
	}
	finding := r.fields[1]
	if finding == "Infiltrate" { // the entries' name for it is another
		finding = "Infiltration"
	}
	return nihBox{finding, box{x / nihSide, y / nihSide, (x + w) / nihSide, (y + h) / nihSide}}, nil
}

func (c NIHChestXray) readEntries(s *listing, images map[string]string, drawn map[string][]nihBox) error {
	t, err := readTable(c.FS, s.name, "Image Index", "Finding Labels", "Patient ID")
	if err != nil {
		return err
	}
	boxed := false
	for i, r := range t.rows {
		name := r.fields[0]
		if err := checkFile(name); err != nil {
			return fmt.Errorf("read %q: line %d: %w", s.name, r.line, err)
		}
		row := listedRow{list: s.name, index: i, line: r.line, id: name, group: r.fields[2], label: labelOf(nihFindings(r.fields[1]), c.Classes)}
		key, _ := stem(name)
		file, is := images[key]
		if !is {
			file = name
		}
		row.image = below(c.Root, c.Images, file)
		boxed = boxed || len(drawn[name]) > 0
		if b := c.within(drawn[name], row.label); len(b) > 0 {
			row.saliency = b
		}
		s.rows = append(s.rows, row)
	}
	if !boxed {
		return fmt.Errorf("read %q: none of the boxes is of an image of %q", below(c.Root, c.Boxes), s.name)
	}
	return nil
}

// nihFindings are the findings of an entry.
func nihFindings(text string) []string {
	if text == "" || text == "No Finding" {
		return nil
	}
	return strings.Split(text, "|")
}

// within are the boxes that speak for an image's class; all, if it has none.
func (c NIHChestXray) within(list []nihBox, label int64) boxes {
	var b boxes
	for _, x := range list {
		if label == NoLabel || belongs([]string{x.finding}, c.Classes[label]) {
			b = append(b, x.box)
		}
	}
	return b
}
