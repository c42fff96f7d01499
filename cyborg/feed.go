package cyborg

import (
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// feed fills the batches of a training. A batch holds what comes next in the
// endless row of shuffled epochs: it may begin in one epoch and end in the next.
type feed struct {
	cfg  Config
	data *Data
	plan *plan
	seed uint64 // of the run
	grid int    // side of the CAM; 0 where no map guides it

	position int // of what next gives
	next     func() (source, error, bool)
	stop     func()
}

// place is what one slot of a batch shows.
type place struct {
	source
	epoch int
}

// fill makes the batch of a step. It depends on the seed, the run and the step,
// and on the arm only in its maps.
func (f *feed) fill(ctx context.Context, step int, b nn.ImageBatch) error {
	var group errgroup.Group
	group.SetLimit(f.cfg.Workers)
	for i := range f.cfg.Batch {
		p, err := f.at(ctx, step*f.cfg.Batch+i)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error { return f.show(p, f.lossWeights(step, p.row), i, b) })
	}
	return group.Wait()
}

// lossWeights are those of the parts of an image's loss.
type lossWeights struct{ ce, distance float32 }

// lossWeights are those of a row with a map, in a step: alpha, and 1 - alpha times the
// weight of its map. Where nothing guides at all, the cross-entropy counts alone.
func (f *feed) lossWeights(step, row int) lossWeights {
	trust := 1 - f.cfg.Discount
	if f.plan.drawn == f.plan.mapped && trust*float64(f.plan.drawn) == 0 {
		return lossWeights{1, 0}
	}
	human, drawn := f.plan.weights(trust, f.cfg.Batch)
	weight := human
	if f.plan.isDrawn(row) {
		weight = drawn
	}
	alpha := f.cfg.alpha(step, f.steps())
	return lossWeights{float32(alpha), float32((1 - alpha) * weight)}
}

// at reads what is at a position.
func (f *feed) at(ctx context.Context, position int) (place, error) {
	epoch := position / f.plan.n
	if f.next == nil || position != f.position || position%f.plan.n == 0 {
		f.open(ctx, epoch, position%f.plan.n)
	}
	f.position = position + 1
	s, err, _ := f.next()
	return place{s, epoch}, err
}

// open begins to read an epoch, at an offset.
func (f *feed) open(ctx context.Context, epoch, offset int) {
	f.close()
	rows := storage.Order(f.plan.groups, f.plan.keep, f.seed, epoch, storage.DefaultWindow)[offset:]
	items := make([]item, len(rows))
	for i, row := range rows {
		items[i].row = row
		if f.plan.guided {
			items[i].guide = f.plan.guide(row)
		}
	}
	f.next, f.stop = iter.Pull2(f.data.read(ctx, items))
}

// close ends the reading.
func (f *feed) close() {
	if f.stop != nil {
		f.stop()
		f.next, f.stop = nil, nil
	}
}

// show writes slot i of a batch. The weights are those of an image with a map; one
// without has no distance from it.
func (f *feed) show(p place, w lossWeights, i int, b nn.ImageBatch) error {
	m, err := f.data.decode(p.source)
	if err != nil {
		return err
	}
	view := raster.Augment(f.cfg.Augment).Draw(random(f.seed, p.epoch, p.row))
	if err := f.image(b, i, p.row, view, m); err != nil {
		return err
	}
	x := b.Batch
	x[labelInput][i] = float32(p.label)
	x[ceWeightInput][i] = 1
	if f.cfg.Entropy > 0 {
		x[entropyWeightInput][i] = float32(f.cfg.Entropy)
	}
	if f.grid == 0 {
		return nil
	}
	x[ceWeightInput][i], x[mapWeightInput][i] = w.ce, 0
	if f.target(x[mapInput][i*f.grid*f.grid:(i+1)*f.grid*f.grid], f.grid, view, m.human) {
		x[mapWeightInput][i] = w.distance
	}
	return nil
}

// image gives slot i of a batch a view of a row's image, blurred where the same view of
// its map is low if the configuration says so.
func (f *feed) image(b nn.ImageBatch, i, row int, view raster.View, m decoded) error {
	size := f.cfg.Size
	if f.cfg.Blur == 0 {
		return b.Show(imageInput, i, raster.SeenImage{Image: m.image, View: view, Side: size})
	}
	dst := b.Batch[imageInput][3*i*size*size : 3*(i+1)*size*size]
	m.image.View(dst, size, view)
	sharp := make([]float32, size*size)
	if sigma := f.blur(row); f.target(sharp, size, view, m.human) && sigma > 0 {
		raster.BlurOutside(dst, sharp, size, size, sigma)
	}
	raster.Normalize(dst)
	return nil
}

// blur is how far a row's image is blurred: the less, the less its map is trusted.
func (f *feed) blur(row int) float64 {
	if f.plan.isDrawn(row) {
		return f.cfg.Blur * (1 - f.cfg.Discount)
	}
	return f.cfg.Blur
}

// target writes what the arm makes of a view of a map, as writeTarget.
func (f *feed) target(dst []float32, side int, view raster.View, human *raster.Plane) bool {
	shows := writeTarget(dst, side, view, human)
	if f.plan.arm == Inverted {
		for k, v := range dst {
			dst[k] = 1 - v
		}
	}
	return shows
}

// writeTarget writes a view of an image's map in [0, 1], (grid, grid), and
// reports whether there is something to be seen in it.
func writeTarget(dst []float32, grid int, view raster.View, human *raster.Plane) bool {
	if human == nil {
		clear(dst)
		return false
	}
	view.Map(dst, grid, grid, human)
	return raster.MinMax(dst)
}

// steps is the number of steps that show every training sample Config.Epochs
// times; what the last batch lacks comes from the next epoch.
func (f *feed) steps() int { return (f.cfg.Epochs*f.plan.n + f.cfg.Batch - 1) / f.cfg.Batch }

// epochs is the number of epochs that are complete after some steps.
func (f *feed) epochs(steps int) int { return min(steps*f.cfg.Batch/f.plan.n, f.cfg.Epochs) }
