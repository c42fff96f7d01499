package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// weightStrip is the number of float32 that a strip has in a channel block of
// dy and a plane of the image, if steps are pixels: both stay in the first level
// cache.
const weightStrip = 5 << 10

// ConvBackwardWeights computes the gradient by w, in the weights' own layout; x
// and dy blocked.
func ConvBackwardWeights(e *Env, g op.Conv, dw, x, dy []float32) []Phase {
	if g.Groups > 1 {
		return groupedBackwardWeights(e, g, dw, x, dy)
	}
	return convBackwardWeights(e, g, false, dw, x, dy)
}

// ConvBackwardWeightsPlanar is [ConvBackwardWeights] of a planar image.
func ConvBackwardWeightsPlanar(e *Env, g op.Conv, dw, x, dy []float32) []Phase {
	if g.Groups > 1 {
		blocked := Alloc(BlockedLen(g.In))
		return append(ToBlocked(e, g.In, blocked, x), groupedBackwardWeights(e, g, dw, blocked, dy)...)
	}
	return convBackwardWeights(e, g, true, dw, x, dy)
}

// weightGradient is a product whose rows are elements of the filters and whose
// steps are pixels of the result.
type weightGradient struct {
	*gather
	*multiplier
	env       *Env
	x, dy     []float32
	result    layout // of dy
	blocks    int    // of dy
	pieces    []piece
	chunks    int // of strips, summed each for itself
	perWorker []tiles
}

// piece is some elements of the filters, those of the planes in [from, to).
type piece struct {
	from, to int
	band
}

func convBackwardWeights(e *Env, g op.Conv, planar bool, dw, x, dy []float32) []Phase {
	out := g.OutShape()
	rows, cols := forwardRows(g), forwardCols(g)
	perPixel := rows.step / rows.unit() * cols.step / cols.unit()
	if !planar {
		perPixel *= Block
	}
	d := &weightGradient{
		gather:     newGather(e, g.In, planar, rows, cols, weightStrip/(Block+perPixel)),
		multiplier: multiplierOf(e.ISA), env: e, x: x, dy: dy,
		result: blockedLayout(out), blocks: Blocks(out.C),
		perWorker: make([]tiles, e.Workers),
	}
	d.cut(g.KernelH * g.KernelW)
	blocksPerTask := even(d.blocks, weightResult/(Block*d.pieces[0].elements()))
	groups := ceil(d.blocks, blocksPerTask)
	d.chunks = ceil(d.strips(), ceil(d.strips(), ceil(enoughTasks, groups*len(d.pieces))))
	e.share(d.chunks * d.blocks * len(d.elements) * Block)
	sum := Phase{Tasks: len(d.pieces) * groups * d.chunks, Run: func(task, worker int) {
		chunk := task % d.chunks
		task /= d.chunks
		first := task / len(d.pieces) * blocksPerTask
		d.sum(worker, d.pieces[task%len(d.pieces)], chunk, first, min(blocksPerTask, d.blocks-first))
	}}
	return []Phase{sum, d.unpack(dw, out.C)}
}

// weightResult is the number of float32 of the gradient that a task goes through
// again and again.
const weightResult = 32 << 10

func (p piece) elements() int { return len(p.rows) }

// cut divides the elements, size of them a channel, into pieces of whole planes
// that fill tiles well.
func (d *weightGradient) cut(size int) {
	const enough = 16 * tileRows // elements
	planes := ceil(enough, size*d.lanes)
	for from := 0; from < d.planes(); from += planes {
		to := min(from+planes, d.planes())
		first, last := from*d.lanes*size, min(to*d.lanes, d.shape.C)*size
		outs := make([]int32, 0, last-first)
		for t := first; t < last; t++ {
			outs = append(outs, int32(t*Block))
		}
		d.pieces = append(d.pieces, piece{from, to, band{wholeTiles(d.elements[first:last]), wholeTiles(outs)}})
	}
}

// partial is the sum of a chunk of strips, (blocks, elements, Block), from a
// block on.
func (d *weightGradient) partial(chunk, block int) []float32 {
	return d.env.shared[(chunk*d.blocks+block)*len(d.elements)*Block:]
}

// sum adds up a chunk's strips for some elements and channel blocks of dy.
func (d *weightGradient) sum(worker int, e piece, chunk, block, blocks int) {
	each := ceil(d.strips(), d.chunks)
	t := &d.perWorker[worker]
	for i := chunk * each; i < min((chunk+1)*each, d.strips()); i++ {
		s := d.strip(i)
		*t = tiles{
			x:    d.load(d.env.scratch[worker], d.x, s, e.from, e.to),
			w:    d.dy[block*d.result.plane+s.image*d.result.image+s.line*d.result.line:],
			y:    d.partial(chunk, block),
			rows: e.rows, outs: e.outs, steps: d.pixels[:s.pixels(d.gather)],
			wBlock: d.result.plane, yBlock: len(d.elements) * Block,
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
	n := len(d.elements)
	parts := ceil(n, stretch)
	add := vectors(d.env.ISA).add
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
