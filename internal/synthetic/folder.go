package synthetic

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strconv"
)

// Spec is a data set in two parts: an annotated folder (training images with
// human maps, validation and test images) and further training images without
// maps.
type Spec struct {
	Seed       uint64
	Annotated  int // training images in the folder, each with its map
	Train      int // training images in all
	Val, Test  int
	References int // test images with a map, against which predictions can be held
	// Three has the images of [ThreeClasses] instead of [Classes].
	Three bool
}

// Classes are the names of the set's classes in the order of their indices.
func (s Spec) Classes() []string {
	if s.Three {
		return ThreeClasses
	}
	return Classes
}

// draw makes sample i of a split of the set.
func (s Spec) draw(split string, i int) Sample { return draw(len(s.Classes()), s.Seed, split, i) }

// Quickstart is the data set in testdata/quickstart.
var Quickstart = Spec{Seed: 1, Annotated: 40, Train: 400, Val: 100, Test: 400, References: 40}

// File is one file of a folder, its path with slashes.
type File struct {
	Path string
	Data []byte
}

// Folder draws the annotated part: images/<id>.png, maps/<id>.png where there
// is a map, and labels.csv with the columns file,label,split,group.
func (s Spec) Folder() ([]File, error) {
	var files []File
	rows := [][]string{{"file", "label", "split", "group"}}
	for _, part := range []struct {
		split         string
		count, mapped int
	}{{"train", s.Annotated, s.Annotated}, {"val", s.Val, 0}, {"test", s.Test, s.References}} {
		for i := range part.count {
			x := s.draw(part.split, i)
			name := x.ID + ".png"
			rows = append(rows, []string{name, strconv.Itoa(x.Label), x.Split, x.Group})
			img, err := x.PNG()
			if err != nil {
				return nil, err
			}
			files = append(files, File{"images/" + name, img})
			if i >= part.mapped {
				continue
			}
			m, err := x.MapPNG()
			if err != nil {
				return nil, err
			}
			files = append(files, File{"maps/" + name, m})
		}
	}
	var labels bytes.Buffer
	if err := csv.NewWriter(&labels).WriteAll(rows); err != nil {
		return nil, fmt.Errorf("write labels.csv: %w", err)
	}
	return append(files, File{"labels.csv", labels.Bytes()}), nil
}

// Unannotated draws the training images that have no map.
func (s Spec) Unannotated() []Sample {
	samples := make([]Sample, 0, s.Train-s.Annotated)
	for i := s.Annotated; i < s.Train; i++ {
		samples = append(samples, s.draw("train", i))
	}
	return samples
}

// PNG is the image as a file. Its sixteen greys are a palette, which halves
// the file.
func (s Sample) PNG() ([]byte, error) {
	img := image.NewPaletted(s.Image.Rect, greys)
	for i, v := range s.Image.Pix {
		img.Pix[i] = v / step
	}
	return encode(s.ID, img)
}

// MapPNG is the map as a file.
func (s Sample) MapPNG() ([]byte, error) { return encode("map of "+s.ID, s.Map) }

var greys = func() color.Palette {
	var p color.Palette
	for v := 0; v <= 255; v += step {
		p = append(p, color.Gray{Y: uint8(v)})
	}
	return p
}()

func encode(name string, img image.Image) ([]byte, error) {
	var buf bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&buf, img); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return buf.Bytes(), nil
}
