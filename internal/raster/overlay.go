package raster

// FromPlanar turns planar float32 (3, h, w) in [0, 1] back into an image: what a
// network was shown.
func FromPlanar(planar []float32, h, w int) *Image {
	m := NewImage(w, h)
	for i := range w * h {
		for c := range 3 {
			m.Pix[3*i+c] = level(planar[c*w*h+i])
		}
	}
	return m
}

// level is the 8-bit level of a value in [0, 1].
func level(v float32) uint8 { return uint8(min(max(v, 0), 1)*255 + 0.5) }

// Overlay lays a heat map of p over img: nothing where p is 0, then dark red over
// orange to bright yellow where it is 1. p is stretched to the image's size.
func Overlay(img *Image, p *Plane) *Image {
	heat := make([]float32, img.W*img.H)
	ResizeMap(heat, img.H, img.W, p)
	out := NewImage(img.W, img.H)
	for i, v := range heat {
		opacity := overlayOpacity * min(1, 2*max(v, 0))
		for c, warm := range warmth(v) {
			out.Pix[3*i+c] = level(float32(img.Pix[3*i+c])/255*(1-opacity) + warm*opacity)
		}
	}
	return out
}

// overlayOpacity is the share of the heat map's colour where it is strongest: the
// image stays visible under it.
const overlayOpacity = 0.6

// Heat is p alone in the colours of Overlay, on black.
func Heat(p *Plane) *Image {
	out := NewImage(p.W, p.H)
	for i, v := range p.Pix {
		opacity := min(1, 2*max(v, 0))
		for c, warm := range warmth(v) {
			out.Pix[3*i+c] = level(warm * opacity)
		}
	}
	return out
}

// warmth runs from dark red (0) over orange to yellow (1); every channel grows
// with v, so the order survives in grey print.
func warmth(v float32) [3]float32 {
	v = min(max(v, 0), 1)
	return [3]float32{0.5 + 0.5*min(1, 1.6*v), 0.95 * v * v, 0.25 * v * v * v}
}
