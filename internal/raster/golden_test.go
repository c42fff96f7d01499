package raster

import (
	"encoding/binary"
	"image"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pillow is a picture in testdata that Pillow wrote, read by the standard library.
func pillow(t testing.TB, path ...string) image.Image {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goldens are the files of a folder of testdata that have a wanted result.
func goldens(t testing.TB, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", folder, "*.want.png"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no goldens in %s: %v", folder, err)
	}
	for i, f := range found {
		found[i] = strings.TrimSuffix(filepath.Base(f), ".want.png")
	}
	return found
}

// difference is the largest and the mean difference in 8-bit levels.
func difference(t testing.TB, m *Image, want image.Image) (largest, mean float64) {
	t.Helper()
	if size := want.Bounds().Size(); m.W != size.X || m.H != size.Y {
		t.Fatalf("found %d x %d pixels, want %v", m.W, m.H, size)
	}
	for y := range m.H {
		for x := range m.W {
			r, g, b, _ := want.At(x, y).RGBA()
			for i, v := range []uint32{r >> 8, g >> 8, b >> 8} {
				d := math.Abs(float64(m.Pix[3*(y*m.W+x)+i]) - float64(v))
				largest, mean = max(largest, d), mean+d
			}
		}
	}
	return largest, mean / float64(len(m.Pix))
}

func TestDecodedPixelsEqualPillows(t *testing.T) {
	for _, name := range goldens(t, "decode") {
		t.Run(name, func(t *testing.T) {
			m, err := Decode(read(t, "decode", name))
			if err != nil {
				t.Fatal(err)
			}
			largest, mean := difference(t, m, pillow(t, "decode", name+".want.png"))
			if largest > 0 {
				t.Errorf("off by %.0f levels, %.3f on average; want none", largest, mean)
			}
		})
	}
}

func TestMapsKeepAllTheirBits(t *testing.T) {
	for _, name := range goldens(t, "map") {
		t.Run(name, func(t *testing.T) {
			p, err := DecodeMap(read(t, "map", name))
			if err != nil {
				t.Fatal(err)
			}
			want := pillow(t, "map", name+".want.png").(*image.Gray16)
			if p.W != want.Rect.Dx() || p.H != want.Rect.Dy() {
				t.Fatalf("found %d x %d pixels, want %v", p.W, p.H, want.Rect.Size())
			}
			for i, v := range p.Pix {
				if w := float64(want.Gray16At(i%p.W, i/p.W).Y) / 65535; math.Abs(float64(v)-w) > 1e-7 {
					t.Fatalf("value %d is %v, want %v", i, v, w)
				}
			}
		})
	}
}

func TestSizeIsTheDisplayedSize(t *testing.T) {
	for _, name := range goldens(t, "decode") {
		w, h, err := Size(read(t, "decode", name))
		if err != nil {
			t.Fatal(err)
		}
		if want := pillow(t, "decode", name+".want.png").Bounds().Size(); w != want.X || h != want.Y {
			t.Errorf("%s: found %d x %d, want %v", name, w, h, want)
		}
	}
}

func TestResizeIsPillowsAntialiasedBilinear(t *testing.T) {
	source, err := Decode(read(t, "resize", "source.png"))
	if err != nil {
		t.Fatal(err)
	}
	wanted, _ := filepath.Glob("testdata/resize/*x*.png")
	for _, file := range wanted {
		want := pillow(t, "resize", filepath.Base(file))
		w, h := want.Bounds().Dx(), want.Bounds().Dy()
		dst := make([]float32, 3*w*h)
		Resize(dst, h, w, source)
		largest := 0.0
		for y := range h {
			for x := range w {
				r, g, b, _ := want.At(x, y).RGBA()
				for c, v := range []uint32{r, g, b} {
					largest = max(largest, math.Abs(float64(dst[(c*h+y)*w+x])*255-float64(v>>8)))
				}
			}
		}
		// Pillow rounds after each of its two passes: at most half a level each.
		if largest > 1 {
			t.Errorf("%d x %d: off by %.3f levels, want at most 1", w, h, largest)
		}
		t.Logf("%d x %d: off by %.3f levels", w, h, largest)
	}
}

func TestAZoomedViewIsTorchvisionsResizeAndCentreCrop(t *testing.T) {
	source, err := Decode(read(t, "view", "source.png"))
	if err != nil {
		t.Fatal(err)
	}
	const resized, cropped = 32, 28
	data := read(t, "view", "resize-32-crop-28.f32")
	if len(data) != 4*3*cropped*cropped {
		t.Fatalf("found %d bytes, want 3 x %d x %d float32", len(data), cropped, cropped)
	}
	found := make([]float32, 3*cropped*cropped)
	View{Zoom: float64(cropped)/resized - 1}.Image(found, cropped, cropped, source)
	Normalize(found)
	for i, v := range found {
		want := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		// torchvision resizes with Pillow, which rounds to 8 bits after each of its passes.
		if levels := 255 * math.Abs(float64(v-want)) * float64(ChannelStd[i/(cropped*cropped)]); levels > 1 {
			t.Fatalf("value %d: found %v, want %v: off by %.2f levels, want at most 1", i, v, want, levels)
		}
	}
}
