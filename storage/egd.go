package storage

import (
	"fmt"
	"io/fs"
	"path"
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
	s := &listing{files: c.FS, name: cases, classes: c.Classes, workers: c.Workers}
	s.lists = []namedFile{{"egd-cxr " + path.Base(cases), cases}, {"fixations", below(c.Root, c.Fixations)}}
	if err := (Schema{Classes: c.Classes}).validate(); err != nil {
		return nil, fmt.Errorf("read %q: %w", cases, err)
	}
	if err := wantFolder(c.FS, below(c.Root, c.Images)); err != nil {
		return nil, fmt.Errorf("read %q: images: %w", cases, err)
	}
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

// egdScreen is where on the screen an image was shown.
type egdScreen struct{ left, top, width, height float64 }

// readCases adds the rows, and returns the place of each on the screen.
func (c EGDCXR) readCases(s *listing) (map[string]egdScreen, error) {
	columns := []string{"dicom_id", "path", "patient_id", "image_top_pad", "image_bottom_pad", "image_left_pad", "image_right_pad", "Normal"}
	pads, normal := 3, len(columns)-1
	var findings []string
	for _, class := range c.Classes {
		if l := strings.ToLower(class); l != classNormal && l != classAbnormal {
			findings = append(findings, class)
		}
	}
	t, err := readTable(c.FS, s.name, append(columns, findings...)...)
	if err != nil {
		return nil, err
	}
	screens := map[string]egdScreen{}
	for i, r := range t.rows {
		n, err := r.numbers(pads)
		if err == nil {
			err = checkFile(r.fields[1])
		}
		if err != nil {
			return nil, fmt.Errorf("read %q: line %d: %w", s.name, r.line, err)
		}
		id, flags := r.fields[0], n[normal-pads:]
		screens[id] = egdScreen{left: n[2], top: n[0], width: egdWidth - n[2] - n[3], height: egdHeight - n[0] - n[1]}
		if screens[id].width <= 0 || screens[id].height <= 0 {
			return nil, fmt.Errorf("read %q: line %d: paddings of %g, want less than the screen's %d x %d pixels", s.name, r.line, n[:4], egdWidth, egdHeight)
		}
		s.rows = append(s.rows, listedRow{
			list: s.name, index: i, line: r.line, id: id, group: r.fields[2],
			label: labelOf(egdFindings(flags[0] != 0, findings, flags[1:]), c.Classes), image: c.image(r.fields[1]),
		})
	}
	return screens, nil
}

// egdFindings are those of a case whose flags are set. One that is not normal has a
// finding, whether it has a name here or not.
func egdFindings(normal bool, names []string, flags []float64) []string {
	if normal {
		return nil
	}
	found := []string{""}
	for i, name := range names {
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
