package raster

// Prepared is an image made ready for the views of a network that sees a square. It is
// never written to. The zero Prepared is no image.
type Prepared struct {
	detailed *Image // for any view; nil where only the other is wanted
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
	p := r.PrepareWhole(m, side)
	p.detailed = p.whole
	if !r.keeps(m, side) {
		p.detailed = r.Reduce(m, kept*side)
	}
	return p
}

// PrepareWhole is Prepare for the view of all of the image alone.
func (r Resizing) PrepareWhole(m *Image, side int) Prepared {
	switch {
	case r.keeps(m, side):
		return Prepared{whole: r.Reduce(m, kept*side)}
	case r == Pad:
		return Prepared{whole: r.Reduce(m, side)}
	}
	return Prepared{whole: reduceImage(m, size{side, side})}
}

// keeps reports whether an image is kept as it is.
func (r Resizing) keeps(m *Image, side int) bool {
	return r.reduced(kept*side, m.W, m.H) == size{m.W, m.H}
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
	n := 0
	if p.whole != nil {
		n = len(p.whole.Pix)
	}
	if p.detailed != nil && p.detailed != p.whole {
		n += len(p.detailed.Pix)
	}
	return int64(n)
}
