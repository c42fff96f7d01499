package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdlib "image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// file is one of the files that the goldens of internal/raster begin with.
func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "decode", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// encoded is a noisy picture written by the standard library: 4:2:0, or grey.
func encoded(t testing.TB, w, h, quality int, grey bool) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, color.RGBA{uint8(255 * (i % w) / w), uint8(rng.Uint32()), uint8(rng.Uint32() & 63), 255})
	}
	var b bytes.Buffer
	var err error
	if grey {
		err = stdlib.Encode(&b, &image.Gray{Pix: m.Pix, Stride: 4 * w, Rect: m.Rect}, &stdlib.Options{Quality: quality})
	} else {
		err = stdlib.Encode(&b, m, &stdlib.Options{Quality: quality})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// planesOf are the planes that the standard library decodes.
func planesOf(t testing.TB, data []byte) (planes [][]uint8, strides []int) {
	t.Helper()
	m, err := stdlib.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := m.(*image.Gray); ok {
		return [][]uint8{m.Pix}, []int{m.Stride}
	}
	y := m.(*image.YCbCr)
	return [][]uint8{y.Y, y.Cb, y.Cr}, []int{y.YStride, y.CStride, y.CStride}
}

// sameSamples compares with the standard library, whose inverse transform rounds
// otherwise.
func sameSamples(t testing.TB, data []byte) {
	t.Helper()
	m, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	planes, strides := planesOf(t, data)
	for i, p := range m.Planes {
		for y := range p.H {
			for x, v := range p.Row(y)[:p.W] {
				if want := planes[i][y*strides[i]+x]; max(v, want)-min(v, want) > 1 {
					t.Fatalf("component %d, sample %d, %d: found %d, want %d", i, x, y, v, want)
				}
			}
		}
	}
}

func TestSamplesAreThoseOfTheStandardLibraryButForRounding(t *testing.T) {
	for _, name := range []string{"jpeg-444.jpg", "jpeg-422.jpg", "jpeg-420.jpg", "jpeg-440.jpg", "jpeg-411.jpg", "jpeg-420-large.jpg",
		"jpeg-progressive.jpg", "jpeg-restart.jpg", "jpeg-grey.jpg", "jpeg-one.jpg"} {
		t.Run(name, func(t *testing.T) { sameSamples(t, file(t, name)) })
	}
	for _, size := range [][2]int{{1, 1}, {8, 8}, {17, 3}, {3, 17}, {64, 48}, {100, 75}} {
		for _, quality := range []int{1, 30, 100} {
			sameSamples(t, encoded(t, size[0], size[1], quality, false))
			sameSamples(t, encoded(t, size[0], size[1], quality, true))
		}
	}
}

// cosines is the inverse transform by its formula (T.81, A.3.3).
func cosines(coefficients *[64]int, x, y int) float64 {
	scale := func(i int) float64 {
		if i == 0 {
			return math.Sqrt2 / 4
		}
		return 0.5
	}
	sum := 128.0
	for i, c := range coefficients {
		u, v := i%8, i/8
		sum += float64(c) * scale(u) * scale(v) * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16)
	}
	return min(max(sum, 0), 255)
}

func TestTheInverseTransformIsThatOfTheStandard(t *testing.T) {
	var unit quantiser
	for k := range unit {
		unit.set(k, 1)
	}
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.SampledFrom([]int{1, 2, 10, 11, 30, 64}).Draw(t, "end")
		var b block
		var coefficients [64]int
		for k := range end {
			c := rapid.IntRange(-400, 400).Draw(t, "coefficient")
			b[words[k]] += int64(c) * unit[k]
			coefficients[natural[k]] = c
		}
		var samples [8 * 8]uint8
		b.inverse(end, samples[:], 8)
		for i, v := range samples {
			if want := cosines(&coefficients, i%8, i/8); math.Abs(float64(v)-want) > 1 {
				t.Fatalf("sample %d, %d: found %d, want %.2f", i%8, i/8, v, want)
			}
		}
	})
}

func TestARowIsContinuedByItsLastSample(t *testing.T) {
	m, err := Decode(file(t, "jpeg-420.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Planes {
		for y := range p.H {
			if row := p.Row(y); len(row) < p.W+8 || row[p.W] != row[p.W-1] {
				t.Fatalf("component %d, row %d of %d samples: found %d behind them, want at least 8 bytes that begin with %d", i, y, p.W, row[p.W:], row[p.W-1])
			}
		}
	}
}

func TestColoursFollowTheMarkersAndTheNamesOfTheComponents(t *testing.T) {
	for name, want := range map[string]Colour{"jpeg-grey.jpg": Grey, "jpeg-420.jpg": YCbCr, "jpeg-rgb.jpg": RGB,
		"jpeg-cmyk.jpg": CMYK, "jpeg-cmyk-no-adobe.jpg": CMYK, "jpeg-ycck-444.jpg": YCCK} {
		if m, err := Decode(file(t, name)); err != nil || m.Colour != want {
			t.Errorf("%s: found colour %v, %v; want %v", name, m.Colour, err, want)
		}
	}
}

// changed is a file with other bytes somewhere behind the first of a marker.
func changed(data []byte, marker byte, at int, bytes ...byte) []byte {
	data = slices.Clone(data)
	for i := 2; i+1 < len(data); i++ {
		if data[i] == 0xff && data[i+1] == marker {
			copy(data[i+4+at:], bytes)
			break
		}
	}
	return data
}

func TestBadFilesAreRefusedWithWhatWasFound(t *testing.T) {
	grey, colours, progressive := file(t, "jpeg-grey.jpg"), file(t, "jpeg-420.jpg"), file(t, "jpeg-progressive.jpg")
	restart := file(t, "jpeg-restart.jpg")
	scan := bytes.Index(grey, []byte{0xff, SOS})
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                  {nil, "unexpected EOF"},
		"no segments":              {[]byte{0xff, SOI, 0xff, EOI}, "no frame header"},
		"another process":          {bytes.Replace(grey, []byte{0xff, SOF0}, []byte{0xff, 0xc9}, 1), "coding process 9"},
		"12 bits":                  {changed(grey, SOF0, 0, 12), "samples of 12 bits"},
		"no rows":                  {changed(grey, SOF0, 1, 0, 0), "37 x 0 pixels"},
		"two components":           {changed(colours, SOF0, 5, 2), "frame header of 15 bytes"},
		"a half more samples":      {changed(colours, SOF0, 7, 0x32, 0, 2, 0x21), "component 2: found sampling factors 2 x 1 of 3 x 2"},
		"no sampling":              {changed(colours, SOF0, 10, 0x01), "component 2: found sampling factors 0 x 1"},
		"no sampling at all":       {changed(colours, SOF0, 7, 0, 0, 2, 0, 1, 3, 0), "component 1: found sampling factors 0 x 0"},
		"16-bit quantisers":        {changed(grey, DQT, 0, 0x10), "quantisation table 0x10"},
		"a missing quantiser":      {changed(grey, DQT, 0, 3), "no quantisation table"},
		"a missing Huffman table":  {changed(grey, DHT, 0, 3), "no Huffman table"},
		"an unknown component":     {changed(colours, SOS, 1, 9), "component 9, which the frame has not"},
		"one component twice":      {changed(colours, SOS, 3, 1), "component 1 twice"},
		"a band of two components": {changed(progressive, SOS, 7, 1, 5), "coefficients 1 to 5 of 3 components"},
		"no scan":                  {slices.Concat(grey[:scan], []byte{0xff, EOI}), "found no scan"},
		"no end":                   {grey[:len(grey)-2], "unexpected EOF"},
		"coded data that end":      {slices.Concat(grey[:len(grey)-60], []byte{0xff, EOI}), "unexpected EOF"},
		"a restart out of turn":    {bytes.Replace(restart, []byte{0xff, RST0 + 1}, []byte{0xff, RST0 + 2}, 1), "want the restart 0xd1"},
		"a second frame":           {slices.Concat(grey[:scan], grey[2:]), "second frame"},
	} {
		if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestMoreCodesThanThereAreBitPatternsAreRefused(t *testing.T) {
	counts := make([]byte, 16)
	counts[0], counts[1] = 1, 3
	if _, err := newHuffman(counts, make([]byte, 4)); err == nil || !strings.Contains(err.Error(), "3 Huffman codes of 2 bits, want at most 2") {
		t.Errorf("found %v, want an error about the codes of 2 bits", err)
	}
}

func TestCodedDataThatEndAreAnUnexpectedEOF(t *testing.T) {
	data := encoded(t, 64, 64, 90, false)
	if _, err := Decode(data[:len(data)/2]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("found %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"jpeg-420.jpg", "jpeg-411.jpg", "jpeg-progressive.jpg", "jpeg-restart.jpg", "jpeg-grey.jpg", "jpeg-ycck-420.jpg"} {
		f.Add(file(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, h, err := Size(data)
		if err != nil || w*h > 1<<16 {
			return
		}
		m, err := Decode(data)
		if err != nil {
			return
		}
		for _, p := range m.Planes {
			if m.W != w || m.H != h || p.W*p.X < w || p.H*p.Y < h || p.Stride < p.W+8 || len(p.Pix) < p.H*p.Stride {
				t.Fatalf("found %d x %d pixels and %d x %d samples of %d x %d, Size says %d x %d", m.W, m.H, p.W, p.H, p.X, p.Y, w, h)
			}
		}
	})
}
