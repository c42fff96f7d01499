package predictor

import (
	"context"
	"fmt"
	"math"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// Average is a mean over the images on which a measure is defined.
type Average struct {
	Mean float64 `json:"mean"` // 0 over no images
	N    int     `json:"n"`
}

// Scores compare maps with human ones, the latter scaled to [0, 1] and reduced to
// the size of the former.
type Scores struct {
	CC  Average `json:"cc"`  // Pearson's correlation; a constant map counts 0
	SIM Average `json:"sim"` // shared mass of the maps scaled to sum 1
	KL  Average `json:"kl"`  // divergence of the map from the human one, in nats
	MSE Average `json:"mse"`
	// AUC is of the map's values as a detector of human values of at least 0.5.
	AUC Average `json:"auc"`
}

// ImageScore is one held-out image's.
type ImageScore struct {
	ID      string  `json:"id"`
	CC      float64 `json:"cc"`
	MeanMap float64 `json:"mean_map"` // CC of the mean map
	// Quality is the CC that was estimated without the human map; 0 if the model
	// is not calibrated.
	Quality float64 `json:"quality"`
}

// Report says how good a predictor is on images held out, beside what costs
// nothing.
type Report struct {
	Predictor Scores `json:"predictor"`
	MeanMap   Scores `json:"mean_map"` // the mean of the training maps, for every image
	Centre    Scores `json:"centre"`   // a Gaussian in the middle, its sd a quarter of each side
	// BeatsMean reports whether the predictor's CC exceeds the mean map's on the
	// same images with 95 % confidence (Student's interval of the difference).
	BeatsMean bool `json:"beats_mean"`
	// QualityRank is Spearman's rank correlation of the estimated with the true
	// CC; 0 if either is constant or missing.
	QualityRank float64      `json:"quality_rank"`
	Blank       int          `json:"blank"` // images left out for a blank human map
	Images      []ImageScore `json:"images"`
}

// Score compares the model's maps with human maps that it has not seen. Images
// with a blank human map are left out and counted. An example that cannot be
// decoded is an *ExampleError.
func (m *Model) Score(ctx context.Context, heldOut []Example, options Options) (*Report, error) {
	r, err := m.score(ctx, heldOut, options)
	if err != nil {
		return nil, fmt.Errorf("score the predictor: %w", err)
	}
	return r, nil
}

func (m *Model) score(ctx context.Context, heldOut []Example, options Options) (*Report, error) {
	cfg := m.cfg
	cfg.Workers = options.internal().Workers
	samples, err := load(ctx, cfg, heldOut)
	if err != nil {
		return nil, err
	}
	found, err := m.predictAll(ctx, samples, options)
	if err != nil {
		return nil, err
	}
	s := newScoring(cfg)
	for i, p := range found {
		s.add(samples[i], p.shown, m.calibration.quality(p.evidence), m.mean)
	}
	r := s.report()
	return &r, nil
}

// scoring gathers the scores of images.
type scoring struct {
	cfg                      Config
	predictor, mean, gausses sums
	images                   []ImageScore
	calibrated               bool
	blank                    int
}

func newScoring(cfg Config) *scoring { return &scoring{cfg: cfg, calibrated: true} }

// add scores the prediction for a sample beside a mean map, which is square.
func (s *scoring) add(of *sample, shown *raster.Plane, quality float32, mean []float32) {
	if of.human == nil {
		s.blank++
		return
	}
	human := of.truth(s.cfg.resizing(), shown.W, shown.H)
	image := ImageScore{ID: of.id}
	image.CC = s.predictor.add(shown.Pix, human)
	image.MeanMap = s.mean.add(s.cfg.displayed(mean, of).Pix, human)
	s.gausses.add(centrePrior(shown.W, shown.H), human)
	if math.IsNaN(float64(quality)) {
		s.calibrated = false
	} else {
		image.Quality = float64(quality)
	}
	s.images = append(s.images, image)
}

func (s *scoring) report() Report {
	r := Report{
		Predictor: s.predictor.scores(), MeanMap: s.mean.scores(), Centre: s.gausses.scores(),
		Blank: s.blank, Images: s.images,
	}
	n := len(s.images)
	truth, estimated := make([]float64, n), make([]float64, n)
	for i, image := range s.images {
		truth[i], estimated[i] = image.CC, image.Quality
	}
	r.BeatsMean = r.gain().Low > 0
	if rank := metric.Spearman(estimated, truth); s.calibrated && !math.IsNaN(rank) {
		r.QualityRank = rank
	}
	return r
}

// centrePrior is a Gaussian in the middle of w x h pixels, its sd a quarter of
// each side.
func centrePrior(w, h int) []float32 {
	p := make([]float32, w*h)
	profile := func(i, n int) float64 {
		z := ((float64(i)+0.5)/float64(n) - 0.5) * 4
		return math.Exp(-z * z / 2)
	}
	for i := range p {
		p[i] = float32(profile(i/w, h) * profile(i%w, w))
	}
	return p
}

// sums add up the measures of one kind of map.
type sums struct{ cc, sim, kl, mse, auc sum }

// sum is over the values that are defined.
type sum struct {
	total float64
	n     int
}

func (s *sum) add(v float64) {
	if !math.IsNaN(v) {
		s.total += v
		s.n++
	}
}

func (s sum) average() Average { return Average{s.total / float64(max(s.n, 1)), s.n} }

// marked is the human value from which a pixel counts as one to be found.
const marked = 0.5

// add scores a map and returns its CC.
func (s *sums) add(predicted, human []float32) float64 {
	cc := correlation(predicted, human)
	s.cc.add(cc)
	s.sim.add(metric.SIM(predicted, human))
	s.kl.add(metric.KL(predicted, human))
	s.mse.add(metric.MSE(predicted, human))
	s.auc.add(metric.MapAUC(predicted, human, marked))
	return cc
}

func (s *sums) scores() Scores {
	return Scores{s.cc.average(), s.sim.average(), s.kl.average(), s.mse.average(), s.auc.average()}
}
