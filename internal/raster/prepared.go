package raster

// Prepared is an image made ready for the views of a network that sees a square. It is
// never written to. The zero Prepared is no image.
type Prepared struct {
	detailed *Image // for any view
	whole    *Image // for the one of all of it, resampled no more than once
}

// kept is how many times the square's side an image is kept at, so that a zoomed view
// still has a pixel for each of its own.
const kept = 2

// Prepare makes an image ready for a square of side pixels. What is far larger is
// reduced, and resampled again by a view that zooms, shifts or turns; the view of all of
// it is what one resampling of the image gives, as by torchvision's Resize, rounded to 8
// bits.
func (r Resizing) Prepare(m *Image, side int) Prepared {
	p := Prepared{detailed: r.Reduce(m, kept*side)}
	p.whole = p.detailed
	if r.reduced(kept*side, m.W, m.H) == (size{m.W, m.H}) {
		return p
	}
	switch r {
	case Pad:
		p.whole = r.Reduce(m, side)
	default:
		p.whole = reduceImage(m, size{side, side})
	}
	return p
}

// View writes a view of the image as planar float32 (3, side, side) in [0, 1] into dst.
func (p Prepared) View(dst []float32, side int, v View) {
	v.Image(dst, side, side, p.seen(v))
}

// seen is the image that a view looks at.
func (p Prepared) seen(v View) *Image {
	if v == (View{}) {
		return p.whole
	}
	return p.detailed
}

// Bytes is the memory of the pixels.
func (p Prepared) Bytes() int64 {
	if p.detailed == nil {
		return 0
	}
	n := len(p.detailed.Pix)
	if p.whole != p.detailed {
		n += len(p.whole.Pix)
	}
	return int64(n)
}
