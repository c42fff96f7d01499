package predictor

import (
	"math"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/storage"
)

// TestAJudgeFindsOfFilesWhatScoreFindsOfAModel gives a judge the maps that a model has
// drawn. They are rounded to 16 bits, which moves the measures a little.
func TestAJudgeFindsOfFilesWhatScoreFindsOfAModel(t *testing.T) {
	cfg, train, held := baselineOf(pcaMethod), examples(t, "train", 40), examples(t, "val", 10)
	train[3].Map = blank(t)
	want, err := FitFolds(t.Context(), cfg, train, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	judge, err := NewJudge(t.Context(), cfg, train)
	if err != nil {
		t.Fatal(err)
	}
	var maps []storage.Encoded
	for i, p := range want.Predictions {
		maps = append(maps, p.Map)
		if judge.Folds()[i] != p.Fold {
			t.Errorf("example %d is in fold %d, want %d", i, judge.Folds()[i], p.Fold)
		}
	}
	found, err := judge.OutOfFold(maps)
	if err != nil {
		t.Fatal(err)
	}
	sameReport(t, &found.Report, &want.Report)
	for i, p := range found.Predictions {
		if w := want.Predictions[i]; string(p.Map.Bytes) != string(w.Map.Bytes) || math.Abs(float64(p.Quality-w.Quality)) > 1e-3 {
			t.Errorf("example %d has another map, or quality %v, want %v", i, p.Quality, w.Quality)
		}
	}

	m := fit(t, cfg, train, nil)
	m.Calibrate(want)
	model, err := m.Score(t.Context(), held, Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps = nil
	for _, e := range held {
		p := annotated(t, m, []storage.Sample{{ID: e.ID, Image: e.Image}}, Options{})[0]
		maps = append(maps, p.Map)
		q, err := found.Calibration().Quality(p.Map)
		if err != nil || math.Abs(float64(q-p.Quality)) > 1e-3 {
			t.Errorf("%s: found quality %v (%v), want %v", e.ID, q, err, p.Quality)
		}
	}
	judged, err := judge.Score(t.Context(), held, maps, found.Calibration())
	if err != nil {
		t.Fatal(err)
	}
	sameReport(t, judged, model)
}

func sameReport(t *testing.T, found, want *Report) {
	t.Helper()
	pairs := [][2]Average{
		{found.Predictor.CC, want.Predictor.CC}, {found.Predictor.SIM, want.Predictor.SIM}, {found.Predictor.MSE, want.Predictor.MSE},
		{found.MeanMap.CC, want.MeanMap.CC}, {found.Centre.CC, want.Centre.CC},
	}
	for i, p := range pairs {
		if p[0].N != p[1].N || math.Abs(p[0].Mean-p[1].Mean) > 1e-4 {
			t.Errorf("measure %d: found %+v, want %+v", i, p[0], p[1])
		}
	}
	if found.Blank != want.Blank || found.BeatsMean != want.BeatsMean || len(found.Images) != len(want.Images) {
		t.Errorf("found %d blank maps, beats mean %v, %d images, want %d, %v, %d",
			found.Blank, found.BeatsMean, len(found.Images), want.Blank, want.BeatsMean, len(want.Images))
	}
}

func TestAJudgeRefusesMapsThatCannotBeTheImages(t *testing.T) {
	train := examples(t, "train", 6)
	judge, err := NewJudge(t.Context(), baselineOf(meanMethod), train)
	if err != nil {
		t.Fatal(err)
	}
	maps := make([]storage.Encoded, len(train))
	for i := range maps {
		maps[i] = blank(t)
	}
	if _, err := judge.OutOfFold(maps); err == nil || !strings.Contains(err.Error(), "map: found 5 x 5 pixels, want 16 x 16") {
		t.Errorf("found error %v, want one about the map's size", err)
	}
	maps[0] = storage.Encoded{Bytes: []byte("no image")}
	if _, err := judge.OutOfFold(maps); err == nil || !strings.Contains(err.Error(), train[0].ID) {
		t.Errorf("found error %v, want one that names the example", err)
	}
	if _, err := NewJudge(t.Context(), baselineOf(meanMethod), train[:2]); err == nil {
		t.Error("found no error about too few examples")
	}
}
