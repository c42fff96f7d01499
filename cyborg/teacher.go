package cyborg

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
	"github.com/surrogaze/surrogaze/storage"
)

// Teacher draws saliency maps with classifiers that learnt from human maps where to
// look, for other classifiers to learn from (Teaching AI to Teach, BMVC 2023,
// arXiv 2306.05527). A map is that of a sample's own class, where it has a label and
// Config.CAMClass is not "predicted", else of the class that the classifiers together find
// most probable. Each classifier's map is scaled to [0, 1] by its minimum and maximum;
// the mean of them is so again.
type Teacher struct {
	models []*Model
	rise   *RISE
	mirror bool
}

// NewTeacher makes a teacher of at least one classifier; all have the same classes,
// and see images of one size and resizing. Maps are class activation maps, or those
// of rise if that is not nil; with mirror the mean of those of the image and of its
// mirror image.
func NewTeacher(models []*Model, rise *RISE, mirror bool) (*Teacher, error) {
	if len(models) == 0 {
		return nil, errors.New("teacher: found no classifier, want at least one")
	}
	first := models[0]
	for _, m := range models {
		if m.cfg.Size != first.cfg.Size || m.cfg.Resize != first.cfg.Resize || !slices.Equal(m.classes, first.classes) {
			return nil, fmt.Errorf("teacher: found classifiers of %q in %d pixels (%s) and of %q in %d pixels (%s), want all alike",
				first.classes, first.cfg.Size, first.cfg.Resize, m.classes, m.cfg.Size, m.cfg.Resize)
		}
	}
	if rise != nil {
		if err := rise.validate(first.cfg.Size); err != nil {
			return nil, fmt.Errorf("teacher: RISE: %w", err)
		}
	}
	return &Teacher{models, rise, mirror}, nil
}

// Annotation is a map for a sample.
type Annotation struct {
	// Sample is the sample as it came; its own map, if any, is untouched.
	Sample storage.Sample
	// Map is a 16-bit grey PNG in the image's aspect ratio, its longer side
	// Config.Size pixels long.
	Map storage.Encoded
}

// Annotate draws a map for every sample, in order. Reading, computing and the caller's
// loop overlap; at most three chunks for each worker, or twelve on a GPU, of Options.Batch
// samples and about 16 MiB each, are in memory at any time.
//
// A sample whose image cannot be decoded comes with a *SampleError and an empty Map;
// all other errors, such as those of the input or the context's, end the stream. The
// input is read from another goroutine, which ends before the stream does.
func (t *Teacher) Annotate(ctx context.Context, in iter.Seq2[storage.Sample, error], options Options) iter.Seq2[Annotation, error] {
	return func(yield func(Annotation, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		workers, err := t.workers(ctx, options)
		if err != nil {
			yield(Annotation{}, fmt.Errorf("annotate: %w", err))
			return
		}
		cut := streams.Chunks[storage.Sample]{Elements: options.batch(), Bytes: func(s storage.Sample) int { return len(s.Image.Bytes) }}
		for d, err := range streams.Map(ctx, in, cut, workers) {
			if err != nil {
				yield(Annotation{}, fmt.Errorf("annotate: %w", err))
				return
			}
			if !yield(d.Annotation, d.err) {
				cancel() // of what is being drawn
				return
			}
		}
	}
}

// drawing is what became of a sample.
type drawing struct {
	Annotation
	err error
}

// workers draw chunks side by side.
func (t *Teacher) workers(ctx context.Context, options Options) ([]func([]storage.Sample) ([]drawing, error), error) {
	drawers, err := t.newDrawers(options.batch(), options.finished())
	if err != nil {
		return nil, err
	}
	var list []func([]storage.Sample) ([]drawing, error)
	for _, d := range drawers {
		list = append(list, func(chunk []storage.Sample) ([]drawing, error) { return d.draw(ctx, chunk) })
	}
	return list, nil
}

// drawer draws batches of samples.
type drawer struct {
	cfg     Config
	cores   streams.Cores
	members []*member // of each classifier
	mappers []mapper  // of each classifier
	mirror  bool
	images  []float32 // (batch, 3, size, size)
	one     []float32 // maps of a mapper, (batch, size, size)
	sum     []float32 // likewise
}

// mapper draws the maps of a classifier over the square.
type mapper interface {
	// draw writes the maps of the classes, (n, size, size), of n images,
	// (n, 3, size, size), as finely as it can and not yet scaled.
	draw(ctx context.Context, images []float32, classes []int64, maps []float32) error
}

// newDrawers makes drawers that work side by side.
func (t *Teacher) newDrawers(batch int, options nn.Options) ([]*drawer, error) {
	var drawers []*drawer
	for _, m := range t.models {
		p, err := newPanel(pixelGraph, m.cfg, m.params, len(m.classes), unbounded, batch, t.rise == nil, options)
		if err != nil {
			return nil, err
		}
		for i, one := range p.members {
			if i == len(drawers) {
				drawers = append(drawers, t.newDrawer(batch, one.cores))
			}
			d := drawers[i]
			d.members = append(d.members, one)
			if t.rise != nil {
				d.mappers = append(d.mappers, &riseMapper{*t.rise, one, batch})
			} else {
				d.mappers = append(d.mappers, &camMapper{one})
			}
		}
	}
	return drawers, nil
}

// newDrawer makes one without classifiers.
func (t *Teacher) newDrawer(batch int, cores streams.Cores) *drawer {
	cfg := t.models[0].cfg
	plane := cfg.Size * cfg.Size
	return &drawer{
		cfg: cfg, cores: cores, mirror: t.mirror,
		images: make([]float32, 3*batch*plane), one: make([]float32, batch*plane), sum: make([]float32, batch*plane),
	}
}

// draw draws samples, a batch at most.
func (d *drawer) draw(ctx context.Context, samples []storage.Sample) ([]drawing, error) {
	results, pixels := d.decode(samples)
	var shown []int // the samples whose images can be decoded
	for i, r := range results {
		if r.err == nil {
			shown = append(shown, i)
		}
	}
	if len(shown) == 0 {
		return results, nil
	}
	plane := d.cfg.Size * d.cfg.Size
	images, sum := d.images[:3*len(shown)*plane], d.sum[:len(shown)*plane]
	err := d.cores.Each(len(shown), func(k int) error {
		raster.SeenImage{Image: pixels[shown[k]].image, Side: d.cfg.Size}.Draw(images[3*k*plane : 3*(k+1)*plane])
		return nil
	})
	if err != nil {
		return nil, err
	}
	classes, err := d.classes(images, samples, shown)
	if err != nil {
		return nil, err
	}
	if err := d.average(ctx, images, classes, sum); err != nil {
		return nil, err
	}
	return results, d.cores.Each(len(shown), func(k int) error {
		i := shown[k]
		var err error
		if results[i].Map, err = d.encode(sum[k*plane:(k+1)*plane], pixels[i], samples[i].ID); err != nil {
			err = fmt.Errorf("sample %q: %w", samples[i].ID, err)
		}
		return err
	})
}

// decode turns the samples' files into pixels, or tells why it cannot.
func (d *drawer) decode(samples []storage.Sample) ([]drawing, []decoded) {
	results, pixels := make([]drawing, len(samples)), make([]decoded, len(samples))
	_ = d.cores.Each(len(samples), func(i int) error {
		results[i].Sample = samples[i]
		var err error
		if pixels[i], err = decodeImage(samples[i].Image, d.cfg.resizing().PrepareWhole, d.cfg.Size); err != nil {
			results[i].err = &SampleError{samples[i].ID, err}
		}
		return nil
	})
	return results, pixels
}

// classes are those whose maps are drawn.
func (d *drawer) classes(images []float32, samples []storage.Sample, shown []int) ([]int64, error) {
	n := d.members[0].classes
	list, open := make([]int64, len(shown)), false
	for k, i := range shown {
		list[k] = samples[i].Label
		if d.cfg.CAMClass == predictedCAM || list[k] >= int64(n) {
			list[k] = storage.NoLabel
		}
		open = open || list[k] == storage.NoLabel
	}
	if !open {
		return list, nil
	}
	sums := make([]float64, len(shown)*n)
	for _, m := range d.members {
		copy(m.Begin().Batch[imageInput], images)
		if err := m.Run(); err != nil {
			return nil, err
		}
		logits := m.Output(logitsOutput)
		for k := range shown {
			scores, _ := softmax(logits[k*n : (k+1)*n])
			for class, p := range scores {
				sums[k*n+class] += p
			}
		}
	}
	for k := range list {
		if list[k] == storage.NoLabel {
			list[k] = highest(sums[k*n : (k+1)*n])
		}
	}
	return list, nil
}

// highest is the class of the highest value; the first one where they are no numbers.
func highest(values []float64) int64 {
	best := 0
	for class, v := range values {
		if v > values[best] {
			best = class
		}
	}
	return int64(best)
}

// average writes the mean of all classifiers' maps, each scaled to [0, 1].
func (d *drawer) average(ctx context.Context, images []float32, classes []int64, sum []float32) error {
	clear(sum)
	plane := d.cfg.Size * d.cfg.Size
	for range d.directions() {
		for _, m := range d.mappers {
			maps := d.one[:len(sum)]
			if err := m.draw(ctx, images, classes, maps); err != nil {
				return err
			}
			err := d.cores.Each(len(classes), func(k int) error {
				d.add(sum[k*plane:(k+1)*plane], maps[k*plane:(k+1)*plane])
				return nil
			})
			if err != nil {
				return err
			}
		}
		if !d.mirror {
			continue
		}
		err := d.cores.Each(len(classes), func(k int) error { // twice is as it was
			raster.Mirror(images[3*k*plane:3*(k+1)*plane], d.cfg.Size)
			raster.Mirror(sum[k*plane:(k+1)*plane], d.cfg.Size)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds the share of one map, scaled to [0, 1], to the mean.
func (d *drawer) add(sum, one []float32) {
	raster.MinMax(one)
	for i, v := range one {
		sum[i] += v / float32(d.directions()*len(d.mappers))
	}
}

// directions is the number of ways in which an image is looked at.
func (d *drawer) directions() int {
	if d.mirror {
		return 2
	}
	return 1
}

// encode writes the part of a map that lies over the image as a file.
func (d *drawer) encode(square []float32, of decoded, id string) (storage.Encoded, error) {
	shown := d.cfg.resizing().Restore(&raster.Plane{W: d.cfg.Size, H: d.cfg.Size, Pix: square}, of.width, of.height)
	raster.MinMax(shown.Pix)
	data, err := raster.EncodeMap(shown)
	if err != nil {
		return storage.Encoded{}, err
	}
	return storage.MapFile(id, data), nil
}

// camMapper draws class activation maps.
type camMapper struct{ *member }

func (m *camMapper) draw(_ context.Context, images []float32, classes []int64, maps []float32) error {
	b := m.Begin().Batch
	copy(b[imageInput], images)
	labels := b[labelInput]
	for i, class := range classes {
		labels[i] = float32(class)
	}
	if err := m.Run(); err != nil {
		return err
	}
	cams, cells, plane := m.Output(trueOutput), m.grid*m.grid, m.cfg.Size*m.cfg.Size
	return m.cores.Each(len(classes), func(i int) error {
		cam := &raster.Plane{W: m.grid, H: m.grid, Pix: cams[i*cells : (i+1)*cells]}
		raster.ResizeMap(maps[i*plane:(i+1)*plane], m.cfg.Size, m.cfg.Size, cam)
		return nil
	})
}
