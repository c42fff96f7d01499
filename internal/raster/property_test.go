package raster

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// numbered is a plane of which every pixel holds its own index.
func numbered(w, h int) []float32 {
	p := make([]float32, w*h)
	for i := range p {
		p[i] = float32(i)
	}
	return p
}

func TestOrientationsAreTheSymmetriesOfTheSquare(t *testing.T) {
	// EXIF 2.32, tag 0x0112: the place of the stored row 0 and column 0. On a 2 x 3
	// picture the corner that holds stored pixel 0 and its neighbour tell all eight.
	const w, h = 2, 3
	want := map[orientation][]float32{
		1: {0, 1, 2, 3, 4, 5}, // top, left
		2: {1, 0, 3, 2, 5, 4}, // top, right
		3: {5, 4, 3, 2, 1, 0}, // bottom, right
		4: {4, 5, 2, 3, 0, 1}, // bottom, left
		5: {0, 2, 4, 1, 3, 5}, // left, top
		6: {4, 2, 0, 5, 3, 1}, // right, top
		7: {5, 3, 1, 4, 2, 0}, // right, bottom
		8: {1, 3, 5, 0, 2, 4}, // left, bottom
	}
	for o, want := range want {
		if got := upright(numbered(w, h), w, h, 1, o); !slices.Equal(got, want) {
			t.Errorf("orientation %d: found %v, want %v", o, got, want)
		}
	}
}

func TestAnOrientationFollowedByItsInverseChangesNothing(t *testing.T) {
	// All are their own inverse but the two quarter turns, which undo each other.
	inverse := map[orientation]orientation{6: 8, 8: 6}
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 9).Draw(t, "w"), rapid.IntRange(1, 9).Draw(t, "h")
		n := rapid.IntRange(1, 3).Draw(t, "n")
		o := orientation(rapid.IntRange(1, 8).Draw(t, "o"))
		back := o
		if i, ok := inverse[o]; ok {
			back = i
		}
		stored := numbered(n*w, h)
		turnedW, turnedH := o.displayed(w, h)
		if got := upright(upright(stored, w, h, n, o), turnedW, turnedH, n, back); !slices.Equal(got, stored) {
			t.Fatalf("found %v, want %v", got, stored)
		}
	})
}

// anyView is a view that moves the image's middle little, so that its border does
// not cut what lies there, nor its reflection show it twice.
func anyView(t *rapid.T) View {
	zoom := rapid.Float64Range(-0.5, 0.3).Draw(t, "zoom")
	most := 0.2 * min(1, 1+zoom)
	return View{
		Flip:      rapid.Bool().Draw(t, "flip"),
		Transpose: rapid.Bool().Draw(t, "transpose"),
		Zoom:      zoom,
		ShiftX:    rapid.Float64Range(-most, most).Draw(t, "shiftX"),
		ShiftY:    rapid.Float64Range(-most, most).Draw(t, "shiftY"),
	}
}

// centroid is the centre of mass of p in units of its sides.
func centroid(p []float32, h, w int) (x, y, mass float64) {
	for i, v := range p {
		x += float64(v) * (float64(i%w) + 0.5) / float64(w)
		y += float64(v) * (float64(i/w) + 0.5) / float64(h)
		mass += float64(v)
	}
	return x / mass, y / mass, mass / float64(len(p))
}

// TestImageAndMapStayAligned marks one square in an image and in a map of another
// resolution, and finds it in the same place after any view.
func TestImageAndMapStayAligned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The image has 12 cells of 6 x 4 pixels, the map one pixel a cell.
		const cells, cellW, cellH = 12, 6, 4
		img, plane := NewImage(cells*cellW, cells*cellH), NewPlane(cells, cells)
		cx, cy := rapid.IntRange(5, 6).Draw(t, "cx"), rapid.IntRange(5, 6).Draw(t, "cy")
		plane.Pix[cy*cells+cx] = 1
		for y := cy * cellH; y < (cy+1)*cellH; y++ {
			for x := 3 * (y*img.W + cx*cellW); x < 3*(y*img.W+(cx+1)*cellW); x++ {
				img.Pix[x] = 255
			}
		}
		view := anyView(t)
		const h, w = 48, 60
		planar, target := make([]float32, 3*h*w), make([]float32, h*w)
		view.Image(planar, h, w, img)
		view.Map(target, h, w, plane)
		ix, iy, mass := centroid(planar[:h*w], h, w)
		mx, my, _ := centroid(target, h, w)
		if mass == 0 {
			t.Fatal("the square left the view")
		}
		// The map's cell spreads by a cell's width, which the border of the view may cut:
		// the centres may part by a fifth of a cell.
		if limit := 0.2 / cells / (1 + view.Zoom); math.Abs(ix-mx) > limit || math.Abs(iy-my) > limit {
			t.Fatalf("the image's square lies at (%.4f, %.4f), the map's at (%.4f, %.4f)", ix, iy, mx, my)
		}
	})
}

func TestAViewPutsASquareWhereItsGeometrySays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const side = 96
		view := anyView(t)
		img := NewImage(side, side)
		// A square of 4 pixels around (0.55, 0.45).
		const left, top, size = 51, 41, 4
		for y := top; y < top+size; y++ {
			for x := left; x < left+size; x++ {
				img.Pix[3*(y*side+x)] = 255
			}
		}
		x, y := (left+size/2.0)/side, (top+size/2.0)/side
		x, y = (x-0.5-view.ShiftX)/(1+view.Zoom)+0.5, (y-0.5-view.ShiftY)/(1+view.Zoom)+0.5
		if view.Transpose {
			x, y = y, x
		}
		if view.Flip {
			x = 1 - x
		}
		dst := make([]float32, 3*side*side)
		view.Image(dst, side, side, img)
		foundX, foundY, _ := centroid(dst[:side*side], side, side)
		// A quarter of an output pixel.
		if limit := 0.25 / side; math.Abs(foundX-x) > limit || math.Abs(foundY-y) > limit {
			t.Fatalf("found the square at (%.4f, %.4f), want (%.4f, %.4f)", foundX, foundY, x, y)
		}
	})
}

func TestAConstantStaysConstantUnderAnyView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := NewImage(rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height"))
		plane := NewPlane(img.W, img.H)
		level := rapid.Byte().Draw(t, "level")
		for i := range img.Pix {
			img.Pix[i] = level
		}
		for i := range plane.Pix {
			plane.Pix[i] = float32(level) / 255
		}
		view := anyView(t)
		h, w := rapid.IntRange(1, 40).Draw(t, "h"), rapid.IntRange(1, 40).Draw(t, "w")
		planar, target := make([]float32, 3*h*w), make([]float32, h*w)
		view.Image(planar, h, w, img)
		view.Map(target, h, w, plane)
		for _, v := range append(planar, target...) {
			if math.Abs(float64(v)-float64(level)/255) > 1e-5 {
				t.Fatalf("found %v, want %v", v, float64(level)/255)
			}
		}
	})
}

func TestFlippedViewIsTheMirroredView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := noise(rapid.IntRange(1, 30).Draw(t, "width"), rapid.IntRange(1, 30).Draw(t, "height"))
		h, w := rapid.IntRange(1, 20).Draw(t, "h"), rapid.IntRange(1, 20).Draw(t, "w")
		view := anyView(t)
		view.Flip = false
		plain, flipped := make([]float32, 3*h*w), make([]float32, 3*h*w)
		view.Image(plain, h, w, img)
		view.Flip = true
		view.Image(flipped, h, w, img)
		Mirror(flipped, w)
		if !slices.Equal(plain, flipped) {
			t.Fatalf("found %v, want %v", flipped, plain)
		}
	})
}

func TestTransposedViewIsTheTransposeOfTheView(t *testing.T) {
	img := noise(17, 11)
	const h, w = 9, 6
	plain, swapped := make([]float32, 3*h*w), make([]float32, 3*h*w)
	View{}.Image(plain, h, w, img)
	View{Transpose: true}.Image(swapped, w, h, img)
	for c := range 3 {
		for y := range h {
			for x := range w {
				if a, b := plain[(c*h+y)*w+x], swapped[(c*w+x)*h+y]; a != b {
					t.Fatalf("channel %d, (%d, %d): found %v, want %v", c, x, y, b, a)
				}
			}
		}
	}
}

// noise is a reproducible image without structure.
func noise(w, h int) *Image {
	rng := rand.New(rand.NewPCG(1, 2))
	m := NewImage(w, h)
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.Uint32())
	}
	return m
}

func TestMapsShrinkByAreaMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 6).Draw(t, "h"), rapid.IntRange(1, 6).Draw(t, "w")
		fx, fy := rapid.IntRange(1, 5).Draw(t, "fx"), rapid.IntRange(1, 5).Draw(t, "fy")
		plane := NewPlane(w*fx, h*fy)
		for i := range plane.Pix {
			plane.Pix[i] = rapid.Float32Range(0, 1).Draw(t, "v")
		}
		got := make([]float32, h*w)
		ResizeMap(got, h, w, plane)
		for y := range h {
			for x := range w {
				mean := 0.0
				for j := range fy {
					for i := range fx {
						mean += float64(plane.Pix[(y*fy+j)*plane.W+x*fx+i])
					}
				}
				mean /= float64(fx * fy)
				if math.Abs(float64(got[y*w+x])-mean) > 1e-6 {
					t.Fatalf("cell (%d, %d): found %v, want %v", x, y, got[y*w+x], mean)
				}
			}
		}
	})
}

func TestAMapsMassSurvivesAnyReduction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plane := NewPlane(rapid.IntRange(8, 40).Draw(t, "width"), rapid.IntRange(8, 40).Draw(t, "height"))
		want := 0.0
		for i := range plane.Pix {
			plane.Pix[i] = float32((i*7)%11) / 10
			want += float64(plane.Pix[i])
		}
		want /= float64(len(plane.Pix))
		h, w := rapid.IntRange(1, plane.H).Draw(t, "h"), rapid.IntRange(1, plane.W).Draw(t, "w")
		got := make([]float32, h*w)
		ResizeMap(got, h, w, plane)
		if _, _, mean := centroid(got, h, w); math.Abs(mean-want) > 1e-5 {
			t.Fatalf("the mean became %v, want %v", mean, want)
		}
	})
}

func TestEncodedMapsComeBackWithinAHalfLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plane := NewPlane(rapid.IntRange(1, 40).Draw(t, "w"), rapid.IntRange(1, 9).Draw(t, "h"))
		for i := range plane.Pix {
			plane.Pix[i] = rapid.Float32Range(0, 1).Draw(t, "v")
		}
		data, err := EncodeMap(plane)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeMap(data)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range back.Pix {
			if math.Abs(float64(v-plane.Pix[i])) > 0.5/65535+1e-7 {
				t.Fatalf("value %d: found %v, want %v", i, v, plane.Pix[i])
			}
		}
	})
}
