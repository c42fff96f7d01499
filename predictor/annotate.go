package predictor

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/raster"
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

// chunkBytes bounds the encoded images of a chunk, whatever their number.
const chunkBytes = 16 << 20

// Annotate draws a map for every sample, in order. Reading, computing and the
// caller's loop overlap; at most three chunks for each worker, of Options.Batch
// samples and about 16 MiB each, are in memory at any time.
//
// A sample whose image cannot be decoded comes with a *SampleError and an empty
// Map; all other errors, such as those of the input or the context's, end the
// stream. The input is read from another goroutine, which ends before the stream
// does.
func (m *Model) Annotate(ctx context.Context, in iter.Seq2[storage.Sample, error], options Options) iter.Seq2[Prediction, error] {
	return func(yield func(Prediction, error) bool) {
		t, err := m.team(max(options.Workers, 1)*options.batch(), options)
		if err != nil {
			yield(Prediction{}, fmt.Errorf("annotate: %w", err))
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		group, running := errgroup.WithContext(ctx)
		a := &annotation{model: m, team: t, ordered: make(chan *chunk, len(t.members)), queue: make(chan *chunk)}
		group.Go(func() error { return a.read(running, in) })
		for _, d := range t.members {
			group.Go(func() error { return a.work(running, d) })
		}
		end := a.deliver(running, yield)
		if end == left {
			cancel()
		}
		err = group.Wait()
		if err == nil && end == broken {
			err = ctx.Err()
		}
		if err != nil && end != left {
			yield(Prediction{}, fmt.Errorf("annotate: %w", err))
		}
	}
}

// annotation is a stream under way.
type annotation struct {
	model   *Model
	team    *team
	ordered chan *chunk // for the caller; its capacity bounds what is in flight
	queue   chan *chunk // for the workers
}

// chunk is some samples in a row.
type chunk struct {
	samples []storage.Sample
	bytes   int
	results []result
	done    chan struct{} // closed when results are there
}

type result struct {
	prediction Prediction
	err        error
}

// read cuts the input into chunks. Where it cuts depends on the samples alone.
func (a *annotation) read(ctx context.Context, in iter.Seq2[storage.Sample, error]) error {
	defer close(a.ordered)
	defer close(a.queue)
	c := newChunk()
	for s, err := range in {
		if err != nil {
			return err
		}
		c.samples = append(c.samples, s)
		c.bytes += len(s.Image.Bytes)
		if len(c.samples) < a.team.batch && c.bytes < chunkBytes {
			continue
		}
		if err := a.send(ctx, c); err != nil {
			return err
		}
		c = newChunk()
	}
	if len(c.samples) == 0 {
		return nil
	}
	return a.send(ctx, c)
}

func newChunk() *chunk { return &chunk{done: make(chan struct{})} }

func (a *annotation) send(ctx context.Context, c *chunk) error {
	for _, to := range []chan *chunk{a.ordered, a.queue} {
		select {
		case to <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// work decodes, predicts and encodes chunks on one core.
func (a *annotation) work(ctx context.Context, d drawer) error {
	for c := range a.queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.annotate(c, d); err != nil {
			return err
		}
		close(c.done)
	}
	return nil
}

func (a *annotation) annotate(c *chunk, d drawer) error {
	c.results = make([]result, len(c.samples))
	for i, s := range c.samples {
		r := &c.results[i]
		r.prediction = Prediction{Sample: s, Quality: storage.NoQuality()}
		image, err := decodeImage(s.Image, a.model.cfg)
		if err != nil {
			r.err = &SampleError{s.ID, err}
			continue
		}
		d.show(i, image)
	}
	d.run()
	for i := range c.results {
		r := &c.results[i]
		if r.err != nil {
			continue
		}
		p := d.prediction(i)
		var err error
		if r.prediction.Map, err = encode(p.shown, r.prediction.Sample.ID); err != nil {
			return fmt.Errorf("sample %q: %w", r.prediction.Sample.ID, err)
		}
		r.prediction.Quality = a.model.calibration.quality(p.evidence)
	}
	return nil
}

// encode writes the map of a sample as a file.
func encode(shown *raster.Plane, id string) (storage.Encoded, error) {
	data, err := raster.EncodeMap(shown)
	if err != nil {
		return storage.Encoded{}, err
	}
	return storage.MapFile(id, data), nil
}

// ending is how the delivery of a stream ended.
type ending uint8

const (
	complete ending = iota
	broken          // by an error or the context
	left            // by the caller
)

// deliver yields the results in order.
func (a *annotation) deliver(ctx context.Context, yield func(Prediction, error) bool) ending {
	for c := range a.ordered {
		select {
		case <-c.done:
		case <-ctx.Done():
			return broken
		}
		for i, r := range c.results {
			c.results[i], c.samples[i] = result{}, storage.Sample{} // the caller's alone from here
			if !yield(r.prediction, r.err) {
				return left
			}
		}
	}
	return complete
}
