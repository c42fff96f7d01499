package predictor

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// disc is a square map with a disc around (x, y), in shares of the side.
func disc(size int, x, y float64) []float32 {
	p := make([]float32, size*size)
	for i := range p {
		dx, dy := (float64(i%size)+0.5)/float64(size)-x, (float64(i/size)+0.5)/float64(size)-y
		if math.Hypot(dx, dy) < 0.2 {
			p[i] = 1
		}
	}
	return p
}

// plane is a square map of 16 x 16 pixels.
func plane(pix []float32) *raster.Plane { return &raster.Plane{W: 16, H: 16, Pix: pix} }

// scored are the scores of predictions for human maps with discs in ten places.
func scored(predict func(human []float32, i int) []float32) Report {
	const size = 16
	s := newScoring(tiny())
	for i := range 10 {
		human := disc(size, 0.3+0.04*float64(i), 0.7-0.03*float64(i))
		of := &sample{id: "x", width: 32, height: 32, human: plane(human)}
		s.add(of, plane(predict(human, i)), float32(i)/10, disc(size, 0.3, 0.3))
	}
	s.add(&sample{id: "blank", width: 32, height: 32}, plane(disc(size, 0.5, 0.5)), 0, disc(size, 0.3, 0.3))
	return s.report()
}

func TestAPerfectPredictorHasPerfectScores(t *testing.T) {
	r := scored(func(human []float32, _ int) []float32 { return human })
	near := func(a Average, want float64) bool { return math.Abs(a.Mean-want) < 1e-9 && a.N == 10 }
	if s := r.Predictor; !near(s.CC, 1) || !near(s.SIM, 1) || !near(s.KL, 0) || !near(s.MSE, 0) || !near(s.AUC, 1) {
		t.Errorf("found %+v, want 1, 1, 0, 0, 1 over 10 images", s)
	}
	if r.Blank != 1 || len(r.Images) != 10 || !r.BeatsMean {
		t.Errorf("found %d blank, %d images, beats the mean: %v, want 1, 10, true", r.Blank, len(r.Images), r.BeatsMean)
	}
}

func TestQualityRankIsHighWhereTheEstimateIsInOrder(t *testing.T) {
	r := scored(func(human []float32, i int) []float32 { // the higher i, the less noise
		noisy, rng := slices.Clone(human), rand.New(rand.NewPCG(1, 1))
		for k := range noisy {
			noisy[k] += float32(10-i) * 0.1 * rng.Float32()
		}
		return noisy
	})
	if r.QualityRank < 0.9 {
		t.Errorf("found rank correlation %v, want at least 0.9", r.QualityRank)
	}
}

func TestTheMeanMapDoesNotBeatItself(t *testing.T) {
	if scored(func([]float32, int) []float32 { return disc(16, 0.3, 0.3) }).BeatsMean {
		t.Error("it does")
	}
}

func TestAReportCanAlwaysBeWrittenAsJSON(t *testing.T) {
	flat := scored(func(human []float32, _ int) []float32 { return make([]float32, len(human)) })
	none := newScoring(tiny()).report()
	unsure := newScoring(tiny())
	human := plane(disc(16, 0.5, 0.5))
	unsure.add(&sample{width: 9, height: 9, human: human}, human, float32(math.NaN()), human.Pix)
	for name, r := range map[string]Report{"constant": flat, "none": none, "not calibrated": unsure.report()} {
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if flat.Predictor.CC.Mean != 0 || flat.Predictor.CC.N != 10 {
		t.Errorf("found a CC of %+v for constant maps, want 0 over 10", flat.Predictor.CC)
	}
}

func TestScoresAreTakenInTheImagesShape(t *testing.T) {
	// An image of 64 x 16 pixels, the right half of it marked, and a network that says
	// the same in its square of 16 x 16. Between the bars the image has rows 6 to 9.
	human := raster.NewPlane(64, 16)
	for i := range human.Pix {
		human.Pix[i] = float32(i % 64 / 32)
	}
	for resize, top := range map[string]int{"squash": 0, "pad": 6} {
		t.Run(resize, func(t *testing.T) {
			cfg := tiny()
			cfg.Resize = resize
			square := make([]float32, 16*16)
			for i := top * 16; i < len(square)-top*16; i++ {
				square[i] = float32(i % 16 / 8)
			}
			of := &sample{width: 64, height: 16, human: cfg.resizing().ReduceMap(human, kept*cfg.Size)}
			shown := cfg.displayed(square, of)
			if shown.W != 16 || shown.H != 4 {
				t.Fatalf("found a map of %d x %d, want 16 x 4", shown.W, shown.H)
			}
			s := newScoring(cfg)
			s.add(of, shown, 0, square)
			if r := s.report(); r.Predictor.CC.Mean < 1-1e-9 || r.MeanMap.CC.Mean < 1-1e-9 || r.Predictor.MSE.Mean > 1e-9 {
				t.Errorf("found CCs of %v and %v, want 1", r.Predictor.CC.Mean, r.MeanMap.CC.Mean)
			}
		})
	}
}

func TestScoringLeavesOutBlankMaps(t *testing.T) {
	held := examples(t, "test", 6)
	held[2].Map = blank(t)
	r, err := model(t).Score(t.Context(), held, Options{Workers: 2, Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Blank != 1 || len(r.Images) != 5 || r.Images[2].ID != held[3].ID {
		t.Errorf("found %d blank and %d images, want 1 and 5", r.Blank, len(r.Images))
	}
}

func TestTheCentrePriorIsAGaussian(t *testing.T) {
	const w, h = 17, 9
	p := centrePrior(w, h)
	// Two standard deviations from the middle lie the sides: exp(-2) there, 1 in the middle.
	side := func(n float64) float64 { return math.Exp(-2 * (n - 1) * (n - 1) / n / n) }
	middle, left, top := float64(p[4*w+8]), float64(p[4*w]), float64(p[8])
	if middle != 1 || math.Abs(left-side(w)) > 1e-6 || math.Abs(top-side(h)) > 1e-6 {
		t.Errorf("found %v in the middle, %v at the left and %v at the top, want 1, %v and %v", middle, left, top, side(w), side(h))
	}
	turned := slices.Clone(p)
	raster.Mirror(turned, w)
	for i := range p {
		if math.Abs(float64(p[i]-turned[i])) > 1e-6 || math.Abs(float64(p[i]-p[len(p)-w+i%w-i/w*w])) > 1e-6 {
			t.Fatal("it is not symmetric")
		}
	}
}

func TestEvidenceOfMapsThatAreSure(t *testing.T) {
	p := []float32{0, 1, 1, 0, 0, 0, 0, 0}
	// Expected CC 1 of a sure map; entropy log 2 of log 8; the agreement is passed on.
	want := evidence{1, 0.7, 1.0 / 3, 1}
	for k, v := range gather(p, 0.7) {
		if math.Abs(v-want[k]) > 1e-9 {
			t.Errorf("evidence %d: found %v, want %v", k, v, want[k])
		}
	}
	want = evidence{0, 0, 1, 0.5}
	for k, v := range gather([]float32{0.5, 0.5, 0.5}, 0) {
		if math.Abs(v-want[k]) > 1e-6 {
			t.Errorf("constant map: evidence %d: found %v, want %v", k, v, want[k])
		}
	}
	if got := gather(make([]float32, 4), 0); got != (evidence{}) {
		t.Errorf("map of zeros: found %v, want zeros", got)
	}
}

// judgements are n maps whose CC follows from their evidence, but for some noise.
func judgements(rng *rand.Rand, n int) []judged {
	list := make([]judged, n)
	for i := range list {
		e := evidence{rng.Float64(), rng.Float64(), rng.Float64(), 0.5}
		list[i] = judged{e, 0.3 + 0.5*e[0] - 0.2*e[2] + 0.03*rng.NormFloat64()}
	}
	return list
}

func TestACalibrationFindsWhatTheEvidenceSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := calibrate(judgements(rng, 40))
	fresh := judgements(rng, 200)
	estimated, truth := make([]float64, len(fresh)), make([]float64, len(fresh))
	for i, j := range fresh {
		estimated[i], truth[i] = float64(c.quality(j.evidence)), j.cc
	}
	if rank := metric.Spearman(estimated, truth); rank < 0.9 {
		t.Errorf("found rank correlation %v, want at least 0.9", rank)
	}
	if d := metric.PairedDifference(estimated, truth).Mean; math.Abs(d) > 0.03 {
		t.Errorf("found estimates off by %v in the mean, want at most 0.03", d)
	}
}

func TestACalibrationMinimisesItsPenalisedSquares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maps := judgements(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), rapid.IntRange(2, 30).Draw(t, "n"))
		c := calibrate(maps)
		cost := func() float64 {
			var sum float64
			for _, m := range maps {
				rest := m.cc - c.Bias
				for k, z := range c.standardise(m.evidence) {
					rest -= c.Weight[k] * z
				}
				sum += rest * rest
			}
			for _, w := range c.Weight {
				sum += ridge * w * w
			}
			return sum
		}
		least := cost()
		for k := range c.Weight {
			for _, d := range []float64{-1e-3, 1e-3} {
				c.Weight[k] += d
				if cost() < least {
					t.Fatalf("weight %d moved by %v costs %v, less than %v", k, d, cost(), least)
				}
				c.Weight[k] -= d
			}
		}
	})
}

func TestWithoutJudgedMapsThereIsNoQuality(t *testing.T) {
	if q := calibrate(nil).quality(evidence{}); !math.IsNaN(float64(q)) {
		t.Errorf("found quality %v, want NaN", q)
	}
	// One map says how good maps are, not how to tell them apart.
	c := calibrate([]judged{{evidence{0.1, 0.2, 0.3, 0.4}, 0.6}})
	if q := c.quality(evidence{9, 9, 9, 9}); q != 0.6 {
		t.Errorf("found quality %v, want 0.6", q)
	}
}

func TestQualityIsACorrelation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := calibrate(judgements(rand.New(rand.NewPCG(1, 1)), 10))
		var e evidence
		for k := range e {
			e[k] = rapid.Float64Range(-1e6, 1e6).Draw(t, "evidence")
		}
		if q := c.quality(e); !(q >= -1 && q <= 1) {
			t.Fatalf("found %v, want it in [-1, 1]", q)
		}
	})
}
