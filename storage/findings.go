package storage

import "strings"

// Classes of medical sets, whose images have any number of findings: one without a
// finding, one with any. Every other class is the finding of its name.
const (
	classNormal   = "normal"
	classAbnormal = "abnormal"
)

// belongs tells whether an image with these findings is of a class. Case does not
// count.
func belongs(findings []string, class string) bool {
	switch strings.ToLower(class) {
	case classNormal:
		return len(findings) == 0
	case classAbnormal:
		return len(findings) > 0
	}
	for _, f := range findings {
		if strings.EqualFold(f, class) {
			return true
		}
	}
	return false
}

// labelOf is the one class that an image with these findings is of. An image of none
// of them, or of several, has no label.
func labelOf(findings, classes []string) int64 {
	label := NoLabel
	for i, class := range classes {
		if !belongs(findings, class) {
			continue
		}
		if label != NoLabel {
			return NoLabel
		}
		label = int64(i)
	}
	return label
}
