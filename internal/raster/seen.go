package raster

import "github.com/surrogaze/surrogaze/internal/op"

// SeenImage is a view of an image as a network of a side takes it.
type SeenImage struct {
	Image Prepared
	View  View
	Side  int
}

// Draw writes it planar, normalised, into dst, which holds 3*Side*Side values.
func (s SeenImage) Draw(dst []float32) {
	s.Image.View(dst, s.Side, s.View)
	Normalize(dst)
}

// Geometry says how to compute what Draw writes.
func (s SeenImage) Geometry() op.View {
	m := s.Image.seen(s.View)
	v := op.View{Bytes: m.Pix, W: m.W, H: m.H, Transpose: s.View.Transpose, Mean: ChannelMean, Std: ChannelStd}
	v.X, v.Y = s.View.spans(m.W, m.H)
	for c, gain := range s.View.Gain {
		v.Gain[c] = 1 + gain
	}
	return v
}

// SeenMap is the same view of the image's map.
type SeenMap struct {
	Map  *Plane
	View View
	Side int
}

// Draw writes it into dst, which holds Side*Side values.
func (s SeenMap) Draw(dst []float32) { s.View.Map(dst, s.Side, s.Side, s.Map) }

// Geometry says how to compute what Draw writes.
func (s SeenMap) Geometry() op.View {
	v := op.View{Values: s.Map.Pix, W: s.Map.W, H: s.Map.H, Transpose: s.View.Transpose}
	v.X, v.Y = s.View.spans(s.Map.W, s.Map.H)
	return v
}

// Plain reports whether the values that the view looks at are all the same, so that there
// is nothing to be seen in it.
func (s SeenMap) Plain() bool {
	r := s.View.prepare(area{}, s.Side, s.Side, s.Map.W, s.Map.H, 1)
	defer resamplers.Put(r)
	left, right := r.cols.bounds()
	first := s.Map.Pix[r.low*s.Map.W+left]
	for y := r.low; y < r.high; y++ {
		for _, v := range s.Map.Pix[y*s.Map.W+left : y*s.Map.W+right] {
			if v != first {
				return false
			}
		}
	}
	return true
}
