package cyborg

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// RISE explains a classifier by what random masks leave of an image (Petsiuk, Das and
// Saenko 2018, arXiv 1806.07421):
//
//	map(x, y) = sum over masks m of p(class | image * m) * m(x, y) / (Masks * Keep)
//
// A mask begins as a grid of Cells x Cells zeros and ones, one with probability Keep.
// It is brought linearly to Cells+1 cells a side, a cell being the image's side over
// Cells, rounded up, and cut to the image at a random place within a cell. The image
// is masked as the network takes it, less its mean: where a mask is 0, it shows the
// mean colour. The masks are the same for every image.
type RISE struct {
	Masks int     // forward passes an image
	Cells int     // cells along a side
	Keep  float64 // share of an image that a mask lets through
	Seed  uint64
}

func (r RISE) validate(size int) error {
	switch {
	case r.Masks < 1:
		return fmt.Errorf("%d masks: want at least 1", r.Masks)
	case r.Cells < 1 || r.Cells > size:
		return fmt.Errorf("%d cells along a side of %d pixels: want 1 to %d", r.Cells, size, size)
	case !(r.Keep > 0 && r.Keep < 1):
		return fmt.Errorf("share %v that a mask keeps: want above 0 and below 1", r.Keep)
	}
	return nil
}

// cell is the side of a cell in pixels.
func (r RISE) cell(size int) int { return (size + r.Cells - 1) / r.Cells }

// grid draws the cells of mask k, and the pixel of the enlarged grid at which the
// image begins.
func (r RISE) grid(k, size int) (cells *raster.Plane, left, top int) {
	rng := rand.New(rand.NewPCG(r.Seed, uint64(k)))
	cells = raster.NewPlane(r.Cells, r.Cells)
	for i := range cells.Pix {
		if rng.Float64() < r.Keep {
			cells.Pix[i] = 1
		}
	}
	return cells, rng.IntN(r.cell(size)), rng.IntN(r.cell(size))
}

// mask writes mask k, (size, size).
func (r RISE) mask(dst []float32, k, size int) {
	cells, left, top := r.grid(k, size)
	side := (r.Cells + 1) * r.cell(size)
	enlarged := make([]float32, side*side)
	raster.ResizeMap(enlarged, side, side, cells)
	for y := range size {
		copy(dst[y*size:(y+1)*size], enlarged[(top+y)*side+left:])
	}
}

// riseMapper draws maps by RISE.
type riseMapper struct {
	rise RISE
	*member
	batch int // of the member
}

func (m *riseMapper) draw(ctx context.Context, images []float32, classes []int64, maps []float32) error {
	plane := m.cfg.Size * m.cfg.Size
	for i, class := range classes {
		if err := m.explain(ctx, images[3*i*plane:3*(i+1)*plane], int(class), maps[i*plane:(i+1)*plane]); err != nil {
			return err
		}
	}
	return nil
}

// explain writes the map of one image, (size, size), not yet scaled.
func (m *riseMapper) explain(ctx context.Context, image []float32, class int, dst []float32) error {
	plane := m.cfg.Size * m.cfg.Size
	masks, sum := make([]float32, m.batch*plane), make([]float64, plane)
	for from := 0; from < m.rise.Masks; from += m.batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(m.batch, m.rise.Masks-from)
		inputs := m.Begin().Batch[imageInput]
		err := m.cores.Each(n, func(b int) error {
			mask := masks[b*plane : (b+1)*plane]
			m.rise.mask(mask, from+b, m.cfg.Size)
			for c := range 3 {
				masked := inputs[(3*b+c)*plane : (3*b+c+1)*plane]
				for i, v := range image[c*plane : (c+1)*plane] {
					masked[i] = v * mask[i]
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := m.Run(); err != nil {
			return err
		}
		logits := m.Output(logitsOutput)
		for b := range n {
			scores, _ := softmax(logits[b*m.classes : (b+1)*m.classes])
			for i, v := range masks[b*plane : (b+1)*plane] {
				sum[i] += scores[class] * float64(v)
			}
		}
	}
	for i, v := range sum {
		dst[i] = float32(v / (float64(m.rise.Masks) * m.rise.Keep))
	}
	return nil
}
