package cyborg

import (
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// TestRISEIsTheMeanOfMasksWeighedByTheClasssProbability compares with the formula of
// the paper in float64, which asks the classifier for one masked image at a time.
func TestRISEIsTheMeanOfMasksWeighedByTheClasssProbability(t *testing.T) {
	cfg := tiny()
	m, s := classifiers(t, cfg, 1)[0], unmapped(t, 2)[1]
	rise := RISE{Masks: 23, Cells: 3, Keep: 0.4, Seed: 5} // 3 cells of 7 pixels are more than 20
	panel, err := newPanel(pixelGraph, m.cfg, m.params, 2, 1, 1, false, Options{Device: "cpu"}.finished())
	if err != nil {
		t.Fatal(err)
	}
	program := panel.members[0]
	pixels, err := decodeImage(s.Image, cfg.resizing().PrepareWhole, cfg.Size)
	if err != nil {
		t.Fatal(err)
	}
	plane := cfg.Size * cfg.Size
	input := make([]float32, 3*plane)
	raster.SeenImage{Image: pixels.image, Side: cfg.Size}.Draw(input)
	want := make([]float64, plane)
	for k := range rise.Masks {
		cells, left, top := rise.grid(k, cfg.Size)
		const cell = 7
		whole, mask := enlarged(wide(cells.Pix), rise.Cells, (rise.Cells+1)*cell), make([]float64, plane)
		for y := range cfg.Size {
			for x := range cfg.Size {
				mask[y*cfg.Size+x] = whole[(top+y)*(rise.Cells+1)*cell+left+x]
			}
		}
		for i, v := range input {
			program.Begin().Batch[imageInput][i] = float32(float64(v) * mask[i%plane])
		}
		if err := program.Run(); err != nil {
			t.Fatal(err)
		}
		logits := wide(program.Output(logitsOutput))
		p := math.Exp(logits[s.Label]) / (math.Exp(logits[0]) + math.Exp(logits[1]))
		for i, v := range mask {
			want[i] += p * v / (float64(rise.Masks) * rise.Keep)
		}
	}
	sameMap(t, "RISE", taught(t, newTeacher(t, []*Model{m}, &rise, false), []storage.Sample{s}, Options{Batch: 4})[0], unit(want))

	batched, err := newPanel(pixelGraph, m.cfg, m.params, 2, 4, 4, false, Options{Device: "cpu"}.finished())
	if err != nil {
		t.Fatal(err)
	}
	found := raster.NewPlane(cfg.Size, cfg.Size)
	mapper := &riseMapper{rise, batched.members[0], 4}
	if err := mapper.draw(t.Context(), input, []int64{s.Label}, found.Pix); err != nil {
		t.Fatal(err)
	}
	sameMap(t, "RISE before it is scaled", found, want)
}

func TestMasksOfRISEKeepTheirShareOfEveryPixel(t *testing.T) {
	const size, n = 20, 4000
	rise := RISE{Masks: n, Cells: 7, Keep: 0.3, Seed: 1}
	mask, mean := make([]float32, size*size), make([]float64, size*size)
	offsets := map[int]int{}
	for k := range n {
		_, left, top := rise.grid(k, size)
		offsets[top*3+left]++
		rise.mask(mask, k, size)
		for i, v := range mask {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("mask %d: pixel %d is %v, want it in [0, 1]", k, i, v)
			}
			mean[i] += float64(v) / n
		}
	}
	for i, v := range mean { // the standard error is at most sqrt(0.21/n), 0.0072
		if math.Abs(v-rise.Keep) > 0.03 {
			t.Errorf("pixel %d is let through to %v, want %v", i, v, rise.Keep)
		}
	}
	for at, count := range offsets { // of 9 places, each n/9 times, give or take 6 standard deviations
		if math.Abs(float64(count)-n/9.0) > 120 {
			t.Errorf("the image begins %d times at place %d, want about %d", count, at, n/9)
		}
	}
	if len(offsets) != 9 {
		t.Errorf("found %d places, want those of a cell of 3 x 3", len(offsets))
	}
}

func TestMasksOfRISEDependOnTheSeed(t *testing.T) {
	a, b := make([]float32, 400), make([]float32, 400)
	masks := map[string]bool{}
	for _, seed := range []uint64{1, 2, 1} {
		r := RISE{Masks: 2, Cells: 7, Keep: 0.5, Seed: seed}
		r.mask(a, 0, 20)
		r.mask(b, 1, 20)
		for _, m := range [][]float32{a, b} {
			text := ""
			for _, v := range m {
				text += string(rune(v * 1000))
			}
			masks[text] = true
		}
	}
	if len(masks) != 4 {
		t.Errorf("found %d different masks of two seeds, want 4", len(masks))
	}
}
