package raster

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestABlurOutsideAMaskEqualsSciPys reads what testdata/gen.py wrote.
func TestABlurOutsideAMaskEqualsSciPys(t *testing.T) {
	const w, h = 17, 13
	source, err := Decode(read(t, "view", "source.png"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "blur", "*.f32"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		sigma, err := strconv.ParseFloat(strings.TrimSuffix(name, ".f32"), 64)
		if err != nil {
			t.Fatal(err)
		}
		planar, mask := make([]float32, 3*w*h), make([]float32, w*h)
		for i := range mask {
			x, y := i%w, i/w
			mask[i] = float32((3*x+5*y)%11) / 10
			for c := range 3 {
				planar[c*w*h+i] = float32(source.Pix[3*(y*source.W+x)+c]) / 255
			}
		}
		BlurOutside(planar, mask, h, w, sigma)
		want := read(t, "blur", name)
		for i, v := range planar {
			if s := math.Float32frombits(binary.LittleEndian.Uint32(want[4*i:])); math.Abs(float64(v-s)) > 2e-6 {
				t.Fatalf("sigma %v: value %d is %v, want %v", sigma, i, v, s)
			}
		}
	}
}
