package raster

import (
	"fmt"
	"math/rand/v2"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Augment is how far training may change an image and its map. The zero value
// changes nothing.
type Augment struct {
	// Flip mirrors left to right, Transpose swaps the axes, each half of the time.
	Flip, Transpose bool
	// Zoom, in [0, 1): the window onto the image has a side of 1-Zoom to 1+Zoom/4
	// of the image's. Beyond the image its reflection is seen, which teaches
	// little, hence the quarter. 0.2 is the range 0.8 to 1.05.
	Zoom float64
	// Shift, in [0, 1], moves the window along each axis by up to this share of
	// the image's side.
	Shift float64
	// Color, in [0, 1]: each channel is multiplied by its own factor in 1±Color.
	Color float64
	// Brightness, in [0, 1]: all channels are multiplied by one factor in 1±Brightness.
	Brightness float64
}

// Validate names the first value that is out of range.
func (a Augment) Validate() error {
	for _, v := range []struct {
		name         string
		value, below float64
	}{{"zoom", a.Zoom, 0.95}, {"shift", a.Shift, 1}, {"color", a.Color, 1}, {"brightness", a.Brightness, 1}} {
		if !(v.value >= 0 && v.value <= v.below) {
			return fmt.Errorf("augment: %s: found %v, want 0 to %v", v.name, v.value, v.below)
		}
	}
	return nil
}

// View is one way of looking at an image and its map: one draw of an Augment.
// The zero View is the plain resize.
type View struct {
	// Transpose swaps the axes; Flip then mirrors left to right.
	Flip, Transpose bool
	// Zoom is the side of the window in image sides, less 1: 0 sees all, -0.2 the
	// middle 80 %, and 0.05 some reflection around the image.
	Zoom float64
	// ShiftX, ShiftY move the window's centre, in image sides.
	ShiftX, ShiftY float64
	// Gain is the factor of each channel, less 1.
	Gain [3]float32
}

// Draw takes one view at random. It always takes the same number of values from
// rng, so that switching one change off leaves the others as they were.
func (a Augment) Draw(rng *rand.Rand) View {
	flip, transpose := rng.Uint64()&1 == 1, rng.Uint64()&1 == 1
	within := func(limit float64) float64 { return limit * (2*rng.Float64() - 1) }
	v := View{
		Flip:      a.Flip && flip,
		Transpose: a.Transpose && transpose,
		Zoom:      a.Zoom * (1.25*rng.Float64() - 1),
		ShiftX:    within(a.Shift),
		ShiftY:    within(a.Shift),
	}
	brightness := 1 + within(a.Brightness)
	for i := range v.Gain {
		v.Gain[i] = float32(brightness*(1+within(a.Color)) - 1)
	}
	return v
}

// spans are the view's window along the source's axes. The flip runs along the
// axis that becomes the output's x.
func (v View) spans(width, height int) (x, y op.Span) {
	look := func(n int, shift float64, backwards bool) op.Span {
		return op.Span{Centre: (0.5 + shift) * float64(n), Side: (1 + v.Zoom) * float64(n), Backwards: backwards}
	}
	return look(width, v.ShiftX, v.Flip && !v.Transpose), look(height, v.ShiftY, v.Flip && v.Transpose)
}

// Image writes the view of src as planar float32 (3, h, w) in [0, 1] into dst,
// which must hold 3*h*w values, with the filter of Resize. It allocates nothing
// in steady state and may be called from several goroutines.
func (v View) Image(dst []float32, h, w int, src *Image) {
	r := v.prepare(triangle{}, h, w, src.W, src.H, 3)
	defer resamplers.Put(r)
	r.imageRows(src)
	for c := range 3 {
		plane := dst[c*h*w:][:h*w]
		r.columns(plane, c, 3, v.Transpose)
		amplify(plane, 1+v.Gain[c])
	}
}

// Map writes the same view of the image's map src as (h, w) into dst, which must
// hold h*w values, with the filter of ResizeMap. The gain does not touch it.
func (v View) Map(dst []float32, h, w int, src *Plane) {
	r := v.prepare(area{}, h, w, src.W, src.H, 1)
	defer resamplers.Put(r)
	r.planeRows(src)
	r.columns(dst[:h*w], 0, 1, v.Transpose)
}

func (v View) prepare(f filter, h, w, width, height, channels int) *resampler {
	r := resamplers.Get().(*resampler)
	x, y := v.spans(width, height)
	if v.Transpose {
		h, w = w, h
	}
	r.plan(f, x, y, width, height, w, h, channels)
	return r
}

// amplify multiplies by a factor and cuts at 1.
func amplify(p []float32, factor float32) {
	if factor == 1 {
		return
	}
	for i, v := range p {
		p[i] = min(v*factor, 1)
	}
}
