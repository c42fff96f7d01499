package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// weightStrip is the number of float32 that a strip has in a channel block of
// dy and a plane of the image, if steps are pixels: both stay in the first level
// cache.
const weightStrip = 5 << 10

// ConvBackwardWeights computes the gradient by w, in the weights' own layout; x
// and dy blocked.
func ConvBackwardWeights(e *Env, g op.Conv, dw, x, dy []float32) []Phase {
	switch {
	case depthwise(g):
		return depthwiseBackwardWeights(e, g, dw, x, dy)
	case g.Groups > 1:
		return groupedBackwardWeights(e, g, dw, x, dy)
	case winogradPays(g):
		return winogradBackwardWeights(e, g, dw, x, dy)
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
	bands     []band // of the pieces
	chunks    int    // of strips, summed each for itself
	perWorker []tiles
}

func convBackwardWeights(e *Env, g op.Conv, planar bool, dw, x, dy []float32) []Phase {
	out := g.OutShape()
	rows, cols := forwardRows(g), forwardCols(g)
	perPixel := rows.step / rows.unit() * cols.step / cols.unit()
	if !planar {
		perPixel *= Block
	}
	d := &weightGradient{
		gather:     newGather(e, g.In, planar, rows, cols, weightStrip/(Block+perPixel), weightElements),
		multiplier: multiplierOf(e.ISA), env: e, x: x, dy: dy,
		result: blockedLayout(out), blocks: Blocks(out.C),
		perWorker: make([]tiles, e.Workers),
	}
	for _, c := range d.pieces {
		d.bands = append(d.bands, band{wholeTiles(c.elements), wholeTiles(c.places())})
	}
	blocksPerTask := even(d.blocks, weightResult/(Block*len(d.bands[0].rows)))
	groups := ceil(d.blocks, blocksPerTask)
	d.chunks = ceil(d.strips(), ceil(d.strips(), ceil(enoughTasks, groups*len(d.pieces))))
	e.share(d.chunks * d.blocks * d.elements() * Block)
	sum := Phase{Tasks: len(d.pieces) * groups * d.chunks, Run: func(task, worker int) {
		chunk := task % d.chunks
		task /= d.chunks
		first := task / len(d.pieces) * blocksPerTask
		d.sum(worker, task%len(d.pieces), chunk, first, min(blocksPerTask, d.blocks-first))
	}}
	return []Phase{sum, d.unpack(dw, out.C)}
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
		*t = tiles{
			x:    d.load(d.env.scratch[worker], d.x, s, d.pieces[piece]),
			w:    d.dy[block*d.result.plane+s.image*d.result.image+s.line*d.result.line:],
			y:    d.partial(chunk, block),
			rows: d.bands[piece].rows, outs: d.bands[piece].outs, steps: d.pixels[:s.pixels(d.gather)],
			wBlock: d.result.plane, yBlock: d.elements() * Block,
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
