package predictor

import (
	"context"
	"fmt"
	"iter"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
	"github.com/surrogaze/surrogaze/storage"
)

// Prediction is a map for a sample.
type Prediction struct {
	// Sample is the sample as it came; its own map, if any, is untouched.
	Sample storage.Sample
	// Map is a 16-bit grey PNG in the image's aspect ratio, its longer side
	// Config.Size pixels long.
	Map storage.Encoded
	// Quality is the estimated CC of Map with what a human would have drawn, in
	// [-1, 1]; NaN if the model is not calibrated.
	Quality float32
}

// SampleError is a sample that gets no map, because its image cannot be decoded.
// The stream goes on after it.
type SampleError struct {
	ID  string
	Err error
}

func (e *SampleError) Error() string { return fmt.Sprintf("sample %q: %v", e.ID, e.Err) }

// Unwrap is the reason.
func (e *SampleError) Unwrap() error { return e.Err }

// Annotate draws a map for every sample, in order. Reading, computing and the
// caller's loop overlap; at most three chunks for each worker, or twelve on a GPU, of
// Options.Batch samples and about 16 MiB each, are in memory at any time.
//
// A sample whose image cannot be decoded comes with a *SampleError and an empty
// Map; all other errors, such as those of the input or the context's, end the
// stream. The input is read from another goroutine, which ends before the stream
// does.
func (m *Model) Annotate(ctx context.Context, in iter.Seq2[storage.Sample, error], options Options) iter.Seq2[Prediction, error] {
	return func(yield func(Prediction, error) bool) {
		t, err := m.team(unbounded, options)
		if err != nil {
			yield(Prediction{}, fmt.Errorf("annotate: %w", err))
			return
		}
		var workers []func([]storage.Sample) ([]result, error)
		for _, drawing := range t.members {
			workers = append(workers, func(chunk []storage.Sample) ([]result, error) { return m.annotate(chunk, drawing) })
		}
		cut := streams.Chunks[storage.Sample]{Elements: t.batch, Bytes: func(s storage.Sample) int { return len(s.Image.Bytes) }}
		for r, err := range streams.Map(ctx, in, cut, workers) {
			if err != nil {
				yield(Prediction{}, fmt.Errorf("annotate: %w", err))
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

type result struct {
	prediction Prediction
	err        error
}

// annotate decodes, predicts and encodes a chunk.
func (m *Model) annotate(samples []storage.Sample, by member) ([]result, error) {
	results := make([]result, len(samples))
	err := by.draw(len(samples), func(i int) *sample {
		r := &results[i]
		r.prediction = Prediction{Sample: samples[i], Quality: storage.NoQuality()}
		image, err := decodeImage(samples[i].Image, m.cfg, m.cfg.resizing().PrepareWhole)
		if err != nil {
			r.err = &SampleError{samples[i].ID, err}
		}
		return image
	}, func(i int, p prediction) error {
		r := &results[i].prediction
		r.Quality = m.calibration.quality(p.evidence)
		var err error
		if r.Map, err = encode(p.shown, samples[i].ID); err != nil {
			err = fmt.Errorf("sample %q: %w", samples[i].ID, err)
		}
		return err
	})
	return results, err
}

// encode writes the map of a sample as a file.
func encode(shown *raster.Plane, id string) (storage.Encoded, error) {
	data, err := raster.EncodeMap(shown)
	if err != nil {
		return storage.Encoded{}, err
	}
	return storage.MapFile(id, data), nil
}
