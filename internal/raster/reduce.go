package raster

// size is a width and a height in pixels.
type size struct{ w, h int }

// shorterTo is w x h reduced so that the shorter side is at most side pixels, in
// the same aspect ratio.
func shorterTo(side, w, h int) size { return scaled(min(side, w, h), min(w, h), w, h) }

// longerTo is w x h scaled so that the longer side is side pixels.
func longerTo(side, w, h int) size { return scaled(side, max(w, h), w, h) }

// scaled is w x h times side/of, rounded, each at least 1.
func scaled(side, of, w, h int) size {
	scale := func(n int) int { return max(1, (n*side+of/2)/of) }
	return size{scale(w), scale(h)}
}

// Thumbnail is m reduced so that its longer side is at most side, in the same
// aspect ratio; a smaller image is returned as it is.
func Thumbnail(m *Image, side int) *Image {
	return reduceImage(m, longerTo(min(side, max(m.W, m.H)), m.W, m.H))
}

func reduceImage(m *Image, to size) *Image {
	if to.w == m.W && to.h == m.H {
		return m
	}
	planar := make([]float32, 3*to.w*to.h)
	Resize(planar, to.h, to.w, m)
	return FromPlanar(planar, to.h, to.w)
}

// reduceMap is by area mean.
func reduceMap(p *Plane, to size) *Plane {
	if to.w == p.W && to.h == p.H {
		return p
	}
	small := NewPlane(to.w, to.h)
	ResizeMap(small.Pix, to.h, to.w, p)
	return small
}
