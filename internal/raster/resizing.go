package raster

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Resizing is how an image of any shape comes to fill the square that a network
// sees.
type Resizing string

const (
	// Squash brings both sides to the square's: the image fills it and loses its
	// shape.
	Squash Resizing = "squash"
	// Pad brings the longer side to the square's and puts the image in the middle,
	// between black bars: it keeps its shape.
	Pad Resizing = "pad"
)

// Validate names a resizing that there is not.
func (r Resizing) Validate() error {
	if r != Squash && r != Pad {
		return fmt.Errorf("resize %q: want %s or %s", string(r), Squash, Pad)
	}
	return nil
}

// Reduce prepares an image for the views of a network: with no more detail than a
// square of side pixels can show, and padded to a square where that is wanted.
// An image that needs neither is returned as it is.
func (r Resizing) Reduce(m *Image, side int) *Image {
	m = reduceImage(m, r.reduced(side, m.W, m.H))
	if r != Pad || m.W == m.H {
		return m
	}
	longer := max(m.W, m.H)
	square := NewImage(longer, longer)
	centre(square.Pix, m.Pix, 3, longer, m.W, m.H)
	return square
}

// ReduceMap is Reduce of an image's map, by area mean. The bars say 0: there is
// nothing to be seen.
func (r Resizing) ReduceMap(p *Plane, side int) *Plane {
	p = reduceMap(p, r.reduced(side, p.W, p.H))
	if r != Pad || p.W == p.H {
		return p
	}
	longer := max(p.W, p.H)
	square := NewPlane(longer, longer)
	centre(square.Pix, p.Pix, 1, longer, p.W, p.H)
	return square
}

// reduced is the size that w x h need at most.
func (r Resizing) reduced(side, w, h int) size {
	if r == Pad {
		return longerTo(min(side, max(w, h)), w, h)
	}
	return shorterTo(side, w, h)
}

// centre copies rows of w pixels into the middle of a square.
func centre[T any](square, pix []T, channels, side, w, h int) {
	left, top := (side-w)/2, (side-h)/2
	for y := range h {
		copy(square[channels*((top+y)*side+left):], pix[channels*y*w:channels*(y+1)*w])
	}
}

// Shown is the part of a square map, such as a network gives, that lies over an
// image of w x h pixels, as fine as the square: all of it where the image was
// squashed, the middle where it was padded.
func (r Resizing) Shown(square *Plane, w, h int) *Plane {
	if r != Pad || w == h {
		return square
	}
	side := square.W
	middle := func(n int) op.Span {
		return op.Span{Centre: float64(side) / 2, Side: float64(side) * float64(n) / float64(max(w, h))}
	}
	to := longerTo(side, w, h)
	part := NewPlane(to.w, to.h)
	s := resamplers.Get().(*resampler)
	defer resamplers.Put(s)
	s.plan(area{}, middle(w), middle(h), side, side, part.W, part.H, 1)
	s.planeRows(square)
	s.columns(part.Pix, 0, 1, false)
	return part
}

// Restore is a square map in the shape of the image of w x h pixels that it
// belongs to, its longer side the square's.
func (r Resizing) Restore(square *Plane, w, h int) *Plane {
	return reduceMap(r.Shown(square, w, h), longerTo(square.W, w, h))
}
