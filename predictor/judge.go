package predictor

import (
	"context"
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Judge compares the maps of an annotator that is no Model with human ones, in the
// ways of FitFolds and Score.
type Judge struct {
	cfg     Config
	samples []*sample
	of      []int
}

// NewJudge judges an annotator that learns from examples. Of the configuration it
// looks at Size, which is the longer side of the maps, Resize, Folds, Seed and
// Workers. At least three examples are needed.
func NewJudge(ctx context.Context, cfg Config, examples []Example) (*Judge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	samples, err := load(ctx, cfg, examples)
	if err != nil {
		return nil, err
	}
	of, err := folds(samples, cfg.Folds, cfg.Seed)
	if err != nil {
		return nil, err
	}
	return &Judge{cfg, samples, of}, nil
}

// Folds are the parts of the examples, from 0: those of a group are in one, unless
// there are fewer than three groups. The caller does not change them.
func (j *Judge) Folds() []int { return j.of }

// OutOfFold judges a map for each example, drawn by an annotator that learnt from
// the examples of the other folds. A map has the image's aspect ratio.
func (j *Judge) OutOfFold(maps []storage.Encoded) (*Folds, error) {
	found, err := j.read(j.samples, maps)
	if err != nil {
		return nil, fmt.Errorf("judge maps out of fold: %w", err)
	}
	means := make([][]float32, slices.Max(j.of)+1)
	for fold := range means {
		means[fold] = j.meanMap(func(i int) bool { return j.of[i] != fold })
	}
	return pool(j.cfg, j.samples, j.of, found, means)
}

// Score compares maps with the human maps of other examples, as Model.Score does.
func (j *Judge) Score(ctx context.Context, heldOut []Example, maps []storage.Encoded, c *Calibration) (*Report, error) {
	samples, err := load(ctx, j.cfg, heldOut)
	if err != nil {
		return nil, err
	}
	found, err := j.read(samples, maps)
	if err != nil {
		return nil, fmt.Errorf("judge maps: %w", err)
	}
	mean := j.meanMap(func(int) bool { return true })
	s := newScoring(j.cfg)
	for i, p := range found {
		s.add(samples[i], p.shown, c.quality(p.evidence), mean)
	}
	r := s.report()
	return &r, nil
}

// meanMap is the mean of the human maps that are kept and show something; zeros if
// there are none.
func (j *Judge) meanMap(keep func(i int) bool) []float32 {
	var kept []*sample
	for i, s := range j.samples {
		if keep(i) && s.human != nil {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return make([]float32, j.cfg.Size*j.cfg.Size)
	}
	return meanMap(kept, j.cfg.Size)
}

// read takes maps as predictions for samples.
func (j *Judge) read(samples []*sample, maps []storage.Encoded) ([]prediction, error) {
	found := make([]prediction, len(samples))
	for i, s := range samples {
		shown, err := raster.DecodeMap(maps[i].Bytes)
		if err != nil {
			return nil, &ExampleError{s.id, fmt.Errorf("map: %w", err)}
		}
		want := j.cfg.displayed(make([]float32, j.cfg.Size*j.cfg.Size), s)
		if shown.W != want.W || shown.H != want.H {
			return nil, &ExampleError{s.id, fmt.Errorf("map: found %d x %d pixels, want %d x %d", shown.W, shown.H, want.W, want.H)}
		}
		found[i] = prediction{shown: shown, evidence: gather(shown.Pix, 1)}
	}
	return found, nil
}

// Quality estimates the CC of a map, in [-1, 1]; NaN without a calibration. The
// agreement with the map of the mirrored image, of which a file tells nothing, counts
// as full.
func (c *Calibration) Quality(m storage.Encoded) (float32, error) {
	p, err := raster.DecodeMap(m.Bytes)
	if err != nil {
		return storage.NoQuality(), err
	}
	return c.quality(gather(p.Pix, 1)), nil
}
