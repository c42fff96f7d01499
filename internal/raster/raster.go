// Package raster turns encoded images into pixels and pixels into what the
// networks take: planar float32, resized, augmented. It also writes saliency
// maps and the small pictures of reports.
//
// An image is always handled as it is displayed: the EXIF orientation is
// applied on decoding, alpha is dropped (not blended), 16 bits are scaled to 8.
// The reference is Pillow's convert("RGB") after ImageOps.exif_transpose, except
// for 16-bit grey images, which Pillow clips to white.
package raster

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"slices"
)

// Image is an RGB picture as displayed: H rows of W pixels of 3 bytes,
// interleaved, without padding.
type Image struct {
	W, H int
	Pix  []uint8
}

// NewImage is a black image.
func NewImage(w, h int) *Image { return &Image{W: w, H: h, Pix: make([]uint8, 3*w*h)} }

// Plane is one channel of values in [0, 1], H rows of W, without padding: a
// saliency map as displayed over its image.
type Plane struct {
	W, H int
	Pix  []float32
}

// NewPlane is a plane of zeros.
func NewPlane(w, h int) *Plane { return &Plane{W: w, H: h, Pix: make([]float32, w*h)} }

// ErrFormat says that the data are in none of the formats that this package reads.
var ErrFormat = errors.New("unknown image format")

// ErrTooLarge says that an image has more pixels than the limits allow.
var ErrTooLarge = errors.New("image too large")

// Limits bound what one file may claim, so that a few hostile bytes cannot take
// all memory.
type Limits struct {
	// Pixels is the largest width times height. Decoding takes 5 to 16 bytes for
	// each, the most for progressive JPEG.
	Pixels int
}

// DefaultLimits is the size from which Pillow calls a file a decompression bomb.
var DefaultLimits = Limits{Pixels: 178_956_970}

// Decode reads a JPEG, PNG, GIF (first frame), WebP, TIFF (first page) or BMP
// file under the default limits.
func Decode(data []byte) (*Image, error) { return DefaultLimits.Decode(data) }

// Dim reports whether a file that can be decoded has 16 bits a sample and uses less than
// the lowest eighth of their range, of which Decode leaves next to nothing: so are images
// of 12 bits where they were not scaled up.
func Dim(data []byte) bool {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return false
	}
	switch config.ColorModel {
	case color.Gray16Model, color.NRGBA64Model, color.RGBA64Model:
		m, err := Decode(data)
		return err == nil && slices.Max(m.Pix) < 256/8
	}
	return false
}

// DecodeMap reads a saliency map from any of the formats of Decode under the
// default limits. Levels are divided by their maximum: 255, or 65535 for the
// 16-bit kinds, which are read exactly. Colours count by their luma (ITU-R BT.601,
// as Pillow's convert("L")).
func DecodeMap(data []byte) (*Plane, error) { return DefaultLimits.DecodeMap(data) }

// Size is the displayed width and height, read from the header alone. It may
// succeed on a file whose pixels are damaged.
func Size(data []byte) (w, h int, err error) {
	c, err := sniff(data)
	if err != nil {
		return 0, 0, err
	}
	defer recoverAs(&err, "read size of "+c.name)
	w, h, err = c.size(data)
	if err != nil {
		return 0, 0, fmt.Errorf("read size of %s: %w", c.name, err)
	}
	if c.orientation(data).transposed() {
		w, h = h, w
	}
	return w, h, nil
}

// Turned reports whether the image is displayed otherwise than its pixels are
// stored, which readers that know nothing of EXIF do not see.
func Turned(data []byte) bool {
	c, err := sniff(data)
	return err == nil && c.orientation(data) != upNormal
}

// Decode is the function Decode under these limits.
func (l Limits) Decode(data []byte) (*Image, error) {
	m, o, err := decodeWith(l, data, func(c *codec) func([]byte) (*Image, error) { return c.image })
	if err != nil {
		return nil, err
	}
	w, h := o.displayed(m.W, m.H)
	return &Image{W: w, H: h, Pix: upright(m.Pix, m.W, m.H, 3, o)}, nil
}

// DecodeMap is the function DecodeMap under these limits.
func (l Limits) DecodeMap(data []byte) (*Plane, error) {
	p, o, err := decodeWith(l, data, func(c *codec) func([]byte) (*Plane, error) { return c.plane })
	if err != nil {
		return nil, err
	}
	w, h := o.displayed(p.W, p.H)
	return &Plane{W: w, H: h, Pix: upright(p.Pix, p.W, p.H, 1, o)}, nil
}

// decodeWith runs one of a codec's decoders behind the limits.
func decodeWith[T any](l Limits, data []byte, pick func(*codec) func([]byte) (*T, error)) (m *T, o orientation, err error) {
	c, err := sniff(data)
	if err != nil {
		return nil, 0, err
	}
	defer recoverAs(&err, "decode "+c.name)
	w, h, err := c.size(data)
	if err != nil {
		return nil, 0, fmt.Errorf("decode %s: %w", c.name, err)
	}
	if w > l.Pixels/h {
		return nil, 0, fmt.Errorf("decode %s: %w: %d x %d pixels, want at most %d in all", c.name, ErrTooLarge, w, h, l.Pixels)
	}
	m, err = pick(c)(data)
	if err != nil {
		return nil, 0, fmt.Errorf("decode %s: %w", c.name, err)
	}
	return m, c.orientation(data), nil
}

// recoverAs turns a panic of a third-party decoder on damaged data into an error.
func recoverAs(err *error, doing string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: damaged data (%v)", doing, p)
	}
}

// MinMax scales p to [0, 1] in place: p = (p - min) / (max - min). A constant p,
// or one that holds a value that is not finite, becomes zeros and MinMax reports
// false: such a map says nothing about where to look.
func MinMax(p []float32) bool {
	if len(p) == 0 {
		return false
	}
	low, high := p[0], p[0]
	finite := true
	for _, v := range p {
		low, high = min(low, v), max(high, v)
		finite = finite && v-v == 0
	}
	if !finite || low == high {
		clear(p)
		return false
	}
	// In float64, because high - low may overflow and (v-low)*(1/range) may pass 1.
	span := float64(high) - float64(low)
	for i, v := range p {
		p[i] = float32((float64(v) - float64(low)) / span)
	}
	return true
}

// Mirror reverses every row of w values in place: it turns planar images or maps
// (any number of planes) left to right.
func Mirror(p []float32, w int) {
	for ; len(p) >= w && w > 1; p = p[w:] {
		row := p[:w]
		for i, j := 0, w-1; i < j; i, j = i+1, j-1 {
			row[i], row[j] = row[j], row[i]
		}
	}
}
