// Command readback writes a small data set of odd samples and its exports, with a
// list of what a reader has to find in them, and small models with what they say of
// images; check.py and check_models.py read them with the libraries that they are for.
// The script run does all of it.
//
//	go run ./bench/readback FOLDER
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/image/tiff"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: readback FOLDER")
		os.Exit(2)
	}
	err := errors.Join(write(os.Args[1]), writeModels(context.Background(), filepath.Join(os.Args[1], "models")))
	if err != nil {
		fmt.Fprintln(os.Stderr, "readback:", err)
		os.Exit(1)
	}
}

var schema = storage.Schema{
	Classes: []string{"live", "spoof", "ünclear"}, References: true, Predictions: true,
	Extra: []storage.Column{{Name: "flag", Kind: storage.Bool}, {Name: "count", Kind: storage.Int64}, {Name: "half", Kind: storage.Float32},
		{Name: "real", Kind: storage.Float64}, {Name: "mask", Kind: storage.String}, {Name: "file_name", Kind: storage.String}, {Name: "raw", Kind: storage.Bytes}},
}

func write(dir string) error {
	samples, err := odd()
	if err != nil {
		return err
	}
	set := filepath.Join(dir, "set")
	// Several row groups and shards a split.
	w, err := storage.CreateWith(set, schema, storage.Layout{RowGroupBytes: 3000, ShardBytes: 4000})
	if err != nil {
		return err
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	d, err := storage.Open(set)
	if err != nil {
		return err
	}
	for _, format := range []string{"hf-parquet", "imagefolder"} {
		e, err := storage.NewExporter(format, 2)
		if err != nil {
			return err
		}
		if _, err := e.Export(context.Background(), d, filepath.Join(dir, format)); err != nil {
			return err
		}
	}
	return writeExpected(filepath.Join(dir, "expected.json"), samples)
}

// odd are samples that readers could trip over.
func odd() ([]storage.Sample, error) {
	var p painter
	plain := p.png(p.image(9, 6, 0))
	samples := []storage.Sample{
		{ID: "plain", Image: file(plain, "plain.png"), Label: 1, Saliency: p.map16(9, 6), SaliencySource: storage.SourceHuman,
			Reference: p.map16(18, 12), Group: "g1", Extra: []any{true, int64(math.MinInt64), float32(0.1), 1e300, "word", "a.png", []byte{0, 255}}},
		{ID: "no label, no map", Image: file(p.png(p.image(4, 5, 1)), ""), Label: storage.NoLabel},
		{ID: "turned by EXIF", Image: file(turned(p.jpeg(p.image(16, 8, 2))), "IMG_1.JPG"), Saliency: p.map16(8, 16),
			SaliencySource: storage.SourcePredictor, SaliencyModel: "key", SaliencyQuality: 0.75, Predicted: p.map16(8, 16)},
		{ID: "häßlich/名前 |*_`.png", Image: file(p.gif(p.image(7, 7, 3)), "名前.gif"), Label: 2, Saliency: p.map8(7, 7), SaliencySource: storage.SourceHuman, Group: "g 2"},
		{ID: "a/b", Image: file(p.tiff(p.image(5, 5, 4)), "b.tif")},
		{ID: "a_b", Image: file(p.png(p.grey16(5, 3)), "b.png"), Extra: []any{nil, int64(-1)}},
		{ID: "A_B.png", Image: file(p.png(p.image(5, 3, 6)), "b.png"), SaliencyQuality: -0.25, Saliency: p.map16(40, 24), SaliencySource: storage.SourceMean},
		{ID: "...", Image: file(p.png(p.image(1, 1, 7)), "...")},
	}
	for i := range 12 {
		samples = append(samples, storage.Sample{ID: fmt.Sprintf("more-%d", i), Image: file(p.png(p.image(20+i, 10, i)), "m.png"), Label: int64(i % 3)})
	}
	for i := range samples {
		s := &samples[i]
		s.Split = []string{"train", "val", "test", "train", "hold_out"}[i%5]
		if s.SaliencyQuality == 0 {
			s.SaliencyQuality = storage.NoQuality()
		}
	}
	return samples, p.err
}

func file(data []byte, path string) storage.Encoded { return storage.Encoded{Bytes: data, Path: path} }

// painter draws and encodes; it keeps the first error.
type painter struct {
	err   error
	drawn int
}

func (p *painter) image(w, h, seed int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 255 / w), uint8(y * 255 / h), uint8(seed * 20), 255})
		}
	}
	return m
}

func (p *painter) grey16(w, h int) image.Image {
	p.drawn++
	m := image.NewGray16(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.SetGray16(i%w, i/w, color.Gray16{Y: uint16(i*65535/(w*h) + p.drawn)})
	}
	return m
}

// encode is what an encoder writes.
func (p *painter) encode(write func(*bytes.Buffer) error) []byte {
	var b bytes.Buffer
	p.err = errors.Join(p.err, write(&b))
	return b.Bytes()
}

func (p *painter) png(m image.Image) []byte {
	return p.encode(func(b *bytes.Buffer) error { return png.Encode(b, m) })
}

func (p *painter) jpeg(m image.Image) []byte {
	return p.encode(func(b *bytes.Buffer) error { return jpeg.Encode(b, m, &jpeg.Options{Quality: 95}) })
}

func (p *painter) gif(m image.Image) []byte {
	return p.encode(func(b *bytes.Buffer) error { return gif.Encode(b, m, nil) })
}

func (p *painter) tiff(m image.Image) []byte {
	return p.encode(func(b *bytes.Buffer) error { return tiff.Encode(b, m, nil) })
}

func (p *painter) map16(w, h int) storage.Encoded { return file(p.png(p.grey16(w, h)), "map.png") }

func (p *painter) map8(w, h int) storage.Encoded {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 5)
	}
	return file(p.png(m), "")
}

// turned adds an EXIF block with orientation 6 (turn clockwise for display) to a
// JPEG file.
func turned(data []byte) []byte {
	exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return bytes.Join([][]byte{data[:2], segment, exif, data[2:]}, nil)
}

// expected is what a reader has to find in a row. Byte slices are base64.
type expected struct {
	ID      string   `json:"id"`
	Split   string   `json:"split"`
	Label   *int64   `json:"label"`
	Class   *string  `json:"class"`
	Group   *string  `json:"group"`
	Source  *string  `json:"saliency_source"`
	Model   *string  `json:"saliency_model"`
	Quality *float32 `json:"saliency_quality"`
	File    []byte   `json:"file"`
	Path    *string  `json:"path"`
	Image   pixels   `json:"image"`
	// Maps are saliency, reference and predicted, levels of 16 bits (little-endian).
	Maps  map[string]*pixels `json:"maps"`
	Extra map[string]any     `json:"extra"`
}

// pixels are rows of pixels as displayed.
type pixels struct {
	W    int    `json:"w"`
	H    int    `json:"h"`
	Data []byte `json:"data"`
}

func writeExpected(path string, samples []storage.Sample) error {
	rows := make([]expected, len(samples))
	for i, s := range samples {
		var err error
		if rows[i], err = expect(s); err != nil {
			return fmt.Errorf("sample %q: %w", s.ID, err)
		}
	}
	text, err := json.Marshal(map[string]any{"classes": schema.Classes, "rows": rows})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func expect(s storage.Sample) (expected, error) {
	e := expected{ID: s.ID, Split: s.Split, Group: orNull(s.Group), Source: orNull(s.SaliencySource), Model: orNull(s.SaliencyModel),
		File: s.Image.Bytes, Path: orNull(s.Image.Path), Maps: map[string]*pixels{}, Extra: map[string]any{}}
	if s.Label != storage.NoLabel {
		e.Label, e.Class = &s.Label, &schema.Classes[s.Label]
	}
	if q := s.SaliencyQuality; q == q {
		e.Quality = &q
	}
	m, err := raster.Decode(s.Image.Bytes)
	if err != nil {
		return e, err
	}
	e.Image = pixels{m.W, m.H, m.Pix}
	for name, f := range map[string]storage.Encoded{"saliency": s.Saliency, "reference": s.Reference, "predicted": s.Predicted} {
		if e.Maps[name] = nil; !f.Present() {
			continue
		}
		p, err := raster.DecodeMap(f.Bytes)
		if err != nil {
			return e, err
		}
		levels := &pixels{W: p.W, H: p.H}
		for _, v := range p.Pix {
			levels.Data = binary.LittleEndian.AppendUint16(levels.Data, uint16(math.Round(float64(v)*65535)))
		}
		e.Maps[name] = levels
	}
	for i, c := range schema.Extra {
		e.Extra[c.Name] = nil
		if i < len(s.Extra) {
			e.Extra[c.Name] = s.Extra[i]
		}
	}
	return e, nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
