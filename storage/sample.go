package storage

import (
	"fmt"
	"math"
	"path"
	"strings"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// DataError says that data cannot be used for what is asked, as opposed to a
// failure of the machine or of the program.
type DataError struct{ Err error }

func (e *DataError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *DataError) Unwrap() error { return e.Err }

// Unusable makes a [DataError].
func Unusable(format string, args ...any) error { return &DataError{fmt.Errorf(format, args...)} }

// NoLabel is the label of a sample that has none; in Parquet it is null.
const NoLabel int64 = -1

// Encoded is an encoded image file, as an Image column holds it.
type Encoded struct {
	// Bytes is the file (PNG, JPEG, ...) as it came; nil means that there is none.
	Bytes []byte
	// Path is the file's base name, for the reader's eye; "" is null.
	Path string
}

// Present reports whether there is an image.
func (e Encoded) Present() bool { return len(e.Bytes) > 0 }

// Blank reports whether there is a map that says nothing: it can be decoded and has one
// value everywhere.
func (e Encoded) Blank() bool {
	if !e.Present() {
		return false
	}
	m, err := raster.DecodeMap(e.Bytes)
	return err == nil && !raster.MinMax(m.Pix)
}

// Dim reports whether an image has 16 bits a sample of which it uses the lowest alone, so
// that little is left of it in 8.
func (e Encoded) Dim() bool { return raster.Dim(e.Bytes) }

// MapFile is a map for the sample of an id as a PNG file, named after it.
func MapFile(id string, png []byte) Encoded {
	base := path.Base(id)
	return Encoded{Bytes: png, Path: strings.TrimSuffix(base, path.Ext(base)) + ".png"}
}

// Sources of saliency maps, the values of the column saliency_source.
const (
	SourceHuman       = "human"
	SourcePredictor   = "predictor"
	SourceTeacherCAM  = "teacher-cam"
	SourceTeacherRISE = "teacher-rise"
	SourceMean        = "mean"
	SourceCentre      = "centre"
	SourcePCA         = "pca"
)

// Sample is one image with an id, a label and perhaps a saliency map: one row of
// a data set. Its byte slices may be shared with other readers of the same row:
// they are read, never written to.
type Sample struct {
	// ID is unique in its data set and stable from run to run.
	ID string
	// Image is never re-encoded.
	Image Encoded
	// Label indexes the class names of the data set, or is NoLabel.
	Label int64
	// Saliency is the map that belongs to the image as displayed (EXIF applied).
	Saliency Encoded
	// SaliencySource says who made the map: human, predictor, ...
	SaliencySource string
	// SaliencyModel is the key of the model that made the map.
	SaliencyModel string
	// SaliencyQuality is the estimated correlation with what a human would have
	// drawn; NaN is null, and so is any value without a map.
	SaliencyQuality float32
	// Reference is a human map that training may not see.
	Reference Encoded
	// Predicted is an out-of-fold prediction beside a human map.
	Predicted Encoded
	// Split is train, val, test or any other word.
	Split string
	// Group keeps the samples of one subject in one split; "" is null.
	Group string
	// Extra are the values of the schema's extra columns, in their order: nil for
	// null, else bool, int64, float32, float64, string or []byte by the column's
	// kind. A nil slice means that all are null.
	Extra []any
}

// size is an estimate of the memory that a sample holds on to.
func (s *Sample) size() int64 {
	const overhead = 512
	n := overhead + len(s.ID) + len(s.SaliencySource) + len(s.SaliencyModel) + len(s.Split) + len(s.Group)
	for _, e := range [...]Encoded{s.Image, s.Saliency, s.Reference, s.Predicted} {
		n += len(e.Bytes) + len(e.Path)
	}
	for _, v := range s.Extra {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		case []float32:
			n += 4 * len(v)
		case []float64:
			n += 8 * len(v)
		}
	}
	return int64(n)
}

// Row holds what is light of a sample: all but images, maps and extra columns.
type Row struct {
	ID              string
	Label           int64
	Split           string
	Group           string
	SaliencySource  string
	SaliencyModel   string
	SaliencyQuality float32
	HasMap          bool
	HasReference    bool
	HasPredicted    bool
}

// NoQuality is the SaliencyQuality of a sample whose map was not judged.
func NoQuality() float32 { return float32(math.NaN()) }

// isNull reports whether a quality is null.
func isNull(quality float32) bool { return quality != quality }
