package raster

import (
	"bytes"
	"encoding/binary"

	"github.com/surrogaze/surrogaze/internal/raster/jpeg"
)

// orientation is the EXIF tag of that name: how to turn stored pixels for
// display. Its values 1 to 8 are the symmetries of the square; anything else
// counts as 1.
type orientation uint8

const upNormal orientation = 1

// transposed reports whether display swaps width and height.
func (o orientation) transposed() bool { return o >= 5 && o <= 8 }

// mirrored reports whether the stored x, the stored y run backwards.
func (o orientation) mirrored() (x, y bool) {
	switch o {
	case 2, 8:
		return true, false
	case 3, 7:
		return true, true
	case 4, 6:
		return false, true
	}
	return false, false
}

// displayed is the size on display of w x h stored pixels.
func (o orientation) displayed(w, h int) (int, int) {
	if o.transposed() {
		return h, w
	}
	return w, h
}

// upright turns w x h stored pixels of n values each for display. The result is
// src itself where nothing is to be done.
func upright[T any](src []T, w, h, n int, o orientation) []T {
	mirrorX, mirrorY := o.mirrored()
	if !mirrorX && !mirrorY && !o.transposed() {
		return src
	}
	start, stepX, stepY := 0, n, n*w
	if mirrorX {
		start, stepX = start+n*(w-1), -stepX
	}
	if mirrorY {
		start, stepY = start+n*w*(h-1), -stepY
	}
	if o.transposed() {
		stepX, stepY = stepY, stepX
	}
	outW, outH := o.displayed(w, h)
	dst := make([]T, 0, len(src))
	for y := range outH {
		for x := range outW {
			at := start + x*stepX + y*stepY
			dst = append(dst, src[at:at+n]...)
		}
	}
	return dst
}

func asStored([]byte) orientation { return upNormal }

// tiffOrientation reads the tag from a TIFF structure, which is what an EXIF
// block is. Damaged blocks count as no block: viewers show such images as stored.
func tiffOrientation(b []byte) orientation {
	o := tiffTag(b, 0x0112)
	if o < 1 || o > 8 {
		return upNormal
	}
	return orientation(o)
}

// tiffTag is the value of a tag of the first directory that holds one whole
// number, or 0.
func tiffTag(b []byte, tag uint16) uint32 {
	const short, long = 3, 4
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 0
	}
	if len(b) < 8 {
		return 0
	}
	directory := from(b, uint64(order.Uint32(b[4:])))
	if len(directory) < 2 {
		return 0
	}
	entries := directory[2:]
	for range order.Uint16(directory) {
		if len(entries) < 12 {
			return 0
		}
		entry := entries[:12]
		entries = entries[12:]
		if order.Uint16(entry) != tag || order.Uint32(entry[4:]) != 1 {
			continue
		}
		switch order.Uint16(entry[2:]) {
		case short:
			return uint32(order.Uint16(entry[8:]))
		case long:
			return order.Uint32(entry[8:])
		}
	}
	return 0
}

// from is b[start:], or nothing where b is shorter.
func from(b []byte, start uint64) []byte {
	if start > uint64(len(b)) {
		return nil
	}
	return b[start:]
}

// exifOrientation reads an EXIF block with or without JPEG's own prefix, which
// some writers put into WebP and PNG too.
func exifOrientation(block []byte) orientation {
	return tiffOrientation(bytes.TrimPrefix(block, []byte("Exif\x00\x00")))
}

// jpegOrientation reads the EXIF block before the first scan.
func jpegOrientation(data []byte) orientation {
	for s, err := range jpeg.Segments(data) {
		if err != nil || s.Marker == jpeg.SOS {
			break
		}
		if s.Marker == jpeg.APP1 && bytes.HasPrefix(s.Body, []byte("Exif\x00\x00")) {
			return exifOrientation(s.Body)
		}
	}
	return upNormal
}

// pngOrientation reads the eXIf chunk, which may stand before or after the pixels.
func pngOrientation(data []byte) orientation {
	for b := from(data, 8); len(b) >= 12; {
		size := uint64(binary.BigEndian.Uint32(b))
		if size > uint64(len(b)-12) {
			break
		}
		if string(b[4:8]) == "eXIf" {
			return exifOrientation(b[8 : 8+size])
		}
		b = b[12+size:]
	}
	return upNormal
}

func webpOrientation(data []byte) orientation {
	for b := from(data, 12); len(b) >= 8; {
		size := uint64(binary.LittleEndian.Uint32(b[4:]))
		if size > uint64(len(b)-8) {
			break
		}
		if string(b[:4]) == "EXIF" {
			return exifOrientation(b[8 : 8+size])
		}
		b = from(b, 8+size+size&1)
	}
	return upNormal
}
