package cyborg

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// classifiers are n runs of one arm.
func classifiers(t testing.TB, cfg Config, n int) []*Model {
	t.Helper()
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	models := make([]*Model, n)
	for run := range models {
		models[run] = trained(t, cfg, d, HumanSmall, run)
	}
	return models
}

func newTeacher(t testing.TB, models []*Model, rise *RISE, mirror bool) *Teacher {
	t.Helper()
	teacher, err := NewTeacher(models, rise, mirror)
	if err != nil {
		t.Fatal(err)
	}
	return teacher
}

// unmapped are test samples, the first of which has no label.
func unmapped(t testing.TB, n int) []storage.Sample {
	t.Helper()
	list := make([]storage.Sample, n)
	for i := range list {
		list[i] = drawn(t, "test", i)
		list[i].Saliency, list[i].SaliencySource = storage.Encoded{}, ""
	}
	list[0].Label = storage.NoLabel
	return list
}

func stream(samples []storage.Sample, end error) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, s := range samples {
			if !yield(s, nil) {
				return
			}
		}
		if end != nil {
			yield(storage.Sample{}, end)
		}
	}
}

// taught are the maps that a teacher draws.
func taught(t testing.TB, teacher *Teacher, samples []storage.Sample, options Options) []*raster.Plane {
	t.Helper()
	var maps []*raster.Plane
	for a, err := range teacher.Annotate(t.Context(), stream(samples, nil), options) {
		if err != nil {
			t.Fatal(err)
		}
		if id := samples[len(maps)].ID; a.Sample.ID != id || a.Sample.Saliency.Present() {
			t.Fatalf("found sample %q, want %q as it came", a.Sample.ID, id)
		}
		p, err := raster.DecodeMap(a.Map.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, p)
	}
	if len(maps) != len(samples) {
		t.Fatalf("found %d maps, want %d", len(maps), len(samples))
	}
	return maps
}

// enlarged interpolates a square linearly, its cells' middles being where they are and
// its border going on outside.
func enlarged(pix []float64, from, to int) []float64 {
	at := func(i int) (low, high int, share float64) {
		x := min(max((float64(i)+0.5)*float64(from)/float64(to)-0.5, 0), float64(from-1))
		low = min(int(x), from-1)
		return low, min(low+1, from-1), x - float64(low)
	}
	out := make([]float64, to*to)
	for y := range to {
		for x := range to {
			top, bottom, down := at(y)
			left, right, along := at(x)
			upper := pix[top*from+left]*(1-along) + pix[top*from+right]*along
			lower := pix[bottom*from+left]*(1-along) + pix[bottom*from+right]*along
			out[y*to+x] = upper*(1-down) + lower*down
		}
	}
	return out
}

// unit scales to [0, 1].
func unit(pix []float64) []float64 {
	low, high := slices.Min(pix), slices.Max(pix)
	out := make([]float64, len(pix))
	for i, v := range pix {
		out[i] = (v - low) / (high - low)
	}
	return out
}

func wide(pix []float32) []float64 {
	out := make([]float64, len(pix))
	for i, v := range pix {
		out[i] = float64(v)
	}
	return out
}

func sameMap(t *testing.T, what string, found *raster.Plane, want []float64) {
	t.Helper()
	if len(found.Pix) != len(want) {
		t.Fatalf("%s: found %d x %d pixels, want %d", what, found.W, found.H, len(want))
	}
	for i, v := range found.Pix {
		if math.Abs(float64(v)-want[i]) > 1e-4 {
			t.Fatalf("%s: pixel %d is %v, want %v", what, i, v, want[i])
		}
	}
}

func TestATeachersMapIsTheMeanOfItsClassifiersEnlargedCAMs(t *testing.T) {
	models, list := classifiers(t, tiny(), 3), unmapped(t, 5)[1:] // with labels: Maps are of one classifier's own prediction else
	for n := 1; n <= len(models); n++ {
		found := taught(t, newTeacher(t, models[:n], nil, false), list, Options{Batch: 2})
		for i := range list {
			want := make([]float64, 20*20)
			for _, m := range models[:n] {
				cams, err := m.Maps(t.Context(), list[i:i+1], Options{})
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range unit(enlarged(wide(cams[0].Pix), cams[0].W, 20)) {
					want[k] += v / float64(n)
				}
			}
			sameMap(t, list[i].ID, found[i], unit(want))
		}
	}
}

func TestATeacherThatMirrorsDrawsTheMirroredMapOfTheMirroredImage(t *testing.T) {
	teacher, s := newTeacher(t, classifiers(t, tiny(), 1), nil, true), unmapped(t, 2)[1]
	m, err := raster.Decode(s.Image.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	turned := raster.NewImage(m.W, m.H)
	for y := range m.H {
		for x := range m.W {
			copy(turned.Pix[3*(y*m.W+x):][:3], m.Pix[3*(y*m.W+m.W-1-x):])
		}
	}
	mirrored := s
	if mirrored.Image.Bytes, err = raster.EncodePNG(turned); err != nil {
		t.Fatal(err)
	}
	maps := taught(t, teacher, []storage.Sample{s, mirrored}, Options{})
	raster.Mirror(maps[1].Pix, maps[1].W)
	sameMap(t, "mirror image", maps[0], wide(maps[1].Pix))
	plain := taught(t, newTeacher(t, teacher.models, nil, false), []storage.Sample{s}, Options{})
	if slices.Equal(plain[0].Pix, maps[0].Pix) {
		t.Error("the mean is one of its parts: the network itself is symmetric, and the test shows nothing")
	}
}

// TestATeacherDrawsTheClassThatItFindsMostProbableWhereThereIsNoLabel has a classifier
// and one that always says the other class, with less conviction: the first decides.
func TestATeacherDrawsTheClassThatItFindsMostProbableWhereThereIsNoLabel(t *testing.T) {
	sure, list := classifiers(t, tiny(), 1)[0], unmapped(t, 6)
	doubting := *sure
	doubting.params = sure.params.Clone()
	for _, name := range []string{"fc.weight", "fc.bias"} {
		for i, v := range sure.params.Get(name).Data {
			doubting.params.Get(name).Data[i] = -v / 2
		}
	}
	for i := range list {
		list[i].Label = int64(i % 2)
	}
	e, err := sure.Evaluate(t.Context(), opened(t, dataset(t, oneGroup, list), tiny(), cacheAll), "test", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, models := range [][]*Model{{sure, &doubting}, {&doubting, sure}} {
		var byPrediction []*Model
		for _, m := range models {
			other := *m
			other.cfg.CAMClass = "predicted"
			byPrediction = append(byPrediction, &other)
		}
		for i, s := range list {
			labelled := s
			labelled.Label = int64(slices.Index(e.Samples[i].Scores, slices.Max(e.Samples[i].Scores)))
			want := wide(taught(t, newTeacher(t, models, nil, true), []storage.Sample{labelled}, Options{})[0].Pix)
			sameMap(t, "class of the CAM: predicted", taught(t, newTeacher(t, byPrediction, nil, true), []storage.Sample{s}, Options{})[0], want)
			for _, label := range []int64{storage.NoLabel, 7} {
				s.Label = label
				sameMap(t, "no such label", taught(t, newTeacher(t, models, nil, true), []storage.Sample{s}, Options{})[0], want)
			}
		}
	}
}

func TestNeitherWorkersNorBatchesChangeATeachersMaps(t *testing.T) {
	models, list := classifiers(t, tiny(), 2), unmapped(t, 11)
	for _, rise := range []*RISE{nil, {Masks: 9, Cells: 4, Keep: 0.5, Seed: 1}} {
		teacher := newTeacher(t, models, rise, true)
		want := taught(t, teacher, list, Options{})
		for _, options := range []Options{{Workers: 1, Batch: 1}, {Workers: 3, Batch: 2}, {Workers: 2, Batch: 100}} {
			for i, m := range taught(t, teacher, list, options) {
				if !slices.Equal(m.Pix, want[i].Pix) {
					t.Errorf("%+v: sample %d has another map", options, i)
				}
			}
		}
	}
}

func TestATeachersMapHasItsImagesShapeAndName(t *testing.T) {
	for _, c := range []struct {
		resize             string
		w, h, wantW, wantH int
	}{{"squash", 100, 50, 20, 10}, {"pad", 30, 90, 7, 20}} {
		cfg := tiny()
		cfg.Resize = c.resize
		m := image.NewGray(image.Rect(0, 0, c.w, c.h))
		m.Pix[len(m.Pix)/2+c.w/2] = 255
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		teacher := newTeacher(t, classifiers(t, cfg, 1), nil, true)
		s := storage.Sample{ID: "board/7.jpeg", Image: storage.Encoded{Bytes: b.Bytes()}, Label: storage.NoLabel}
		if p := taught(t, teacher, []storage.Sample{s}, Options{})[0]; p.W != c.wantW || p.H != c.wantH || slices.Max(p.Pix) != 1 || slices.Min(p.Pix) != 0 {
			t.Errorf("found a map of %d x %d from %v to %v, want %d x %d from 0 to 1", p.W, p.H, slices.Min(p.Pix), slices.Max(p.Pix), c.wantW, c.wantH)
		}
		for a := range teacher.Annotate(t.Context(), stream([]storage.Sample{s}, nil), Options{}) {
			if a.Map.Path != "7.png" {
				t.Errorf("found the name %q, want 7.png", a.Map.Path)
			}
		}
	}
}

func TestASampleThatATeacherCannotDecodeDoesNotStopTheStream(t *testing.T) {
	teacher, list := newTeacher(t, classifiers(t, tiny(), 1), nil, false), unmapped(t, 5)
	want := taught(t, teacher, list, Options{})
	spoilt := slices.Clone(list)
	spoilt[1].Image, spoilt[4].Image.Bytes = storage.Encoded{}, []byte("junk")
	i := 0
	for a, err := range teacher.Annotate(t.Context(), stream(spoilt, nil), Options{Batch: 2}) {
		var bad *SampleError
		switch {
		case i == 1 || i == 4:
			if !errors.As(err, &bad) || bad.ID != spoilt[i].ID || a.Map.Present() {
				t.Errorf("sample %d: found error %v, want its own", i, err)
			}
		case err != nil:
			t.Errorf("sample %d: %v", i, err)
		default:
			p, err := raster.DecodeMap(a.Map.Bytes)
			if err != nil || !slices.Equal(p.Pix, want[i].Pix) {
				t.Errorf("sample %d has another map (%v)", i, err)
			}
		}
		i++
	}
	if i != len(spoilt) {
		t.Errorf("found %d samples, want %d", i, len(spoilt))
	}
}

func TestATeachersStreamEndsWithItsInputsErrorOrItsContext(t *testing.T) {
	rise := &RISE{Masks: 5, Cells: 4, Keep: 0.5}
	teacher, list := newTeacher(t, classifiers(t, tiny(), 1), rise, false), unmapped(t, 3)
	broken := errors.New("broken")
	var last error
	for _, err := range teacher.Annotate(t.Context(), stream(list, broken), Options{Batch: 2}) {
		last = err
	}
	if !errors.Is(last, broken) {
		t.Errorf("found error %v at the end, want the input's", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range teacher.Annotate(ctx, stream(list, nil), Options{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("found error %v, want the context's", err)
		}
	}
	n := 0
	for range teacher.Annotate(t.Context(), stream(list, nil), Options{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("found %d samples, want to leave after one", n)
	}
}

func TestATeacherWhoseNetworkOverflowsStillDrawsNumbers(t *testing.T) {
	m := classifiers(t, tiny(), 1)[0]
	for _, name := range []string{"fc.weight", "fc.bias"} {
		for i := range m.params.Get(name).Data {
			m.params.Get(name).Data[i] = math.MaxFloat32
		}
	}
	list := unmapped(t, 2)
	for i := range list {
		list[i].Label = storage.NoLabel
	}
	for _, rise := range []*RISE{nil, {Masks: 3, Cells: 4, Keep: 0.5}} {
		for _, p := range taught(t, newTeacher(t, []*Model{m}, rise, true), list, Options{}) {
			if low, high := slices.Min(p.Pix), slices.Max(p.Pix); !(low == 0 && (high == 0 || high == 1)) {
				t.Errorf("found a map from %v to %v, want it scaled or blank", low, high)
			}
		}
	}
}

func TestATeacherOfUnlikeClassifiersIsRefused(t *testing.T) {
	models := classifiers(t, tiny(), 1)
	padded := *models[0]
	padded.cfg.Resize = "pad"
	for want, x := range map[string]struct {
		models []*Model
		rise   *RISE
	}{
		"found no classifier":            {},
		"want all alike":                 {models: []*Model{models[0], &padded}},
		"0 masks: want at least 1":       {models: models, rise: &RISE{Cells: 4, Keep: 0.5}},
		"21 cells along a side of 20":    {models: models, rise: &RISE{Masks: 1, Cells: 21, Keep: 0.5}},
		"share 1 that a mask keeps":      {models: models, rise: &RISE{Masks: 1, Cells: 4, Keep: 1}},
		`share NaN that a mask keeps: w`: {models: models, rise: &RISE{Masks: 1, Cells: 4, Keep: math.NaN()}},
	} {
		if _, err := NewTeacher(x.models, x.rise, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found error %v, want %s", err, want)
		}
	}
}
