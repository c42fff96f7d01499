package raster

import (
	"image"
	"image/color"
)

// toImage drops alpha, keeping the colour below it, and the low bytes of 16-bit
// samples: 65535 becomes 255, 256 becomes 1.
func toImage(m image.Image) *Image {
	b := m.Bounds()
	dst := NewImage(b.Dx(), b.Dy())
	switch m := m.(type) {
	case *image.Gray:
		spread(dst, m.Pix, m.Stride, 1)
	case *image.Gray16:
		spread(dst, m.Pix, m.Stride, 2)
	case *image.NRGBA:
		gather(dst, m.Pix, m.Stride, 4, 1)
	case *image.NRGBA64:
		gather(dst, m.Pix, m.Stride, 8, 2)
	case *image.RGBA:
		if !m.Opaque() {
			fromColours(dst, m)
			break
		}
		gather(dst, m.Pix, m.Stride, 4, 1)
	case *image.RGBA64:
		if !m.Opaque() {
			fromColours(dst, m)
			break
		}
		gather(dst, m.Pix, m.Stride, 8, 2)
	case *image.Paletted:
		fromPalette(dst, m)
	default:
		fromColours(dst, m)
	}
	return dst
}

// spread copies the first byte of every grey sample to three channels.
func spread(dst *Image, pix []uint8, stride, pixel int) {
	for y := range dst.H {
		row, out := pix[y*stride:], dst.Pix[3*y*dst.W:][:3*dst.W]
		for x := range dst.W {
			v := row[x*pixel]
			out[3*x], out[3*x+1], out[3*x+2] = v, v, v
		}
	}
}

// gather copies the first byte of the first three samples of every pixel.
func gather(dst *Image, pix []uint8, stride, pixel, sample int) {
	for y := range dst.H {
		row, out := pix[y*stride:], dst.Pix[3*y*dst.W:][:3*dst.W]
		for x := range dst.W {
			p := row[x*pixel:]
			out[3*x], out[3*x+1], out[3*x+2] = p[0], p[sample], p[2*sample]
		}
	}
}

func fromPalette(dst *Image, m *image.Paletted) {
	var palette [256][3]uint8
	for i, c := range m.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		palette[i] = [3]uint8{n.R, n.G, n.B}
	}
	for y := range dst.H {
		out := dst.Pix[3*y*dst.W:][:3*dst.W]
		for x, i := range m.Pix[y*m.Stride:][:dst.W] {
			copy(out[3*x:], palette[i][:])
		}
	}
}

// fromColours is the slow way, for premultiplied alpha and whatever comes.
func fromColours(dst *Image, m image.Image) {
	b := m.Bounds()
	for y := range dst.H {
		for x := range dst.W {
			c := color.NRGBAModel.Convert(m.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			copy(dst.Pix[3*(y*dst.W+x):], []uint8{c.R, c.G, c.B})
		}
	}
}

// toPlane keeps all 16 bits where there are 16.
func toPlane(m image.Image) *Plane {
	switch m := m.(type) {
	case *image.Gray16:
		return deepPlane(m.Rect, m.Pix, m.Stride, 2, 0)
	case *image.NRGBA64:
		return deepPlane(m.Rect, m.Pix, m.Stride, 8, 2)
	case *image.RGBA64:
		return deepPlane(m.Rect, m.Pix, m.Stride, 8, 2)
	}
	return luma(toImage(m))
}

// deepPlane reads big-endian 16-bit pixels whose three samples lie sample bytes
// apart (0: one sample).
func deepPlane(r image.Rectangle, pix []uint8, stride, pixel, sample int) *Plane {
	dst := NewPlane(r.Dx(), r.Dy())
	for y := range dst.H {
		row, out := pix[y*stride:], dst.Pix[y*dst.W:][:dst.W]
		for x := range out {
			p := row[x*pixel:]
			level := func(i int) uint64 { return uint64(p[i*sample])<<8 | uint64(p[i*sample+1]) }
			out[x] = float32(weigh(level(0), level(1), level(2))) / 65535
		}
	}
	return dst
}

func luma(m *Image) *Plane {
	dst := NewPlane(m.W, m.H)
	for i := range dst.Pix {
		p := m.Pix[3*i : 3*i+3]
		dst.Pix[i] = float32(weigh(uint64(p[0]), uint64(p[1]), uint64(p[2]))) / 255
	}
	return dst
}

// weigh is Pillow's luma: 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, rounded.
func weigh(r, g, b uint64) uint64 { return (19595*r + 38470*g + 7471*b + 1<<15) >> 16 }
