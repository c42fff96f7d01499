package predictor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

var shared struct {
	sync.Once
	model *Model
}

// model is a fitted model, the same for all tests: they may not change it.
func model(t testing.TB) *Model {
	t.Helper()
	shared.Do(func() { shared.model = fit(t, tiny(), examples(t, "train", 20), nil) })
	if shared.model == nil {
		t.Fatal("the shared model could not be fitted")
	}
	return shared.model
}

// samples are the first n synthetic test images.
func samples(t testing.TB, n int) []storage.Sample {
	t.Helper()
	list := make([]storage.Sample, n)
	for i, e := range examples(t, "test", n) {
		list[i] = storage.Sample{ID: e.ID, Image: e.Image, Label: int64(i)}
	}
	return list
}

// stream yields samples and then, if it is one, an error.
func stream(list []storage.Sample, err error) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, s := range list {
			if !yield(s, nil) {
				return
			}
		}
		if err != nil {
			yield(storage.Sample{}, err)
		}
	}
}

// annotated are all predictions for samples.
func annotated(t testing.TB, m *Model, list []storage.Sample, options Options) []Prediction {
	t.Helper()
	var found []Prediction
	for p, err := range m.Annotate(t.Context(), stream(list, nil), options) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	return found
}

func TestSamplesAreAnnotatedInOrder(t *testing.T) {
	m, list := model(t), samples(t, 23)
	want := annotated(t, m, list, Options{})
	if len(want) != len(list) {
		t.Fatalf("found %d predictions, want %d", len(want), len(list))
	}
	for i, p := range want {
		if p.Sample.ID != list[i].ID || p.Sample.Label != int64(i) || p.Sample.Saliency.Present() {
			t.Fatalf("found %q, want %q as it came", p.Sample.ID, list[i].ID)
		}
		if q := float64(p.Quality); !(q >= -1 && q <= 1) {
			t.Errorf("%s: found quality %v, want it in [-1, 1]", p.Sample.ID, q)
		}
	}
	for _, options := range []Options{{Workers: 1, Batch: 1}, {Workers: 2, Batch: 5}, {Workers: 3, Batch: 100}} {
		for i, p := range annotated(t, m, list, options) {
			if !bytes.Equal(p.Map.Bytes, want[i].Map.Bytes) || p.Quality != want[i].Quality || p.Map.Path != want[i].Map.Path {
				t.Errorf("%+v: sample %d has another map than with one worker", options, i)
			}
		}
	}
}

func TestNothingIsAnnotatedOfAnEmptyStream(t *testing.T) {
	if found := annotated(t, model(t), nil, Options{Workers: 2}); len(found) != 0 {
		t.Errorf("found %d predictions, want none", len(found))
	}
}

func TestAMapHasItsImagesShapeAndName(t *testing.T) {
	for _, c := range []struct{ w, h, wantW, wantH int }{{40, 40, 16, 16}, {100, 50, 16, 8}, {30, 90, 5, 16}, {500, 2, 16, 1}} {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, c.w, c.h))); err != nil {
			t.Fatal(err)
		}
		s := storage.Sample{ID: "board/7.jpeg", Image: storage.Encoded{Bytes: b.Bytes()}}
		p := annotated(t, model(t), []storage.Sample{s}, Options{})[0]
		config, err := png.DecodeConfig(bytes.NewReader(p.Map.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		if config.Width != c.wantW || config.Height != c.wantH || config.ColorModel != color.Gray16Model {
			t.Errorf("%d x %d: found a map of %d x %d, want %d x %d in 16-bit grey", c.w, c.h, config.Width, config.Height, c.wantW, c.wantH)
		}
		if p.Map.Path != "7.png" {
			t.Errorf("found the name %q, want 7.png", p.Map.Path)
		}
	}
}

func TestAnUndecodableSampleDoesNotStopTheStream(t *testing.T) {
	list := samples(t, 12)
	want := annotated(t, model(t), list, Options{})
	spoilt := slices.Clone(list)
	spoilt[0].Image.Bytes, spoilt[7].Image = []byte("junk"), storage.Encoded{}
	i := 0
	for p, err := range model(t).Annotate(t.Context(), stream(spoilt, nil), Options{Workers: 2, Batch: 4}) {
		var bad *SampleError
		switch {
		case i == 0 || i == 7:
			if !errors.As(err, &bad) || bad.ID != list[i].ID || p.Sample.ID != list[i].ID || p.Map.Present() {
				t.Errorf("sample %d: found error %v and a map: %v, want a SampleError of %q and none", i, err, p.Map.Present(), list[i].ID)
			}
		case err != nil:
			t.Fatal(err)
		case !bytes.Equal(p.Map.Bytes, want[i].Map.Bytes):
			t.Errorf("sample %d: its map depends on its neighbours", i)
		}
		i++
	}
	if i != len(list) {
		t.Errorf("found %d samples, want %d", i, len(list))
	}
}

func TestAnErrorOfTheInputEndsTheStream(t *testing.T) {
	m, broken := model(t), errors.New("disk on fire")
	synctest.Test(t, func(t *testing.T) {
		last := error(nil)
		for _, err := range m.Annotate(t.Context(), stream(samples(t, 9), broken), Options{Workers: 2, Batch: 2}) {
			if last != nil {
				t.Fatal("the stream went on")
			}
			last = err
		}
		if !errors.Is(last, broken) || !strings.HasPrefix(last.Error(), "annotate: ") {
			t.Errorf("found error %v, want %v", last, broken)
		}
	})
}

// endless yields the same sample for ever and counts how often.
func endless(s storage.Sample, read *atomic.Int64) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for yield(s, nil) {
			read.Add(1)
		}
	}
}

// In a bubble of synctest, a goroutine that outlives the test fails it.

func TestTheCallerMayLeaveAtAnyTime(t *testing.T) {
	m := model(t)
	for _, after := range []int{1, 2, 5, 17} {
		synctest.Test(t, func(t *testing.T) {
			var read atomic.Int64
			seen := 0
			for _, err := range m.Annotate(t.Context(), endless(samples(t, 1)[0], &read), Options{Workers: 2, Batch: 3}) {
				if err != nil {
					t.Fatal(err)
				}
				if seen++; seen == after {
					break
				}
			}
			stopped := read.Load()
			synctest.Wait()
			if read.Load() != stopped {
				t.Error("the input was read after the stream's end")
			}
		})
	}
}

func TestTheContextEndsTheStream(t *testing.T) {
	m := model(t)
	for _, after := range []int{0, 1, 7} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			if after == 0 {
				cancel()
			}
			defer cancel()
			var read atomic.Int64
			var last error
			seen := 0
			for _, err := range m.Annotate(ctx, endless(samples(t, 1)[0], &read), Options{Workers: 2, Batch: 3}) {
				if last != nil {
					t.Fatal("the stream went on")
				}
				if last = err; err == nil {
					seen++
				}
				if seen == after {
					cancel()
				}
			}
			if !errors.Is(last, context.Canceled) {
				t.Errorf("found error %v after %d samples, want the context's", last, seen)
			}
		})
	}
}

func TestMemoryIsBoundedByWhatIsInFlight(t *testing.T) {
	// Two images of 9 MiB fill a chunk of 16 MiB; small ones fill it by their number.
	m := model(t)
	large := storage.Sample{ID: "large", Image: storage.Encoded{Bytes: make([]byte, 9<<20)}}
	for _, c := range []struct {
		sample         storage.Sample
		workers, chunk int
	}{{samples(t, 1)[0], 1, 3}, {samples(t, 1)[0], 2, 3}, {large, 1, 2}, {large, 3, 2}} {
		synctest.Test(t, func(t *testing.T) {
			var read atomic.Int64
			delivered := int64(0)
			for range m.Annotate(t.Context(), endless(c.sample, &read), Options{Workers: c.workers, Batch: 3}) {
				synctest.Wait() // until reader and workers can do nothing more
				if flying, most := read.Load()-delivered, int64(3*c.workers*c.chunk); flying > most {
					t.Fatalf("%d workers: found %d samples in flight, want at most %d", c.workers, flying, most)
				}
				if delivered++; delivered == 20 {
					break
				}
			}
		})
	}
}

// newForward is a drawer of a model's network on the CPU.
func newForward(t *testing.T, m *Model, batch int) *forward {
	t.Helper()
	forwards, err := newForwards(m.cfg, m.members[0], 1, batch, false, Options{Device: "cpu"}.internal())
	if err != nil {
		t.Fatal(err)
	}
	return forwards[0]
}

func TestMirroredAveragingIsSymmetric(t *testing.T) {
	m := model(t)
	f := newForward(t, m, 2)
	s, err := decodeImage(samples(t, 1)[0].Image, m.cfg, m.cfg.resizing().PrepareWhole)
	if err != nil {
		t.Fatal(err)
	}
	f.begin()
	if err := errors.Join(f.show(0, s), f.show(1, s)); err != nil {
		t.Fatal(err)
	}
	images := f.batch.Batch[imageInput]
	raster.Mirror(images[len(images)/2:], m.cfg.Size)
	if err := f.run(); err != nil {
		t.Fatal(err)
	}
	seen, turned := f.prediction(0), f.prediction(1)
	raster.Mirror(turned.shown.Pix, m.cfg.Size)
	if !slices.Equal(seen.shown.Pix, turned.shown.Pix) {
		t.Error("the mirror image has another map than the mirrored map")
	}
	if slices.Equal(f.maps[:f.plane()], seen.shown.Pix) {
		t.Error("the mean equals one of its parts: the network itself is symmetric, and the test shows nothing")
	}
	if !(math.Abs(seen.evidence[1]-turned.evidence[1]) < 1e-9) {
		t.Errorf("found agreements %v and %v, want them equal", seen.evidence[1], turned.evidence[1])
	}
}

func TestWithoutMirrorTheMapIsTheNetworks(t *testing.T) {
	m := *model(t)
	m.cfg.Mirror = false
	f := newForward(t, &m, 1)
	s, err := decodeImage(samples(t, 1)[0].Image, m.cfg, m.cfg.resizing().PrepareWhole)
	if err != nil {
		t.Fatal(err)
	}
	f.begin()
	if err := errors.Join(f.show(0, s), f.run()); err != nil {
		t.Fatal(err)
	}
	if p := f.prediction(0); !slices.Equal(p.shown.Pix, f.maps) || p.evidence[1] != 1 {
		t.Errorf("found another map, or agreement %v, want 1", p.evidence[1])
	}
}

func TestAnUnknownDeviceIsRefused(t *testing.T) {
	for _, err := range model(t).Annotate(t.Context(), stream(samples(t, 1), nil), Options{Device: "abacus"}) {
		if err == nil || !strings.Contains(err.Error(), `device "abacus"`) {
			t.Errorf("found error %v, want one about the device", err)
		}
	}
}

func TestErrorsNameTheirSubject(t *testing.T) {
	reason := errors.New("reason")
	for want, err := range map[string]error{
		`sample "a": reason`:  &SampleError{"a", reason},
		`example "b": reason`: &ExampleError{"b", reason},
	} {
		if fmt.Sprint(err) != want || !errors.Is(err, reason) {
			t.Errorf("found %v, want %s", err, want)
		}
	}
}
