package cyborg

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/surrogaze/surrogaze/storage"
)

// rectangle is a map of w x h pixels that is grey but for a white rectangle, w0 x h0, on
// whose sides is a rim darker than half.
func rectangle(t *testing.T, w, h, w0, h0 int) storage.Encoded {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = 20
	}
	for y := range h0 {
		for x := range w0 + 1 {
			m.SetGray(4+x, 4+y, color.Gray{Y: 255})
		}
		m.SetGray(4+w0, 4+y, color.Gray{Y: 120})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return storage.Encoded{Bytes: b.Bytes()}
}

func TestRegionsAreTheMedianAreaOfHumanMapsInCells(t *testing.T) {
	square := func(w0, h0 int) storage.Encoded { return rectangle(t, 20, 20, w0, h0) }
	for name, c := range map[string]struct {
		resize string
		maps   []storage.Encoded
		want   Regions
	}{ // of 20 pixels to 5 cells
		"none":                    {"squash", nil, Regions{0, 0, 5}},
		"one":                     {"squash", []storage.Encoded{square(4, 4)}, Regions{1, 1, 5}},
		"an odd number":           {"squash", []storage.Encoded{square(2, 2), square(8, 8), square(4, 2)}, Regions{3, 0.5, 5}},
		"an even number":          {"squash", []storage.Encoded{square(4, 4), square(4, 8)}, Regions{2, 1.5, 5}},
		"a blank one":             {"squash", []storage.Encoded{square(4, 4), blank(t)}, Regions{1, 1, 5}},
		"a larger one":            {"squash", []storage.Encoded{rectangle(t, 40, 40, 4, 4)}, Regions{1, 0.25, 5}},
		"a wide one, squashed":    {"squash", []storage.Encoded{rectangle(t, 40, 20, 4, 4)}, Regions{1, 0.5, 5}},
		"a wide one between bars": {"pad", []storage.Encoded{rectangle(t, 40, 20, 4, 4)}, Regions{1, 0.25, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			var samples []storage.Sample
			for i, m := range c.maps {
				s := drawn(t, "train", i)
				s.Saliency = m
				samples = append(samples, s)
			}
			drawnByOthers := drawn(t, "train", 100)
			drawnByOthers.SaliencySource, drawnByOthers.SaliencyModel = storage.SourcePredictor, "m"
			samples = append(samples, drawnByOthers, drawn(t, "val", 0))
			cfg := tiny()
			cfg.Resize = c.resize
			found, err := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll).Regions(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if found != c.want {
				t.Errorf("found %+v, want %+v", found, c.want)
			}
		})
	}
}

func TestRegionsLookAtNoMoreThan64MapsFromAllOverTheSet(t *testing.T) {
	var samples []storage.Sample
	for i := range 130 {
		s := drawn(t, "train", i)
		s.Saliency = rectangle(t, 20, 20, 4, 4)
		if i >= 60 { // most are small, but not of the first 64
			s.Saliency = rectangle(t, 20, 20, 2, 2)
		}
		samples = append(samples, s)
	}
	cfg := tiny()
	found, err := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll).Regions(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Regions{64, 0.25, 5}); found != want {
		t.Errorf("found %+v, want %+v", found, want)
	}
}
