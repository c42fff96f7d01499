package raster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
)

// EncodeMap writes p as a 16-bit grey PNG, the form in which data sets keep
// maps: 8 bits would move the KL divergence. Values are cut to [0, 1] and rounded
// to 1/65535; NaN is an error. The same plane gives the same bytes.
func EncodeMap(p *Plane) ([]byte, error) {
	if p.W < 1 || p.H < 1 || len(p.Pix) != p.W*p.H {
		return nil, fmt.Errorf("encode map: found %d values for %d x %d pixels", len(p.Pix), p.W, p.H)
	}
	m := image.NewGray16(image.Rect(0, 0, p.W, p.H))
	for i, v := range p.Pix {
		if v != v {
			return nil, fmt.Errorf("encode map: found NaN at x %d, y %d, want values in [0, 1]", i%p.W, i/p.W)
		}
		level := math.Round(float64(min(max(v, 0), 1)) * 65535)
		binary.BigEndian.PutUint16(m.Pix[2*i:], uint16(level))
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil, fmt.Errorf("encode map: %w", err)
	}
	return b.Bytes(), nil
}

// EncodePNG writes m without loss. The same image gives the same bytes.
func EncodePNG(m *Image) ([]byte, error) {
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, m.std()); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return b.Bytes(), nil
}

// EncodeJPEG writes m with a quality of 1 to 100. The same image gives the same bytes.
func EncodeJPEG(m *Image, quality int) ([]byte, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m.std(), &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	return b.Bytes(), nil
}

// std is a copy of m for the standard library.
func (m *Image) std() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.W * m.H {
		copy(out.Pix[4*i:4*i+3], m.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}
