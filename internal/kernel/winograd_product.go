package kernel

import "github.com/surrogaze/surrogaze/internal/op"

const (
	// winogradGroup is the number of tiles that go through the filters together.
	winogradGroup = 8 * tileRows
	// winogradMemory is about the number of float32 of transformed windows that are
	// kept at a time: they stay in the third level cache.
	winogradMemory = 2 << 20
	// winogradTasks is the number of tasks of a round below which channel blocks are
	// divided.
	winogradTasks = 16
	// winogradDepth is the number of channels of which products are summed before they
	// are added to what came before. Rounding grows with the length of sums: in one
	// piece, or in pieces as long as the first level cache holds, they would be twice
	// as far from exact.
	winogradDepth = 32
	// filterLen is the number of float32 of the filters of a channel block's lanes.
	filterLen = 9 * Block
)

// winogradForward is [ConvForward] of a geometry that [winogradPays].
func winogradForward[T Element](e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase {
	p := newWinogradProduct(e, g.In, g.OutShape(), g.PadH, g.PadW, y, x, ep)
	return p.phases(func(filters []float32, block, from, to int) {
		n := g.In.C * 9
		p.transpose(filters, Block, w[block*Block*n+from*9:], n, p.lanes(block), (to-from)*9)
	})
}

// winogradBackwardData is [ConvBackwardData] likewise: the convolution of dy with
// the filters turned round.
func winogradBackwardData[T Element](e *Env, g op.Conv, dx, dy []T, w []float32) []Phase {
	p := newWinogradProduct(e, g.OutShape(), g.In, 2-g.PadH, 2-g.PadW, dx, dy, Epilogue[T]{})
	return p.phases(func(filters []float32, block, from, to int) {
		for k := from; k < to; k++ {
			filter := filters[(k-from)*filterLen:][:filterLen]
			p.transpose(filter, Block, w[(k*g.In.C+block*Block)*9:], 9, p.lanes(block), 9)
			for tap := range 4 {
				swap(filter[tap*Block:][:Block], filter[(8-tap)*Block:][:Block])
			}
		}
	})
}

func swap(a, b []float32) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// winogradProduct is a convolution of a source with a result.
type winogradProduct[T Element] struct {
	windows[T] // of the source
	*multiplier
	env       *Env
	y         []T
	result    op.Shape
	epilogue  Epilogue[T]
	perGroup  int     // tiles
	perRound  int     // groups, whose transformed windows are in memory at a time
	perTask   int     // channel blocks of the result
	full      band    // of a group's tiles
	short     band    // of the last group
	steps     []int32 // of the source's channels
	filters   memory  // (position, channel block, channel of the source, lane)
	windowsAt int     // in shared memory
	perWorker []tiles
}

func newWinogradProduct[T Element](e *Env, from, to op.Shape, padH, padW int, y, x []T, ep Epilogue[T]) *winogradProduct[T] {
	v := e.vectors
	p := &winogradProduct[T]{
		windows: windows[T]{
			tiling: newTiling(to), vectors: v, source: from, data: x,
			side: winogradWindow, padH: padH, padW: padW, transform: v.winograd.image,
		},
		multiplier: multiplierOf(e.ISA, false), env: e, y: y, result: to, epilogue: ep, perWorker: make([]tiles, e.Workers),
	}
	p.perGroup = min(p.count(), winogradGroup)
	p.perRound = even(p.groups(), winogradMemory/p.groupLen())
	p.perTask = p.blocksPerTask(Blocks(to.C), Blocks(to.C)*p.perRound/winogradTasks)
	full := wholeTiles(pixelOffsets(p.perGroup))
	short := wholeTiles(pixelOffsets(p.count() - (p.groups()-1)*p.perGroup))
	p.full, p.short = band{rows: full, outs: full}, band{rows: short, outs: short}
	for c := range from.C {
		p.steps = append(p.steps, int32(c/Block*p.perGroup*Block+c%Block))
	}
	e.reserve(max(p.perTask*p.productLen()+winogradTile*winogradTile*Block+epilogueLen[T](winogradTile*Block), positions*Block, Block*filterLen))
	p.filters = e.memory(0, p.filtersLen())
	if !e.Keep {
		p.windowsAt = p.filtersLen()
	}
	e.share(p.windowsAt + p.perRound*p.groupLen())
	return p
}

// pixelOffsets are those of n pixels, one after another.
func pixelOffsets(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i * Block)
	}
	return list
}

func (p *winogradProduct[T]) groups() int { return ceil(p.count(), p.perGroup) }

// group is the range of a group's tiles.
func (p *winogradProduct[T]) group(i int) (from, to int) {
	return i * p.perGroup, min((i+1)*p.perGroup, p.count())
}

func (p *winogradProduct[T]) lanes(block int) int { return min(Block, p.result.C-block*Block) }

// groupLen is the number of float32 of a group's windows (position, channel block,
// tile, lane), productLen that of their products with a channel block's filters
// (position, tile, lane), and filtersLen that of all filters (position, channel
// block, channel of the source, lane).
func (p *winogradProduct[T]) groupLen() int {
	return positions * Blocks(p.source.C) * p.perGroup * Block
}

func (p *winogradProduct[T]) productLen() int { return positions * p.perGroup * Block }

func (p *winogradProduct[T]) filtersLen() int {
	return positions * Blocks(p.result.C) * p.source.C * Block
}

// groupWindows is the place of a group's windows in its round.
func (p *winogradProduct[T]) groupWindows(group int) []float32 {
	return p.env.shared[p.windowsAt+group%p.perRound*p.groupLen():][:p.groupLen()]
}

// phases transforms the filters, and then the windows and their products round by
// round. pack writes the filters of a channel block's lanes and some channels of
// the source as (channel, tap, lane).
func (p *winogradProduct[T]) phases(pack func(filters []float32, block, from, to int)) []Phase {
	phases := []Phase{p.transformFilters(pack)}
	for first := 0; first < p.groups(); first += p.perRound {
		last := min(first+p.perRound, p.groups())
		phases = append(phases, p.transformWindows(first, last), p.multiply(first, last))
	}
	if p.env.Keep {
		return phases
	}
	phases[0] = together([]Phase{phases[0], phases[1]})
	return append(phases[:1], phases[2:]...)
}

func (p *winogradProduct[T]) transformFilters(pack func(filters []float32, block, from, to int)) Phase {
	parts := ceil(p.source.C, Block)
	return Phase{Tasks: Blocks(p.result.C) * parts, Constant: p.env.Keep, Run: func(task, worker int) {
		block, from := task/parts, task%parts*Block
		to := min(from+Block, p.source.C)
		filters := p.env.scratch[worker][:Block*filterLen]
		if p.lanes(block) < Block {
			clear(filters)
		}
		pack(filters, block, from, to)
		stride := Blocks(p.result.C) * p.source.C * Block
		for c := from; c < to; c++ {
			p.windows.vectors.winograd.filter(p.filters.from((block*p.source.C+c)*Block), filters[(c-from)*filterLen:], winogradWindow*stride, stride, 3*Block, Block)
		}
	}}
}

func (p *winogradProduct[T]) transformWindows(first, last int) Phase {
	blocks := Blocks(p.source.C)
	return Phase{Tasks: (last - first) * blocks, Run: func(task, worker int) {
		group, block := first+task/blocks, task%blocks
		from, to := p.group(group)
		p.write(p.groupWindows(group)[block*p.perGroup*Block:], blocks*p.perGroup*Block, block, from, to, p.env.scratch[worker])
	}}
}

// multiply computes the results of some groups: a task is a group and some channel
// blocks.
func (p *winogradProduct[T]) multiply(first, last int) Phase {
	parts := ceil(Blocks(p.result.C), p.perTask)
	return Phase{Tasks: (last - first) * parts, Run: func(task, worker int) {
		group, block := first+task/parts, task%parts*p.perTask
		blocks := min(p.perTask, Blocks(p.result.C)-block)
		scratch := p.env.scratch[worker]
		products, rest := scratch[:p.perTask*p.productLen()], scratch[p.perTask*p.productLen():]
		p.products(products, worker, group, block, blocks)
		from, to := p.group(group)
		for b := range blocks {
			f := p.finisher(block+b, rest)
			for tile := from; tile < to; tile++ {
				f.finishTile(tile, products[(b*p.perGroup+tile-from)*Block:])
			}
		}
	}}
}

// products multiplies a group's windows with the filters of some channel blocks,
// as (position, channel block, tile, lane).
func (p *winogradProduct[T]) products(dst []float32, worker, group, block, blocks int) {
	windows, rows := p.groupWindows(group), p.full
	if group == p.groups()-1 {
		rows = p.short
	}
	size := p.source.C * Block // of a channel block's filters
	for position := range positions {
		w := p.filters.from((position*Blocks(p.result.C) + block) * size)
		y := dst[position*p.perTask*p.perGroup*Block:]
		for from := 0; from < len(p.steps); from += winogradDepth {
			to := min(from+winogradDepth, len(p.steps))
			t := &p.perWorker[worker]
			*t = tiles{
				x: windows[position*p.groupLen()/positions:], w: w[from*Block:], y: y,
				rows: rows.rows, outs: rows.outs, steps: p.steps[from:to],
				wBlock: size, yBlock: p.perGroup * Block,
			}
			if from > 0 {
				t.add = y
			}
			if position+1 < positions {
				t.next = w[Blocks(p.result.C)*size:]
			}
			p.run(t, blocks)
		}
	}
}

// finisher turns the products of a channel block into results.
type finisher[T Element] struct {
	*winogradProduct[T]
	blockEpilogue[T]
	plane  []T       // of the block
	stride int       // between the positions of a product
	tile   []float32 // (winogradTile, winogradTile, lane)
}

func (p *winogradProduct[T]) finisher(block int, scratch []float32) finisher[T] {
	const tile = winogradTile * winogradTile * Block
	l := blockedLayout(p.result)
	return finisher[T]{
		winogradProduct: p, blockEpilogue: newBlockEpilogue(p.windows.vectors, p.epilogue, p.result, block, scratch[tile:]),
		plane: p.y[block*l.plane:][:l.plane], stride: p.perTask * p.perGroup * Block, tile: scratch[:tile],
	}
}

// finishTile writes a tile's results.
func (f *finisher[T]) finishTile(tile int, product []float32) {
	l := blockedLayout(f.result)
	image, top, left := f.corner(tile)
	height, width := min(winogradTile, f.result.H-top), min(winogradTile, f.result.W-left)
	origin := image*l.image + top*l.line + left*Block
	inverse := f.windows.vectors.winograd.result
	if plane, direct := f.in(f.plane); direct && height == winogradTile && width == winogradTile {
		inverse(plane[origin:], product, l.line, Block, winogradWindow*f.stride, f.stride)
		return
	}
	inverse(f.tile, product, winogradTile*Block, Block, winogradWindow*f.stride, f.stride)
	for i := range height {
		f.write(f.plane, f.tile[i*winogradTile*Block:][:width*Block], origin+i*l.line)
	}
}
