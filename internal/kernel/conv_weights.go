package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// weightStrip is the number of float32 that a strip has in a channel block of
// dy and a plane of the image, if steps are pixels: both stay in the first level
// cache.
const weightStrip = 5 << 10

// ConvBackwardWeights computes the gradient by w, in the weights' own layout; x
// and dy blocked.
func ConvBackwardWeights[T Element](e *Env, g op.Conv, dw []float32, x, dy []T) []Phase {
	switch {
	case depthwise(g):
		return depthwiseBackwardWeights(e, g, dw, x, dy)
	case g.Groups > 1:
		return groupedBackwardWeights(e, g, dw, x, dy)
	case winogradPays[T](e.ISA, g):
		return winogradBackwardWeights(e, g, dw, x, dy)
	}
	return directBackwardWeights(e, g, dw, x, dy)
}

func directBackwardWeights[T Element](e *Env, g op.Conv, dw []float32, x, dy []T) []Phase {
	if x, ok := any(x).([]BF16); ok {
		dy := any(dy).([]BF16)
		if multiplierOf(e.ISA, true).matrix {
			return matrixBackwardWeights(e, g, dw, x, dy)
		}
		return pairBackwardWeights(e, g, dw, x, dy)
	}
	return convBackwardWeights(e, g, blockedSource(g.In), dw, any(x).([]float32), dy)
}

// ConvBackwardWeightsPlanar is [ConvBackwardWeights] of a planar image.
func ConvBackwardWeightsPlanar[T Element](e *Env, g op.Conv, dw, x []float32, dy []T) []Phase {
	if g.Groups > 1 {
		blocked := make([]T, BlockedLen(g.In))
		return append(ToBlocked(e, g.In, blocked, x), groupedBackwardWeights(e, g, dw, blocked, dy)...)
	}
	if patchable[T](e, g) {
		return patchBackwardWeights(e, g, dw, x, any(dy).([]BF16))
	}
	return convBackwardWeights(e, g, planarSource(g.In), dw, x, dy)
}

// weightGradient is a product whose rows are elements of the filters and whose
// steps are pixels of the result.
type weightGradient struct {
	*gather
	*multiplier
	env       *Env
	operands  weightOperands
	blocks    int    // of dy
	bands     []band // of the pieces
	perTask   int    // channel blocks
	chunks    int    // of strips, summed each for itself
	perWorker []tiles
}

// weightOperands give what a strip is multiplied of.
type weightOperands interface {
	// image is where the elements of a piece begin in the strip.
	image(worker int, s strip, c piece) []float32
	// gradient is where some channel blocks of dy begin in the strip, and how far the
	// next lies behind each.
	gradient(worker int, s strip, block, blocks int) (dy []float32, next int)
	// steps are the places of the strip's pixels in its image.
	steps(s strip) []int32
}

func convBackwardWeights[T Element](e *Env, g op.Conv, from source, dw, x []float32, dy []T) []Phase {
	rows, cols := forwardRows(g), forwardCols(g)
	perPixel := rows.step / rows.unit() * cols.step / cols.unit() * from.lanes
	d := newWeightGradient(e, g, newGather(e, g.In, from, rows, cols, limits{weightStrip / (Block + perPixel), weightElements, frameSize}))
	f := &floatOperands[T]{weightGradient: d, vectors: e.vectors, x: x, dy: dy, result: blockedLayout(g.OutShape())}
	if _, direct := any(dy).([]float32); !direct {
		e.reserve(d.frameLen() + d.perTask*len(d.pixels)*Block)
	}
	d.operands = f
	return d.phases(dw)
}

// floatOperands are an image in float32 and a gradient that is made such.
type floatOperands[T Element] struct {
	*weightGradient
	vectors *vector
	x       []float32
	dy      []T
	result  layout // of dy
}

func (f *floatOperands[T]) image(worker int, s strip, c piece) []float32 {
	return f.load(f.env.scratch[worker], f.x, s, c)
}

func (f *floatOperands[T]) gradient(worker int, s strip, block, blocks int) (dy []float32, next int) {
	from := f.dy[block*f.result.plane+s.image*f.result.image+s.line*f.result.line:]
	if dy, ok := any(from).([]float32); ok {
		return dy, f.result.plane
	}
	n := s.pixels(f.gather) * Block
	to := f.env.scratch[worker][f.frameLen():]
	for b := range blocks {
		f.vectors.widen(to[b*n:][:n], any(from).([]BF16)[b*f.result.plane:])
	}
	return to, n
}

func (f *floatOperands[T]) steps(s strip) []int32 { return f.pixels[:s.pixels(f.gather)] }

func newWeightGradient(e *Env, g op.Conv, from *gather) *weightGradient {
	d := &weightGradient{gather: from, multiplier: multiplierOf(e.ISA, from.pairs), env: e, blocks: Blocks(g.Out), perWorker: make([]tiles, e.Workers)}
	for _, c := range d.pieces {
		d.bands = append(d.bands, band{rows: wholeTiles(c.elements), outs: wholeTiles(c.places())})
	}
	d.perTask = d.blocksPerTask(d.blocks, weightResult/(Block*len(d.bands[0].rows)))
	d.chunks = ceil(d.strips(), ceil(d.strips(), ceil(enoughTasks, d.groups()*len(d.pieces))))
	e.share(d.chunks * d.blocks * d.elements() * Block)
	return d
}

// groups is the number of groups of channel blocks.
func (d *weightGradient) groups() int { return ceil(d.blocks, d.perTask) }

func (d *weightGradient) phases(dw []float32) []Phase {
	sum := Phase{Tasks: len(d.pieces) * d.groups() * d.chunks, Run: func(task, worker int) {
		chunk := task % d.chunks
		task /= d.chunks
		first := task / len(d.pieces) * d.perTask
		d.sum(worker, task%len(d.pieces), chunk, first, min(d.perTask, d.blocks-first))
	}}
	return []Phase{sum, d.unpack(dw, len(dw)/d.elements())}
}

// weightElements is the number of elements that a task takes: some tiles of them,
// which go through a channel block of dy in turn.
const weightElements = 160

// weightResult is the number of float32 of the gradient that a task goes through
// again and again.
const weightResult = 32 << 10

// places are where a piece's elements lie in the gradient of a block.
func (p piece) places() []int32 {
	list := make([]int32, len(p.elements))
	for i := range list {
		list[i] = int32((p.first + i) * Block)
	}
	return list
}

// partial is the sum of a chunk of strips, (blocks, elements, Block), from a
// block on.
func (d *weightGradient) partial(chunk, block int) []float32 {
	return d.env.shared[(chunk*d.blocks+block)*d.elements()*Block:]
}

// sum adds up a chunk's strips for a piece and some channel blocks of dy.
func (d *weightGradient) sum(worker, piece, chunk, block, blocks int) {
	each := ceil(d.strips(), d.chunks)
	t := &d.perWorker[worker]
	for i := chunk * each; i < min((chunk+1)*each, d.strips()); i++ {
		s := d.strip(i)
		dy, next := d.operands.gradient(worker, s, block, blocks)
		*t = tiles{
			x: d.operands.image(worker, s, d.pieces[piece]), w: dy, y: d.partial(chunk, block),
			rows: d.bands[piece].rows, outs: d.bands[piece].outs, steps: d.operands.steps(s),
			wBlock: next, yBlock: d.elements() * Block,
		}
		if i > chunk*each {
			t.add = t.y
		}
		d.run(t, blocks)
	}
}

// unpack adds up the chunks, in their order, and stores them as filters.
func (d *weightGradient) unpack(dw []float32, channels int) Phase {
	const stretch = 64 // elements
	n := d.elements()
	parts := ceil(n, stretch)
	add := d.env.vectors.add
	return Phase{Tasks: d.blocks * parts, Run: func(task, _ int) {
		block, first := task/parts, task%parts*stretch
		last := min(first+stretch, n)
		total := d.partial(0, block)[first*Block : last*Block]
		for chunk := 1; chunk < d.chunks; chunk++ {
			add(total, total, d.partial(chunk, block)[first*Block:last*Block])
		}
		d.transpose(dw[block*Block*n+first:], n, total, Block, last-first, min(Block, channels-block*Block))
	}}
}
