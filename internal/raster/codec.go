package raster

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/surrogaze/surrogaze/internal/raster/jpeg"
)

// codec is one format: how to know it, and how to read its size, its pixels in
// stored orientation, and its orientation.
type codec struct {
	name        string
	magic       []string                           // '?' stands for any byte
	size        func([]byte) (w, h int, err error) // as stored
	image       func([]byte) (*Image, error)
	plane       func([]byte) (*Plane, error)
	orientation func([]byte) orientation
}

var codecs = []codec{
	{"JPEG", []string{"\xff\xd8\xff"}, jpeg.Size, decodeJPEG, lumaOf(decodeJPEG), jpegOrientation},
	{"PNG", []string{"\x89PNG\r\n\x1a\n"}, sizeOf(png.DecodeConfig), imageOf(decodePNG), planeOf(decodePNG), pngOrientation},
	{"GIF", []string{"GIF87a", "GIF89a"}, sizeOf(gif.DecodeConfig), decodeGIF, lumaOf(decodeGIF), asStored},
	{"WebP", []string{"RIFF????WEBPVP8"}, sizeOf(webp.DecodeConfig), decodeWebP, lumaOf(decodeWebP), webpOrientation},
	{"TIFF", []string{"II*\x00", "MM\x00*"}, sizeOf(tiff.DecodeConfig), imageOf(decodeTIFF), planeOf(decodeTIFF), tiffOrientation},
	{"BMP", []string{"BM????\x00\x00\x00\x00"}, sizeOf(bmp.DecodeConfig), imageOf(decodeBMP), planeOf(decodeBMP), asStored},
}

// sniff finds the codec by the data's first bytes; names and extensions lie.
func sniff(data []byte) (*codec, error) {
	for i := range codecs {
		for _, magic := range codecs[i].magic {
			if hasMagic(data, magic) {
				return &codecs[i], nil
			}
		}
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("decode image: %w: found no data, want JPEG, PNG, GIF, WebP, TIFF or BMP", ErrFormat)
	}
	return nil, fmt.Errorf("decode image: %w: found bytes %q, want JPEG, PNG, GIF, WebP, TIFF or BMP", ErrFormat, data[:min(len(data), 8)])
}

func hasMagic(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

func sizeOf(config func(io.Reader) (image.Config, error)) func([]byte) (w, h int, err error) {
	return func(data []byte) (w, h int, err error) {
		c, err := config(bytes.NewReader(data))
		if err == nil && (c.Width < 1 || c.Height < 1) {
			err = fmt.Errorf("found %d x %d pixels, want at least 1 x 1", c.Width, c.Height)
		}
		return c.Width, c.Height, err
	}
}

func decodePNG(data []byte) (image.Image, error) { return png.Decode(bytes.NewReader(data)) }

func decodeBMP(data []byte) (image.Image, error) { return bmp.Decode(bytes.NewReader(data)) }

// decodeTIFF puts right what x/image does with fax compression: a white run
// decodes to zeros, which the photometric interpretation may well call black.
func decodeTIFF(data []byte) (image.Image, error) {
	const compression, photometric = 0x0103, 0x0106
	const group3, group4, blackIsZero = 3, 4, 1
	m, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	fax := tiffTag(data, compression)
	if m, ok := m.(*image.Gray); ok && (fax == group3 || fax == group4) && tiffTag(data, photometric) == blackIsZero {
		for i, v := range m.Pix {
			m.Pix[i] = 255 - v
		}
	}
	return m, nil
}

func imageOf(decode func([]byte) (image.Image, error)) func([]byte) (*Image, error) {
	return func(data []byte) (*Image, error) {
		m, err := decode(data)
		if err != nil {
			return nil, err
		}
		return toImage(m), nil
	}
}

func planeOf(decode func([]byte) (image.Image, error)) func([]byte) (*Plane, error) {
	return func(data []byte) (*Plane, error) {
		m, err := decode(data)
		if err != nil {
			return nil, err
		}
		return toPlane(m), nil
	}
}

func lumaOf(decode func([]byte) (*Image, error)) func([]byte) (*Plane, error) {
	return func(data []byte) (*Plane, error) {
		m, err := decode(data)
		if err != nil {
			return nil, err
		}
		return luma(m), nil
	}
}

// decodeGIF reads the first frame onto its screen. A transparent colour keeps
// its place in the palette: the decoder would blacken it, so its flag is hidden.
// What the frame leaves free is that colour, or the palette's first, as in Pillow.
func decodeGIF(data []byte) (*Image, error) {
	data, background := opaqueGIF(data)
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	decoded, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	frame, ok := decoded.(*image.Paletted)
	if !ok || len(frame.Palette) == 0 {
		return nil, errors.New("found no palette")
	}
	screen := image.Rect(0, 0, config.Width, config.Height)
	if frame.Rect == screen {
		return toImage(frame), nil
	}
	if background >= len(frame.Palette) {
		background = 0
	}
	canvas := image.NewPaletted(screen, frame.Palette)
	for i := range canvas.Pix {
		canvas.Pix[i] = uint8(background)
	}
	for y := frame.Rect.Min.Y; y < frame.Rect.Max.Y; y++ {
		copy(canvas.Pix[canvas.PixOffset(frame.Rect.Min.X, y):], frame.Pix[frame.PixOffset(frame.Rect.Min.X, y):][:frame.Rect.Dx()])
	}
	return toImage(canvas), nil
}

// opaqueGIF clears the transparency flags before the first frame in a copy of
// data, and returns the index of the colour that was transparent, or 0.
func opaqueGIF(data []byte) (opaque []byte, transparent int) {
	const screenEnd = 13 // signature and logical screen descriptor
	if len(data) < screenEnd {
		return data, 0
	}
	at := screenEnd
	if flags := data[10]; flags&0x80 != 0 {
		at += 3 << (1 + flags&7)
	}
	for at+7 < len(data) && data[at] == 0x21 {
		if control := data[at:]; control[1] == 0xf9 && control[2] == 4 && control[3]&1 != 0 {
			transparent = int(control[6])
			data = bytes.Clone(data)
			data[at+3] &^= 1
		}
		for at += 2; at < len(data) && data[at] != 0; {
			at += 1 + int(data[at])
		}
		at++
	}
	return data, transparent
}
