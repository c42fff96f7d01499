package raster

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

func TestWhatANetworkSeesIsTheNormalisedView(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	augment := Augment{Flip: true, Transpose: true, Zoom: 0.3, Shift: 0.2, Color: 0.3}
	const side = 9
	for range 10 {
		p, view := Squash.Prepare(ramp(31, 24), side), augment.Draw(rng)
		found, want := make([]float32, 3*side*side), make([]float32, 3*side*side)
		SeenImage{p, view, side}.Draw(found)
		p.View(want, side, view)
		Normalize(want)
		if !slices.Equal(found, want) {
			t.Fatalf("%+v: another image", view)
		}
	}
}

func TestTheGeometryOfAViewIsThatOfWhatItLooksAt(t *testing.T) {
	p := Squash.Prepare(ramp(60, 40), 10) // 30 x 20, and 10 x 10
	whole := SeenImage{p, View{}, 10}.Geometry()
	if whole.W != 10 || whole.H != 10 || len(whole.Bytes) != 300 || whole.X != (op.Span{Centre: 5, Side: 10}) {
		t.Errorf("the whole is %d x %d, seen over %+v", whole.W, whole.H, whole.X)
	}
	part := SeenImage{p, View{Zoom: -0.5, ShiftX: 0.25, Flip: true, Transpose: true, Gain: [3]float32{0.5, 0, -0.5}}, 10}.Geometry()
	want := op.View{
		Bytes: part.Bytes, W: 30, H: 20, X: op.Span{Centre: 22.5, Side: 15}, Y: op.Span{Centre: 10, Side: 10, Backwards: true},
		Transpose: true, Gain: [3]float32{1.5, 1, 0.5}, Mean: ChannelMean, Std: ChannelStd,
	}
	if len(part.Bytes) != 3*30*20 || part.X != want.X || part.Y != want.Y || part.Gain != want.Gain || !part.Transpose ||
		part.W != want.W || part.H != want.H || part.Mean != want.Mean || part.Std != want.Std {
		t.Errorf("found %+v, want %+v", part, want)
	}
	m := SeenMap{NewPlane(7, 5), View{}, 10}.Geometry()
	if len(m.Values) != 35 || m.W != 7 || m.H != 5 || m.Y != (op.Span{Centre: 2.5, Side: 5}) {
		t.Errorf("the map is %d x %d, seen over %+v", m.W, m.H, m.Y)
	}
}

func TestAViewOfAMapIsPlainWhereWhatItLooksAtIs(t *testing.T) {
	p := NewPlane(40, 30)
	p.Pix[3*40+35] = 1 // at the upper right
	for _, c := range []struct {
		name string
		view View
		want bool
	}{
		{"all", View{}, false},
		{"the middle", View{Zoom: -0.6}, true},
		{"the upper right", View{Zoom: -0.6, ShiftX: 0.3, ShiftY: -0.3}, false},
		{"the upper left", View{Zoom: -0.6, ShiftX: -0.3, ShiftY: -0.3}, true},
		{"the upper left, mirrored", View{Zoom: -0.6, ShiftX: -0.3, ShiftY: -0.3, Flip: true}, true},
	} {
		s := SeenMap{p, c.view, 8}
		drawn := make([]float32, 64)
		s.Draw(drawn)
		if got := s.Plain(); got != c.want || c.want != (slices.Min(drawn) == slices.Max(drawn)) {
			t.Errorf("%s: plain is %t, want %t; drawn from %v to %v", c.name, got, c.want, slices.Min(drawn), slices.Max(drawn))
		}
	}
}
