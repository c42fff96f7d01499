package raster

import (
	"image"
	"math"
	"slices"
	"testing"
)

func TestTheViewOfAWholeImageIsPillowsResize(t *testing.T) {
	source, err := Decode(read(t, "resize", "source.png"))
	if err != nil {
		t.Fatal(err)
	}
	const side = 20 // less than half of the source's
	for _, c := range []struct {
		resizing Resizing
		want     string
		top      int
	}{{Squash, "20x20.png", 0}, {Pad, "20x14.png", 3}} {
		found := make([]float32, 3*side*side)
		c.resizing.Prepare(source, side).View(found, side, View{})
		want := image.NewNRGBA(image.Rect(0, 0, side, side))
		resized := pillow(t, "resize", c.want)
		for y := range resized.Bounds().Dy() {
			for x := range side {
				want.Set(x, c.top+y, resized.At(x, y))
			}
		}
		if largest, _ := difference(t, FromPlanar(found, side, side), want); largest > 1 {
			t.Errorf("%s: off by %.0f levels, want at most 1", c.resizing, largest)
		}
	}
}

func TestAZoomedViewKeepsTheDetailOfTheImage(t *testing.T) {
	const side = 16
	m := NewImage(4*side, 4*side)
	for i := range m.Pix { // stripes of two pixels, which a square of side pixels cannot show
		m.Pix[i] = uint8(i / 3 % m.W / 2 % 2 * 255)
	}
	spread := func(v View) float64 {
		found := make([]float32, 3*side*side)
		Squash.Prepare(m, side).View(found, side, v)
		low, high := math.Inf(1), math.Inf(-1)
		for _, x := range found[side*side/2 : side*side/2+side] {
			low, high = min(low, float64(x)), max(high, float64(x))
		}
		return high - low
	}
	if s := spread(View{Zoom: -0.5}); s < 0.4 {
		t.Errorf("half of the image shows stripes of contrast %.2f, want more than 0.4", s)
	}
	if s := spread(View{}); s > 0.3 {
		t.Errorf("the whole image shows stripes of contrast %.2f, want less than 0.3", s)
	}
}

func TestTheWholeImageAloneIsTheSameWhole(t *testing.T) {
	const side = 9
	found, want := make([]float32, 3*side*side), make([]float32, 3*side*side)
	for _, resizing := range []Resizing{Squash, Pad} {
		for _, m := range []*Image{ramp(60, 40), ramp(17, 12), ramp(5, 7)} {
			whole, all := resizing.PrepareWhole(m, side), resizing.Prepare(m, side)
			whole.View(found, side, View{})
			all.View(want, side, View{})
			if !slices.Equal(found, want) || whole.Bytes() > all.Bytes() {
				t.Errorf("%s, %d x %d: another image, or %d bytes in place of %d", resizing, m.W, m.H, whole.Bytes(), all.Bytes())
			}
		}
	}
}

func TestAPreparedImageCountsWhatItHolds(t *testing.T) {
	small, large := ramp(30, 20), ramp(60, 40)
	for _, c := range []struct {
		p    Prepared
		want int64
	}{{Prepared{}, 0}, {Squash.Prepare(small, 10), 3 * 30 * 20}, {Squash.Prepare(large, 10), 3 * (30*20 + 10*10)}} {
		if got := c.p.Bytes(); got != c.want {
			t.Errorf("%d bytes, want %d", got, c.want)
		}
	}
}
