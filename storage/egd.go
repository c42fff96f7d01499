package storage

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// EGDCXR is the Eye Gaze Data for Chest X-rays (PhysioNet, egd-cxr 1.0.0), as it is
// distributed, beside the images of MIMIC-CXR-JPG.
type EGDCXR struct {
	// FS is where Root is, nil for the files of the operating system.
	FS fs.FS
	// Root is the folder that the other paths are in.
	Root string
	// Images is the folder of MIMIC-CXR-JPG, which has the folder files in it.
	Images string
	// Cases is master_sheet.csv. Of its columns, dicom_id, path, patient_id, Normal,
	// the paddings of the screen and those of Classes are read.
	Cases string
	// Fixations is fixations.csv.
	Fixations string
	// Classes are columns of Cases that hold 0 or 1, such as CHF and pneumonia, normal
	// (the column Normal) or abnormal (all others), in the order of their indices. An
	// image of none of them or of several has no label.
	Classes []string
	// Workers is the number of images that are read and decoded at once, at least 1.
	Workers int
}

// The screen that the images were shown on, in pixels.
const (
	egdWidth  = 1920
	egdHeight = 1080
)

// OpenEGDCXR reads the CSV files and finds the images. What is wrong with these is
// an error here; an image that is not there or cannot be decoded is a *RowError of
// Samples.
//
// The samples come in the order of Cases. Their id is the DICOM id, their group the
// patient, and they have no split. The map of an image is the sum of a Gaussian for
// each fixation of the radiologist, as in the authors' create_heatmap_images script,
// with a deviation of 5 % of the longer side: their 150 pixels in an image of 3000.
// A place on the screen beside the image counts for nothing.
func OpenEGDCXR(c EGDCXR) (Source, error) {
	c.FS = filesOr(c.FS)
	cases := below(c.Root, c.Cases)
	s, err := newListing(c.FS, cases, below(c.Root, c.Images), c.Classes, c.Workers)
	if err != nil {
		return nil, err
	}
	s.lists = []namedFile{{"egd-cxr " + path.Base(cases), cases}, {"fixations", below(c.Root, c.Fixations)}}
	screens, err := c.readCases(s)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("read %q: %w", cases, err)
	}
	if err := c.readFixations(s, screens); err != nil {
		return nil, err
	}
	return s, nil
}

// egdScreen is where on the screen an image was shown, in pixels.
type egdScreen struct{ left, top, width, height float64 }

// egdCase is what a line of the master sheet says beside its names.
type egdCase struct {
	screen   egdScreen
	findings []string
}

// egdColumns are the columns of the master sheet that are read for any classes:
// three names, then numbers.
var egdColumns = []string{"dicom_id", "path", "patient_id", "image_top_pad", "image_bottom_pad", "image_left_pad", "image_right_pad", "Normal"}

// readCases adds the rows, and returns the place of each image on the screen.
func (c EGDCXR) readCases(s *listing) (map[string]egdScreen, error) {
	named := slices.DeleteFunc(slices.Clone(c.Classes), func(class string) bool {
		return strings.EqualFold(class, classNormal) || strings.EqualFold(class, classAbnormal)
	})
	t, err := readTable(c.FS, s.name, slices.Concat(egdColumns, named)...)
	if err != nil {
		return nil, err
	}
	screens := map[string]egdScreen{}
	for i, r := range t.rows {
		x, err := r.egdCase(named)
		if err != nil {
			return nil, fmt.Errorf("read %q: line %d: %w", s.name, r.line, err)
		}
		id, file, patient := r.fields[0], r.fields[1], r.fields[2]
		screens[id] = x.screen
		s.rows = append(s.rows, listedRow{
			list: s.name, index: i, line: r.line,
			id: id, group: patient, label: labelOf(x.findings, c.Classes), image: c.image(file),
		})
	}
	return screens, nil
}

// egdCase reads the numbers of a line: the fixed columns and one for each named finding.
func (r csvRow) egdCase(named []string) (egdCase, error) {
	if err := checkFile(r.fields[1]); err != nil {
		return egdCase{}, err
	}
	n, err := r.numbers(3)
	if err != nil {
		return egdCase{}, err
	}
	top, bottom, left, right, normal := n[0], n[1], n[2], n[3], n[4] != 0
	x := egdCase{screen: egdScreen{left, top, egdWidth - left - right, egdHeight - top - bottom}}
	if x.screen.width <= 0 || x.screen.height <= 0 {
		return x, fmt.Errorf("paddings of %g, want less than the screen's %d x %d pixels", n[:4], egdWidth, egdHeight)
	}
	if !normal {
		x.findings = egdFindings(named, n[5:])
	}
	return x, nil
}

// egdFindings are those of a case that is not normal: the named ones whose flags are
// set, and one without a name, as the sheet does not have to say which it is.
func egdFindings(named []string, flags []float64) []string {
	found := []string{""}
	for i, name := range named {
		if flags[i] != 0 {
			found = append(found, name)
		}
	}
	return found
}

// image is the path of a case's image, which the sheet gives as that of a DICOM file.
func (c EGDCXR) image(file string) string {
	name := strings.TrimSuffix(below(c.Root, c.Images, file), path.Ext(file))
	for _, ending := range imageEndings {
		if _, err := fs.Stat(c.FS, name+ending); err == nil {
			return name + ending
		}
	}
	return name + ".jpg"
}

// readFixations gives the rows their maps.
func (c EGDCXR) readFixations(s *listing, screens map[string]egdScreen) error {
	t, err := readTable(c.FS, below(c.Root, c.Fixations), "DICOM_ID", "FPOGX", "FPOGY")
	if err != nil {
		return err
	}
	found := map[string]fixations{}
	for _, r := range t.rows {
		n, err := r.numbers(1)
		if err != nil {
			return fmt.Errorf("read %q: line %d: %w", t.path, r.line, err)
		}
		id := r.fields[0]
		if screen, is := screens[id]; is {
			if f, is := screen.fixation(n[0], n[1]); is {
				found[id] = append(found[id], f)
			}
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("read %q: none of the fixations is on an image of %q", t.path, s.name)
	}
	for _, row := range s.all() {
		if f := found[row.id]; f != nil {
			row.saliency = f
		}
	}
	return nil
}

// fixation is a place on the screen, in shares of its sides, as a place in the image;
// false if it is beside it.
func (s egdScreen) fixation(x, y float64) (fixation, bool) {
	f := fixation{(x*egdWidth - s.left) / s.width, (y*egdHeight - s.top) / s.height}
	return f, f.x > 0 && f.x < 1 && f.y > 0 && f.y < 1
}
