package predictor

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/raster"
)

func trio() Config {
	cfg := tiny()
	cfg.Ensemble = 3
	return cfg
}

func TestAnEnsembleDrawsTheMeanOfItsNetworksMaps(t *testing.T) {
	cfg, train, list := trio(), examples(t, "train", 20), samples(t, 4)
	m := fit(t, cfg, train, nil)
	sums := make([][]float64, len(list))
	distinct := map[string]bool{}
	for i := range cfg.Ensemble {
		alone := &Model{cfg: m.cfg, members: m.members[i : i+1], mean: m.mean}
		distinct[string(saved(t, alone))] = true
		for k, p := range annotated(t, alone, list, Options{}) {
			shown := decoded(t, p)
			if sums[k] == nil {
				sums[k] = make([]float64, len(shown.Pix))
			}
			for x, v := range shown.Pix {
				sums[k][x] += float64(v)
			}
		}
	}
	if len(distinct) != cfg.Ensemble {
		t.Errorf("found %d different networks, want %d", len(distinct), cfg.Ensemble)
	}
	for k, p := range annotated(t, m, list, Options{Workers: 2}) {
		for x, v := range decoded(t, p).Pix {
			if want := sums[k][x] / float64(cfg.Ensemble); math.Abs(float64(v)-want) > 2.0/65535 {
				t.Fatalf("sample %d: pixel %d is %v, want %v", k, x, v, want)
			}
		}
	}
}

func TestTheFirstNetworkOfAnEnsembleIsTheOneThatIsFittedAlone(t *testing.T) {
	train, list := examples(t, "train", 20), samples(t, 3)
	m := fit(t, trio(), train, nil)
	m.members = m.members[:1]
	want := annotated(t, fit(t, tiny(), train, nil), list, Options{})
	for i, p := range annotated(t, m, list, Options{}) {
		if !bytes.Equal(p.Map.Bytes, want[i].Map.Bytes) {
			t.Errorf("sample %d has another map", i)
		}
	}
}

func TestTheEvidenceOfAnEnsembleIsOfItsMeanMap(t *testing.T) {
	m := fit(t, trio(), examples(t, "train", 20), nil)
	drawers, err := newEnsembles(m.cfg, m.members, 1, 1, Options{Device: "cpu"}.internal())
	if err != nil {
		t.Fatal(err)
	}
	e := drawers[0].(ensemble)
	s, err := decodeImage(samples(t, 1)[0].Image, m.cfg, m.cfg.resizing().PrepareWhole)
	if err != nil {
		t.Fatal(err)
	}
	e.begin()
	if err := errors.Join(e.show(0, s), e.run()); err != nil {
		t.Fatal(err)
	}
	agreement := 0.0
	for _, f := range e {
		agreement += f.prediction(0).evidence[1] / 3
	}
	p := e.prediction(0)
	if want := gather(p.shown.Pix, agreement); p.evidence != want || want == e[0].prediction(0).evidence {
		t.Errorf("found evidence %v, want %v", p.evidence, want)
	}
}

func decoded(t *testing.T, p Prediction) *raster.Plane {
	t.Helper()
	shown, err := raster.DecodeMap(p.Map.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func TestAnEnsembleComesBackAsItWasSaved(t *testing.T) {
	m, list := fit(t, trio(), examples(t, "train", 20), nil), samples(t, 3)
	again := reloaded(t, m)
	if !bytes.Equal(saved(t, again), saved(t, m)) {
		t.Error("the files differ")
	}
	if n := len(again.Summary().Members); n != 2 {
		t.Errorf("found the courses of %d further networks, want 2", n)
	}
	want := annotated(t, m, list, Options{})
	for i, p := range annotated(t, again, list, Options{}) {
		if !bytes.Equal(p.Map.Bytes, want[i].Map.Bytes) {
			t.Errorf("sample %d has another map", i)
		}
	}
}

func TestAnInterruptedEnsembleKeepsItsFinishedNetworks(t *testing.T) {
	cfg, train := trio(), examples(t, "train", 20)
	want := saved(t, fit(t, cfg, train, nil))
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Fit(ctx, cfg, train, nil, dir, func(p Progress) {
		if p.Member == 1 && p.Step == 7 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v, want the fit to be interrupted", err)
	}
	steps := map[int]int{}
	m, err := Fit(t.Context(), cfg, train, nil, dir, func(p Progress) { steps[p.Member]++ })
	if err != nil {
		t.Fatal(err)
	}
	if steps[0] != 0 || steps[1] != cfg.Steps-7 || steps[2] != cfg.Steps {
		t.Errorf("went on with the steps %v of the networks, want none, %d and %d", steps, cfg.Steps-7, cfg.Steps)
	}
	if !bytes.Equal(saved(t, m), want) {
		t.Error("the model differs from that of an unbroken fit")
	}
}

func TestAnEnsembleFileOfMoreNetworksThanTensorsIsRefused(t *testing.T) {
	m := fit(t, tiny(), examples(t, "train", 20), nil)
	m.cfg.Network, m.cfg.Size, m.cfg.Ensemble = "unet-resnet18", 32, 1<<40
	m.mean = make([]float32, 32*32)
	path := t.TempDir() + "/model.safetensors"
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "want those of 1099511627776 networks") {
		t.Errorf("found error %v, want one before anything is made", err)
	}
}

func TestAnEnsembleFileWithoutOneOfItsNetworksIsRefused(t *testing.T) {
	m := fit(t, trio(), examples(t, "train", 20), nil)
	m.members = m.members[:2]
	path := t.TempDir() + "/model.safetensors"
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "network 3 of 3: tensor") {
		t.Errorf("found error %v, want the missing network to be named", err)
	}
}
