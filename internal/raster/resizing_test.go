package raster

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// ramp is an image whose columns are ever brighter: 0, 4, 8 and so on.
func ramp(w, h int) *Image {
	m := NewImage(w, h)
	for i := range m.Pix {
		m.Pix[i] = uint8(i / 3 % w * 4)
	}
	return m
}

func TestAnImageToBeSquashedIsReducedByItsShorterSide(t *testing.T) {
	m := ramp(60, 40)
	small := Squash.Reduce(m, 20)
	if small.W != 30 || small.H != 20 {
		t.Fatalf("%d x %d, want 30 x 20", small.W, small.H)
	}
	if got := int(small.Pix[3*15]); got != 122 { // the mean of columns 30 and 31 (120, 124), symmetrically around them
		t.Errorf("column 15 is %d, want 122", got)
	}
	if Squash.Reduce(m, 40) != m || Squash.Reduce(m, 50) != m {
		t.Error("an image that is small enough is not returned as it is")
	}
}

func TestAPaddedImageLiesBetweenBlackBars(t *testing.T) {
	for name, c := range map[string]struct {
		m    *Image
		side int // asked for
		want int // side of the square
		band [2]int
	}{
		"reduced": {ramp(60, 40), 30, 30, [2]int{5, 25}},
		"small":   {ramp(60, 40), 90, 60, [2]int{10, 50}},
	} {
		t.Run(name, func(t *testing.T) {
			square := Pad.Reduce(c.m, c.side)
			if square.W != c.want || square.H != c.want {
				t.Fatalf("%d x %d, want %d x %d", square.W, square.H, c.want, c.want)
			}
			for i, v := range square.Pix {
				y, right := i/3/c.want, i/3%c.want == c.want-1
				inside := y >= c.band[0] && y < c.band[1]
				if !inside && v != 0 || inside && right && v < 230 {
					t.Fatalf("row %d is %d at column %d", y, v, i/3%c.want)
				}
			}
		})
	}
	if m := ramp(40, 40); Pad.Reduce(m, 40) != m {
		t.Error("a square image that is small enough is not returned as it is")
	}
}

func TestAReducedMapIsTheMeanOfItsAreas(t *testing.T) {
	p := NewPlane(4, 6)
	for i := range p.Pix {
		p.Pix[i] = float32(i)
	}
	small := Squash.ReduceMap(p, 2)
	if small.W != 2 || small.H != 3 {
		t.Fatalf("%d x %d, want 2 x 3", small.W, small.H)
	}
	if got := small.Pix[0]; got != 2.5 { // the mean of 0, 1, 4, 5
		t.Errorf("the first value is %v, want 2.5", got)
	}
	if Squash.ReduceMap(p, 4) != p {
		t.Error("a map that is small enough is not returned as it is")
	}
}

func TestAMapIsPaddedAsItsImageIs(t *testing.T) {
	m, p := NewImage(50, 20), NewPlane(50, 20)
	for i := range p.Pix {
		p.Pix[i] = 1
		m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = 255, 255, 255
	}
	image, human := Pad.Reduce(m, 25), Pad.ReduceMap(p, 25)
	for i, v := range human.Pix {
		if float32(image.Pix[3*i])/255 != v {
			t.Fatalf("pixel %d: the image is %d, the map %v", i, image.Pix[3*i], v)
		}
	}
}

func TestRestoringUndoesEveryResizing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]Resizing{Squash, Pad}).Draw(t, "resizing")
		w, h := rapid.IntRange(24, 99).Draw(t, "w"), rapid.IntRange(24, 99).Draw(t, "h")
		const side = 24
		// A map that grows evenly from corner to corner stays itself under resampling,
		// but for what lies within a pixel of its border.
		value := func(x, y float64) float32 { return float32(0.2 + 0.5*x + 0.3*y) }
		p := NewPlane(w, h)
		for i := range p.Pix {
			p.Pix[i] = value((float64(i%w)+0.5)/float64(w), (float64(i/w)+0.5)/float64(h))
		}
		square := NewPlane(side, side)
		ResizeMap(square.Pix, side, side, r.ReduceMap(p, 2*side))
		found := r.Restore(square, w, h)
		if max(found.W, found.H) != side || math.Abs(float64(found.W)*float64(h)-float64(found.H)*float64(w)) > float64(max(w, h)) {
			t.Fatalf("found %d x %d for an image of %d x %d", found.W, found.H, w, h)
		}
		for y := 3; y < found.H-3; y++ {
			for x := 3; x < found.W-3; x++ {
				want := value((float64(x)+0.5)/float64(found.W), (float64(y)+0.5)/float64(found.H))
				if got := found.Pix[y*found.W+x]; math.Abs(float64(got-want)) > 0.06 {
					t.Fatalf("found %v at %d, %d of %d x %d, want %v", got, x, y, found.W, found.H, want)
				}
			}
		}
	})
}

func TestOnlyKnownResizingsAreValid(t *testing.T) {
	for r, valid := range map[Resizing]bool{Squash: true, Pad: true, "": false, "crop": false} {
		if (r.Validate() == nil) != valid {
			t.Errorf("%q: found error %v", r, r.Validate())
		}
	}
}
