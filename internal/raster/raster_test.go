package raster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestUnknownDataIsRefusedWithWhatWasFound(t *testing.T) {
	for name, data := range map[string][]byte{"no data": nil, "%PDF-1.7": []byte("%PDF-1.7 and so on"), "<": []byte("<")} {
		_, err := Decode(data)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), name) {
			t.Errorf("found error %v, want one that is ErrFormat and names %q", err, name)
		}
	}
}

func TestAFileCutAnywhereIsAnErrorNotAPanic(t *testing.T) {
	for _, name := range goldens(t, "decode") {
		data := read(t, "decode", name)
		for _, share := range []float64{0.02, 0.2, 0.5, 0.8} {
			cut := data[:int(share*float64(len(data)))]
			if _, err := Decode(cut); err == nil && !trailingMetadata(name) {
				t.Errorf("%s cut at %.0f %%: decoded without error", name, 100*share)
			}
		}
	}
}

// trailingMetadata tells the files that end in things that carry no pixels: TIFF
// directories stand at the end or not, an animation has a second frame.
func trailingMetadata(name string) bool {
	return strings.HasSuffix(name, ".tif") || name == "animated.gif" || name == "exif-6.webp"
}

func TestErrorsNameTheFormat(t *testing.T) {
	data := read(t, "decode", "jpeg-420.jpg")
	_, err := Decode(data[:len(data)/2])
	if want := "decode JPEG: unexpected EOF"; err == nil || err.Error() != want {
		t.Errorf("found %v, want %q", err, want)
	}
}

// claim is a PNG whose header claims a size and which holds nothing.
func claim(w, h uint32) []byte {
	header := make([]byte, 17)
	copy(header, "IHDR")
	binary.BigEndian.PutUint32(header[4:], w)
	binary.BigEndian.PutUint32(header[8:], h)
	copy(header[12:], []byte{8, 2, 0, 0, 0})
	data := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(header))
}

func TestADecompressionBombIsRefusedByItsHeader(t *testing.T) {
	_, err := Decode(claim(100_000, 100_000))
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "100000 x 100000") {
		t.Errorf("found %v, want ErrTooLarge with the size", err)
	}
	if w, h, err := Size(claim(100_000, 100_000)); w != 100_000 || h != 100_000 || err != nil {
		t.Errorf("Size: found %d x %d, %v; want the claimed size", w, h, err)
	}
}

func TestTurnedIsSaidOfImagesWithAnOrientation(t *testing.T) {
	plain, err := EncodeJPEG(NewImage(4, 2), 90)
	if err != nil {
		t.Fatal(err)
	}
	// An EXIF block whose one entry is the orientation (0x0112), a short.
	with := func(orientation string) []byte {
		exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + orientation + "\x00\x00\x00\x00\x00\x00"
		return slices.Concat(plain[:2], []byte(exif), plain[2:])
	}
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{"no EXIF": {plain, false}, "upright": {with("\x01"), false}, "clockwise": {with("\x06"), true}, "upside down": {with("\x03"), true}, "no image": {nil, false}} {
		if got := Turned(c.data); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestLimitsCountPixels(t *testing.T) {
	data := read(t, "decode", "grey.png") // 37 x 29
	if _, err := (Limits{Pixels: 37 * 29}).Decode(data); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := (Limits{Pixels: 37*29 - 1}).DecodeMap(data); !errors.Is(err, ErrTooLarge) {
		t.Errorf("past the limit: found %v, want ErrTooLarge", err)
	}
}

func TestAJPEGWithTooManyScansIsRefused(t *testing.T) {
	data := read(t, "decode", "jpeg-progressive.jpg")
	// One more bit, 0, of the first coefficient of the 20 blocks of luma.
	scan := []byte("\xff\xda\x00\x08\x01\x01\x00\x00\x00\x10\x00\x00\x00")
	hostile := append(append(bytes.Clone(data[:len(data)-2]), bytes.Repeat(scan, 500)...), "\xff\xd9"...)
	if _, err := Decode(hostile); err == nil || !strings.Contains(err.Error(), "scans") {
		t.Errorf("found %v, want an error about scans", err)
	}
}

func TestAnAnimatedWebPIsRefusedAsSuch(t *testing.T) {
	data := []byte("RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00")
	if _, err := Decode(data); !errors.Is(err, errAnimated) {
		t.Errorf("found %v, want %v", err, errAnimated)
	}
}

func TestMinMaxStretchesToTheUnitInterval(t *testing.T) {
	p := []float32{3, 5, 4, 3}
	if !MinMax(p) || !slices.Equal(p, []float32{0, 1, 0.5, 0}) {
		t.Errorf("found %v, want 0 1 0.5 0", p)
	}
}

func TestMinMaxOfNothingToLookAtIsZeros(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, p := range [][]float32{{}, {7}, {2, 2, 2}, {0, nan, 1}, {nan}, {0, inf}} {
		found := slices.Clone(p)
		if MinMax(found) || slices.ContainsFunc(found, func(v float32) bool { return v != 0 }) {
			t.Errorf("%v became %v, want zeros and false", p, found)
		}
	}
}

func TestMinMaxDoesNotOverflow(t *testing.T) {
	p := []float32{-math.MaxFloat32, 0, math.MaxFloat32}
	if !MinMax(p) || !slices.Equal(p, []float32{0, 0.5, 1}) {
		t.Errorf("found %v, want 0 0.5 1", p)
	}
}

func TestMirrorReversesEveryRow(t *testing.T) {
	p := []float32{1, 2, 3, 4, 5, 6}
	Mirror(p, 3)
	if !slices.Equal(p, []float32{3, 2, 1, 6, 5, 4}) {
		t.Errorf("found %v", p)
	}
}

func TestMapsAreWrittenAs16BitGreyAndAlwaysTheSame(t *testing.T) {
	p := &Plane{W: 2, H: 1, Pix: []float32{0.25, 2}}
	first, err := EncodeMap(p)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := EncodeMap(p)
	if !bytes.Equal(first, second) {
		t.Error("two encodings of one plane differ")
	}
	m, err := png.Decode(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	grey, ok := m.(*image.Gray16)
	// 0.25 * 65535 = 16383.75; 2 is cut to 1.
	if !ok || grey.Gray16At(0, 0).Y != 16384 || grey.Gray16At(1, 0).Y != 65535 {
		t.Errorf("found %v", m)
	}
}

func TestAMapWithNaNIsNotWritten(t *testing.T) {
	p := &Plane{W: 2, H: 2, Pix: []float32{0, 0, 0, float32(math.NaN())}}
	if _, err := EncodeMap(p); err == nil || !strings.Contains(err.Error(), "x 1, y 1") {
		t.Errorf("found %v, want an error that names x 1, y 1", err)
	}
}

func TestDrawStaysWithinItsLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a := Augment{Flip: true, Transpose: true, Zoom: 0.2, Shift: 0.1, Color: 0.2, Brightness: 0.1}
	low, high := 0.0, 0.0
	seen := map[[2]bool]int{}
	const draws = 4000
	for range draws {
		v := a.Draw(rng)
		low, high = min(low, v.Zoom), max(high, v.Zoom)
		seen[[2]bool{v.Flip, v.Transpose}]++
		if math.Abs(v.ShiftX) > 0.1 || math.Abs(v.ShiftY) > 0.1 {
			t.Fatalf("shift %v, %v, want at most 0.1", v.ShiftX, v.ShiftY)
		}
		for _, g := range v.Gain {
			if g < 0.9*0.8-1-1e-6 || g > 1.1*1.2-1+1e-6 {
				t.Fatalf("gain %v, want -0.28 to 0.32", g)
			}
		}
	}
	// Zoom 0.2 is the range 0.8 to 1.05 of the window's side.
	if low < -0.2 || low > -0.19 || high > 0.05 || high < 0.04 {
		t.Errorf("zoom %v to %v, want -0.2 to 0.05", low, high)
	}
	for k, n := range seen {
		if share := float64(n) / draws; share < 0.22 || share > 0.28 {
			t.Errorf("flip, transpose %v: share %.3f, want 0.25", k, share)
		}
	}
}

func TestSwitchingOneChangeOffLeavesTheOthersDraws(t *testing.T) {
	all := Augment{Flip: true, Transpose: true, Zoom: 0.2, Shift: 0.1, Color: 0.2, Brightness: 0.2}
	less := all
	less.Flip, less.Zoom = false, 0
	a, b := rand.New(rand.NewPCG(5, 6)), rand.New(rand.NewPCG(5, 6))
	for range 20 {
		v, w := all.Draw(a), less.Draw(b)
		v.Flip, v.Zoom = false, 0
		if v != w {
			t.Fatalf("found %v, want %v", w, v)
		}
	}
}

func TestTheZeroAugmentDrawsThePlainResize(t *testing.T) {
	if v := (Augment{}).Draw(rand.New(rand.NewPCG(1, 1))); v != (View{}) {
		t.Errorf("found %+v", v)
	}
}

func TestAugmentNamesTheValueOutOfRange(t *testing.T) {
	for name, a := range map[string]Augment{
		"zoom": {Zoom: 1}, "shift": {Shift: -0.1}, "color": {Color: math.NaN()}, "brightness": {Brightness: 2},
	} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("found %v, want an error about %s", err, name)
		}
	}
	if err := (Augment{Zoom: 0.2, Shift: 0.1, Color: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestGainMultipliesAChannelAndCutsAtOne(t *testing.T) {
	m := &Image{W: 1, H: 1, Pix: []uint8{51, 204, 102}} // 0.2, 0.8, 0.4
	dst := make([]float32, 3)
	View{Gain: [3]float32{1, 0.5, -0.5}}.Image(dst, 1, 1, m)
	for i, want := range []float32{0.4, 1, 0.2} {
		if math.Abs(float64(dst[i]-want)) > 1e-6 {
			t.Errorf("channel %d: found %v, want %v", i, dst[i], want)
		}
	}
}

func TestBeyondTheBorderTheImageIsReflected(t *testing.T) {
	// A window twice the image's width on 4 pixels: half an image of reflection on
	// either side.
	p := &Plane{W: 4, H: 1, Pix: []float32{0, 0.25, 0.5, 1}}
	dst := make([]float32, 8)
	View{Zoom: 1}.Map(dst, 1, 8, p)
	if want := []float32{0.25, 0, 0, 0.25, 0.5, 1, 1, 0.5}; !slices.Equal(dst, want) {
		t.Errorf("found %v, want %v", dst, want)
	}
}

func TestViewsAllocateNothingInSteadyState(t *testing.T) {
	if raced {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	img, plane := noise(50, 40), NewPlane(50, 40)
	planar, target := make([]float32, 3*24*24), make([]float32, 24*24)
	view := View{Flip: true, Transpose: true, Zoom: -0.1, ShiftX: 0.05}
	allocated := testing.AllocsPerRun(100, func() {
		view.Image(planar, 24, 24, img)
		view.Map(target, 24, 24, plane)
	})
	// The pool may be emptied by a garbage collection during the test.
	if allocated > 0.5 {
		t.Errorf("%v allocations a call, want none", allocated)
	}
}

func TestThumbnailKeepsTheAspectRatio(t *testing.T) {
	for _, c := range []struct{ w, h, side, wantW, wantH int }{
		{400, 300, 40, 40, 30}, {30, 400, 40, 3, 40}, {20, 10, 40, 20, 10}, {1000, 1, 10, 10, 1},
	} {
		if m := Thumbnail(NewImage(c.w, c.h), c.side); m.W != c.wantW || m.H != c.wantH {
			t.Errorf("%d x %d to %d: found %d x %d, want %d x %d", c.w, c.h, c.side, m.W, m.H, c.wantW, c.wantH)
		}
	}
}

func TestOverlayLeavesUnmarkedPixelsAlone(t *testing.T) {
	img := noise(8, 4)
	out := Overlay(img, &Plane{W: 8, H: 4, Pix: append(make([]float32, 31), 1)})
	if !slices.Equal(out.Pix[:31*3], img.Pix[:31*3]) {
		t.Error("a pixel with map 0 changed")
	}
	if slices.Equal(out.Pix[31*3:], img.Pix[31*3:]) {
		t.Error("the pixel with map 1 did not change")
	}
}

func TestHeatGrowsBrighterWithTheMap(t *testing.T) {
	p := NewPlane(256, 1)
	for i := range p.Pix {
		p.Pix[i] = float32(i) / 255
	}
	grey := luma(Heat(p)).Pix
	if !slices.IsSorted(grey) || grey[0] != 0 || grey[255] < 0.8 {
		t.Errorf("luma runs from %v to %v and should only rise", grey[0], grey[255])
	}
}

func TestEncodedImagesComeBack(t *testing.T) {
	img := noise(13, 7)
	data, err := EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(data)
	if err != nil || !slices.Equal(back.Pix, img.Pix) {
		t.Errorf("PNG: %v, or pixels differ", err)
	}
	flat := NewImage(13, 7)
	for i := range flat.Pix {
		flat.Pix[i] = 100
	}
	if data, err = EncodeJPEG(flat, 90); err != nil {
		t.Fatal(err)
	}
	back, err = Decode(data)
	if err != nil || math.Abs(float64(back.Pix[50])-100) > 1 {
		t.Errorf("JPEG: %v, or level %v, want 100", err, back.Pix[50])
	}
}

func TestPlanarComesBackAsTheImageItWas(t *testing.T) {
	img := noise(9, 5)
	planar := make([]float32, 3*9*5)
	Resize(planar, 5, 9, img)
	if back := FromPlanar(planar, 5, 9); !slices.Equal(back.Pix, img.Pix) {
		t.Error("pixels differ")
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range goldens(f, "decode") {
		f.Add(read(f, "decode", name))
	}
	small := Limits{Pixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := small.Decode(data)
		if err != nil {
			return
		}
		if w, h, err := Size(data); m.W != w || m.H != h || len(m.Pix) != 3*w*h || err != nil {
			t.Fatalf("decoded %d x %d (%d bytes), but Size says %d x %d, %v", m.W, m.H, len(m.Pix), w, h, err)
		}
	})
}

func FuzzDecodeMap(f *testing.F) {
	for _, name := range goldens(f, "map") {
		f.Add(read(f, "map", name))
	}
	small := Limits{Pixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := small.DecodeMap(data)
		if err != nil {
			return
		}
		if len(p.Pix) != p.W*p.H {
			t.Fatalf("found %d values for %d x %d", len(p.Pix), p.W, p.H)
		}
		for i, v := range p.Pix {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("value %d is %v, want 0 to 1", i, v)
			}
		}
	})
}

func FuzzOrientation(f *testing.F) {
	for _, name := range []string{"exif-3.jpg", "exif-6.png", "exif-6.webp", "exif-5.tif", "grey.png"} {
		f.Add(read(f, "decode", name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte) orientation{jpegOrientation, pngOrientation, webpOrientation, tiffOrientation, exifOrientation} {
			if o := parse(data); o < 1 || o > 8 {
				t.Fatalf("found orientation %d", o)
			}
		}
	})
}

func BenchmarkDecodeJPEG(b *testing.B) {
	data, err := EncodeJPEG(smooth(500, 375), 90)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(500 * 375 * 3)
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

// smooth is an image that compresses like a photograph.
func smooth(w, h int) *Image {
	m := NewImage(w, h)
	for i := range m.Pix {
		x, y := float64(i/3%w), float64(i/3/w)
		m.Pix[i] = uint8(128 + 60*math.Sin(x/19+float64(i%3)) + 50*math.Cos(y/13+x/40))
	}
	return m
}

func BenchmarkResize(b *testing.B) {
	for _, side := range []int{96, 224} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			img, dst := smooth(500, 375), make([]float32, 3*side*side)
			for b.Loop() {
				Resize(dst, side, side, img)
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	img, dst := smooth(500, 375), make([]float32, 3*96*96)
	a := Augment{Flip: true, Transpose: true, Zoom: 0.2, Shift: 0.1, Color: 0.2, Brightness: 0.2}
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		a.Draw(rng).Image(dst, 96, 96, img)
	}
}

func TestImagesOf12BitsIn16AreDim(t *testing.T) {
	encoded := func(m image.Image) []byte {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	grey := func(value uint16) image.Image {
		m := image.NewGray16(image.Rect(0, 0, 3, 2))
		m.SetGray16(1, 1, color.Gray16{Y: value})
		return m
	}
	black := image.NewGray(image.Rect(0, 0, 3, 2))
	for name, c := range map[string]struct {
		file []byte
		want bool
	}{
		"12 bits":            {encoded(grey(4095)), true},
		"the lowest eighth":  {encoded(grey(8191)), true},
		"16 bits":            {encoded(grey(8192)), false},
		"8 bits, all black":  {encoded(black), false},
		"what is no picture": {[]byte("none"), false},
	} {
		if got := Dim(c.file); got != c.want {
			t.Errorf("%s: found dim: %t, want %t", name, got, c.want)
		}
	}
}
