package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// productPixels is the size of strips of products whose rows are pixels: large
// enough that the weights are read rarely.
const productPixels = 512

// productResult is the number of float32 of the result that a task goes through
// again and again.
const productResult = 48 << 10

// enoughTasks is the number of tasks below which work is divided further.
const enoughTasks = 32

// product is a convolution as a product whose rows are pixels of its result and
// whose steps are the gather's elements.
type product struct {
	*gather
	*multiplier
	env       *Env
	x, y      []float32
	epilogue  Epilogue
	shape     op.Shape // of y
	result    layout   // of the pixels of y that it computes
	origin    int      // of the first of them
	at        int      // of the packed weights and bias in shared memory
	perTask   int      // channel blocks
	full      band
	short     band // of a strip that is smaller than the others
	perWorker []tiles
}

// band is a strip's rows.
type band struct{ rows, outs []int32 }

// newProduct places its weights in shared memory from an index on.
func newProduct(e *Env, at int, g *gather, shape op.Shape, result layout, y, x []float32, ep Epilogue) *product {
	p := &product{
		gather: g, multiplier: multiplierOf(e.ISA), env: e,
		x: x, y: y, epilogue: ep, shape: shape, result: result,
		at: at, perWorker: make([]tiles, e.Workers),
	}
	e.share(p.end())
	outs := result.offsets(g.images, g.lines, g.cols.outputs)
	p.full = band{wholeTiles(g.pixels), wholeTiles(outs)}
	if n := g.strip(g.strips() - 1).pixels(g); n < len(g.pixels) {
		p.short = band{wholeTiles(g.pixels[:n]), wholeTiles(outs[:n])}
	}
	p.perTask = even(p.blocks(), min(p.blocks()/ceil(enoughTasks, g.strips()), productResult/(Block*len(g.pixels))))
	return p
}

// wholeTiles repeats the last row until the tile is full.
func wholeTiles(list []int32) []int32 {
	list = list[:len(list):len(list)]
	for len(list)%tileRows != 0 {
		list = append(list, list[len(list)-1])
	}
	return list
}

func (p *product) blocks() int { return Blocks(p.shape.C) }

// lanesOf is the number of channels in a block.
func (p *product) lanesOf(block int) int { return min(Block, p.shape.C-block*Block) }

// end is where its shared memory ends.
func (p *product) end() int { return p.at + (p.elements()+1)*Block*p.blocks() }

// weights is the place of a block's packed weights: Block lanes an element.
func (p *product) weights(block int) []float32 {
	size := p.elements() * Block
	return p.env.shared[p.at+block*size:][:size]
}

// bias is the place of the packed biases.
func (p *product) bias() []float32 {
	return p.env.shared[p.at+p.blocks()*p.elements()*Block:][:p.blocks()*Block]
}

func (p *product) packBias(block int) {
	if p.epilogue.Bias != nil {
		lanes := p.bias()[block*Block:][:Block]
		clear(lanes[copy(lanes, p.epilogue.Bias[block*Block:]):])
	}
}

// phase multiplies: a task is a strip and some channel blocks.
func (p *product) phase() Phase {
	groups := ceil(p.blocks(), p.perTask)
	return Phase{Tasks: p.strips() * groups, Run: func(task, worker int) {
		s, from := p.strip(task/groups), task%groups*p.perTask
		to := min(from+p.perTask, p.blocks())
		rows := p.full
		if s.pixels(p.gather) < len(p.pixels) {
			rows = p.short
		}
		origin := p.origin + s.image*p.result.image + s.line*p.result.line
		p.multiply(worker, s, rows, origin, from, to-from)
		if lanes := p.shape.C % Block; to == p.blocks() && lanes != 0 {
			last := p.y[(to-1)*p.result.plane+origin:]
			for _, at := range rows.outs {
				clear(last[int(at)+lanes:][:Block-lanes])
			}
		}
	}}
}

// multiply computes a strip of some channel blocks, piece by piece.
func (p *product) multiply(worker int, s strip, rows band, origin, block, blocks int) {
	t, at := &p.perWorker[worker], block*p.result.plane+origin
	for i, c := range p.pieces {
		last := i == len(p.pieces)-1
		*t = tiles{
			x: p.load(p.env.scratch[worker], p.x, s, c), w: p.weightsFrom(block, c.first), y: p.y[at:],
			rows: rows.rows, outs: rows.outs, steps: c.elements,
			wBlock: p.elements() * Block, yBlock: p.result.plane,
			relu: p.epilogue.ReLU && last,
		}
		if !last {
			t.next = p.weightsFrom(block, p.pieces[i+1].first)
		}
		switch {
		case i > 0:
			t.add = t.y
		case p.epilogue.Residual != nil:
			t.add = p.epilogue.Residual[at:]
		}
		if i == 0 && p.epilogue.Bias != nil {
			t.bias = p.bias()[block*Block:]
		}
		p.run(t, blocks)
	}
}

// weightsFrom are the packed weights from a block's element on.
func (p *product) weightsFrom(block, element int) []float32 {
	return p.env.shared[p.at+(block*p.elements()+element)*Block:]
}
