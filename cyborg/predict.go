package cyborg

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
	"github.com/surrogaze/surrogaze/storage"
)

// Prediction is what a model says of a sample.
type Prediction struct {
	// Sample is the sample as it came.
	Sample storage.Sample
	Logits []float32 // of each class
	Scores []float64 // probability of each class
	Class  int       // of the highest logit
	// CAM is the class activation map of Class as a 16-bit grey PNG over the whole
	// displayed image, as coarse as the network's last features.
	CAM storage.Encoded
}

// Predict judges every sample, in order and in bounded memory: at most three chunks
// for each worker, or twelve on a GPU, of Options.Batch samples and about 16 MiB each, at
// any time.
//
// A sample whose image cannot be decoded comes with a *SampleError and nothing but
// itself; all other errors, such as those of the input or the context's, end the
// stream. The input is read from another goroutine, which ends before the stream does.
func (m *Model) Predict(ctx context.Context, in iter.Seq2[storage.Sample, error], options Options) iter.Seq2[Prediction, error] {
	return func(yield func(Prediction, error) bool) {
		p, err := newPanel(evaluationGraph, m.cfg, m.params, len(m.classes), unbounded, options.batch(), true, options.finished())
		if err != nil {
			yield(Prediction{}, fmt.Errorf("predict: %w", err))
			return
		}
		var workers []func([]storage.Sample) ([]verdict, error)
		for _, member := range p.members {
			workers = append(workers, func(chunk []storage.Sample) ([]verdict, error) { return p.predict(member, chunk) })
		}
		cut := streams.Chunks[storage.Sample]{Elements: p.batch, Bytes: func(s storage.Sample) int { return len(s.Image.Bytes) }}
		for r, err := range streams.Map(ctx, in, cut, workers) {
			if err != nil {
				yield(Prediction{}, fmt.Errorf("predict: %w", err))
				return
			}
			if !yield(r.prediction, r.err) {
				return
			}
		}
	}
}

// unbounded is the length of a stream that nobody knows.
const unbounded = 1 << 30

// verdict is a prediction, or why there is none.
type verdict struct {
	prediction Prediction
	err        error
}

// predict judges at most a batch of samples by one member.
func (p *panel) predict(m *member, samples []storage.Sample) ([]verdict, error) {
	results, pixels := make([]verdict, len(samples)), make([]decoded, len(samples))
	return results, m.look(len(samples), func(i int) (raster.Prepared, int64, error) {
		s := samples[i]
		results[i].prediction.Sample = s
		var err error
		if pixels[i], err = decodeImage(s.Image, p.resizing.PrepareWhole, m.cfg.Size); err != nil {
			results[i].err = &SampleError{s.ID, err}
		}
		return pixels[i].image, storage.NoLabel, nil
	}, func(i int, r result) error {
		if err := results[i].prediction.take(r, p, pixels[i]); err != nil {
			return fmt.Errorf("sample %q: %w", samples[i].ID, err)
		}
		return nil
	})
}

// take fills in what the network says.
func (x *Prediction) take(r result, p *panel, of decoded) error {
	x.Logits = slices.Clone(r.logits)
	x.Scores, _ = softmax(r.logits)
	if x.Class = slices.Index(r.logits, slices.Max(r.logits)); x.Class < 0 {
		return fmt.Errorf("found the logits %v, want numbers", r.logits)
	}
	cam, err := raster.EncodeMap(p.shown(slices.Clone(r.cam), of))
	x.CAM = storage.Encoded{Bytes: cam}
	return err
}
