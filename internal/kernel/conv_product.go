package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// limits of what a product takes at a time. Strips have as many pixels as make
// weights be read rarely, but fewer where results of few pixels are divided among tasks.
func (m *multiplier) limits(s op.Shape) limits {
	const least, most = 96, 256
	perStrip := ceil(Blocks(s.C), m.wide()) // tasks
	return limits{min(max(s.Pixels()/ceil(enoughTasks, perStrip), least), most), m.depth, m.room}
}

// productResult is the number of float32 of the result that a task goes through
// again and again.
const productResult = 48 << 10

// enoughTasks is the number of tasks below which work is divided further.
const enoughTasks = 32

// product is a convolution as a product whose rows are pixels of its result and
// whose steps are the gather's elements. Results in bfloat16 are summed in scratch,
// pixel by pixel, channel block by channel block, where the kernel cannot round them.
type product[T Element] struct {
	*gather
	*multiplier
	env       *Env
	vectors   *vector
	x         []float32
	y         []T
	epilogue  Epilogue[T]
	shape     op.Shape // of y
	result    layout   // of the pixels of y that it computes
	origin    int      // of the first of them
	packed    memory   // of weights and bias
	perTask   int      // channel blocks
	full      band
	short     band // of a strip that is smaller than the others
	rounded   bool // by the kernel
	perWorker []tiles
}

// newProduct places its weights in shared memory from an index on, or keeps them.
func newProduct[T Element](e *Env, at int, m *multiplier, g *gather, shape op.Shape, result layout, y []T, x []float32, ep Epilogue[T]) *product[T] {
	p := &product[T]{
		gather: g, multiplier: m, env: e, vectors: e.vectors,
		x: x, y: y, epilogue: ep, shape: shape, result: result,
		perWorker: make([]tiles, e.Workers),
	}
	p.packed = e.memory(at, p.packedLen())
	_, direct := any(y).([]float32)
	p.rounded = !direct && g.pairs && len(g.pieces) == 1 && ep.Residual == nil
	outs := p.places(direct)
	p.full = m.band(g.pixels, outs, g.cols.outputs)
	if n := g.strip(g.strips() - 1).pixels(g); n < len(g.pixels) {
		p.short = m.band(g.pixels[:n], outs[:n], g.cols.outputs)
	}
	p.perTask = m.blocksPerTask(p.blocks(), min(p.blocks()/ceil(enoughTasks, g.strips()), productResult/(Block*len(g.pixels))))
	if !direct && !p.rounded {
		e.reserve(g.frameLen() + p.perTask*p.sumsLen() + epilogueLen[T](p.sumsLen()))
	}
	return p
}

// places are those of a strip's pixels in the result, or in scratch.
func (p *product[T]) places(direct bool) []int32 {
	if !direct && !p.rounded {
		return pixelOffsets(len(p.pixels))
	}
	outs := p.result.offsets(p.images, p.lines, p.cols.outputs)
	if p.rounded {
		for i := range outs {
			outs[i] /= 2
		}
	}
	return outs
}

func (p *product[T]) blocks() int { return Blocks(p.shape.C) }

// lanesOf is the number of channels in a block.
func (p *product[T]) lanesOf(block int) int { return min(Block, p.shape.C-block*Block) }

// sumsLen is the number of float32 of a strip's sums of a channel block.
func (p *product[T]) sumsLen() int { return len(p.pixels) * Block }

// packedLen is the number of float32 of the packed weights and bias.
func (p *product[T]) packedLen() int { return (p.elements() + 1) * Block * p.blocks() }

// weights is the place of a block's packed weights: Block lanes an element.
func (p *product[T]) weights(block int) []float32 {
	size := p.elements() * Block
	return p.packed.from(block * size)[:size]
}

// bias is the place of the packed biases.
func (p *product[T]) bias() []float32 {
	return p.packed.from(p.blocks() * p.elements() * Block)[:p.blocks()*Block]
}

func (p *product[T]) packBias(block int) {
	if p.epilogue.Bias != nil {
		lanes := p.bias()[block*Block:][:Block]
		clear(lanes[copy(lanes, p.epilogue.Bias[block*Block:]):])
	}
}

// phase multiplies: a task is a strip and some channel blocks.
func (p *product[T]) phase() Phase {
	groups := ceil(p.blocks(), p.perTask)
	return Phase{Tasks: p.strips() * groups, Run: func(task, worker int) {
		s, from := p.strip(task/groups), task%groups*p.perTask
		blocks := min(p.perTask, p.blocks()-from)
		rows := p.full
		if s.pixels(p.gather) < len(p.pixels) {
			rows = p.short
		}
		origin := p.origin + s.image*p.result.image + s.line*p.result.line
		if _, direct := any(p.y).([]float32); direct || p.rounded {
			p.direct(worker, s, rows, origin, from, blocks)
		} else {
			p.summed(worker, s, rows, origin, from, blocks)
		}
	}}
}

// direct writes results where they belong.
func (p *product[T]) direct(worker int, s strip, rows band, origin, block, blocks int) {
	at := block*p.result.plane + origin
	first := tiles{outs: rows.outs, yBlock: p.result.plane, relu: p.epilogue.ReLU, narrow: p.rounded}
	if p.rounded {
		first.y, first.yBlock = words(any(p.y).([]BF16)[at:]), p.result.plane/2
	} else {
		first.y = any(p.y).([]float32)[at:]
	}
	if p.epilogue.Residual != nil {
		first.add = any(p.epilogue.Residual).([]float32)[at:]
	}
	if p.epilogue.Bias != nil {
		first.bias = p.bias()[block*Block:]
	}
	p.multiply(worker, first, s, rows, block, blocks)
	if lanes := p.shape.C % Block; block+blocks == p.blocks() && lanes != 0 {
		last, scale := p.y[(block+blocks-1)*p.result.plane+origin:], 1
		if p.rounded {
			scale = 2
		}
		for _, at := range rows.outs {
			if at >= 0 {
				clear(last[scale*int(at)+lanes:][:Block-lanes])
			}
		}
	}
}

// summed sums in scratch and writes results from there.
func (p *product[T]) summed(worker int, s strip, rows band, origin, block, blocks int) {
	scratch := p.env.scratch[worker][p.frameLen():]
	sums, rest := scratch[:p.perTask*p.sumsLen()], scratch[p.perTask*p.sumsLen():]
	p.multiply(worker, tiles{y: sums, outs: rows.outs, yBlock: p.sumsLen()}, s, rows, block, blocks)
	n := s.pixels(p.gather) * Block
	for b := range blocks {
		ep := newBlockEpilogue(p.vectors, p.epilogue, p.shape, block+b, rest)
		plane, sums := p.y[(block+b)*p.result.plane:][:p.result.plane], sums[b*p.sumsLen():][:n]
		if p.result.line == p.cols.outputs*Block {
			ep.write(plane, sums, origin)
		} else {
			p.scatter(any(plane).([]BF16), sums, s, origin, ep.lanes)
		}
	}
}

// scatter writes results that lie apart.
func (p *product[T]) scatter(plane []BF16, sums []float32, s strip, origin, lanes int) {
	if lanes < Block {
		clearLanes(sums, lanes)
	}
	line := p.cols.outputs * Block
	for i := range s.images * s.lines {
		at := origin + i/s.lines*p.result.image + i%s.lines*p.result.line
		p.vectors.narrow(plane[at:], sums[i*line:][:line], p.result.pixel)
	}
}

// multiply computes a strip of some channel blocks, piece by piece. What is added,
// the bias among it, is added to the first, and the ReLU is that of the last.
func (p *product[T]) multiply(worker int, first tiles, s strip, rows band, block, blocks int) {
	t := &p.perWorker[worker]
	for i, c := range p.pieces {
		last := i == len(p.pieces)-1
		*t = first
		t.x, t.w, t.rows, t.steps = p.load(p.env.scratch[worker], p.x, s, c), p.weightsFrom(block, c.first), rows.rows, c.elements
		t.height, t.pitch = rows.height, rows.pitch
		t.wBlock, t.relu = p.elements()*Block, first.relu && last
		if !last {
			t.next = p.weightsFrom(block, p.pieces[i+1].first)
		}
		if i > 0 {
			t.add, t.bias = t.y, nil
		}
		p.run(t, blocks)
	}
}

// weightsFrom are the packed weights from a block's element on.
func (p *product[T]) weightsFrom(block, element int) []float32 {
	return p.packed.from((block*p.elements() + element) * Block)
}
