package cyborg

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// loadMean makes the mean of the combined maps of all training samples. It looks
// at each once, whatever their number.
func (d *Data) loadMean(ctx context.Context, workers int) error {
	d.meanLock.Lock()
	defer d.meanLock.Unlock()
	if d.mean != nil {
		return nil
	}
	combined := newPlan(Combined, d.set, 0)
	var items []item
	for row := range combined.rows {
		if combined.keep(row) {
			items = append(items, item{-1, combined.guide(row)})
		}
	}
	sum := make([]float64, d.size*d.size)
	var batch []source
	add := func() error {
		maps, err := d.squares(ctx, batch, workers)
		for _, m := range maps {
			for i, v := range m {
				sum[i] += float64(v)
			}
		}
		batch = batch[:0]
		return err
	}
	for s, err := range d.read(ctx, items) {
		if err != nil {
			return err
		}
		if batch = append(batch, s); len(batch) == 64 {
			if err := add(); err != nil {
				return err
			}
		}
	}
	if err := add(); err != nil {
		return err
	}
	mean := raster.NewPlane(d.size, d.size)
	for i, v := range sum {
		mean.Pix[i] = float32(v / float64(max(len(items), 1)))
	}
	d.mean = mean
	return nil
}

// squares decodes maps side by side and brings them to the network's square;
// those that are blank are nil.
func (d *Data) squares(ctx context.Context, sources []source, workers int) ([][]float32, error) {
	maps := make([][]float32, len(sources))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i, s := range sources {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := d.decode(s)
			if err == nil && m.human != nil {
				maps[i] = make([]float32, d.size*d.size)
				raster.ResizeMap(maps[i], d.size, d.size, m.human)
			}
			return err
		})
	}
	return maps, group.Wait()
}
