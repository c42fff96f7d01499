package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// winogradGradient is the gradient by the filters of a geometry that
// [winogradPays], summed over all tiles position by position. A round is as many
// tiles as memory holds the windows of.
type winogradGradient[T Element] struct {
	image, dy windows[T]
	*multiplier
	env        *Env
	vectors    *vector
	perRound   int  // tiles
	rows       band // the image's channels
	steps      []int32
	perWorker  []tiles
	in, out    int // channels
	inB, outB  int // channel blocks
	atImage    int // of e.shared, behind the sums
	atGradient int
}

// winogradSlice is the number of tiles whose windows a task transforms.
const winogradSlice = 32

// winogradBackwardWeights is [ConvBackwardWeights] of a geometry that
// [winogradPays].
func winogradBackwardWeights[T Element](e *Env, g op.Conv, dw []float32, x, dy []T) []Phase {
	v, out := e.vectors, g.OutShape()
	t := newTiling(out)
	d := &winogradGradient[T]{
		image:      windows[T]{t, v, g.In, x, winogradWindow, g.PadH, g.PadW, v.winograd.image},
		dy:         windows[T]{t, v, out, dy, winogradTile, 0, 0, v.winograd.gradient},
		multiplier: multiplierOf(e.ISA, false), env: e, vectors: v, perWorker: make([]tiles, e.Workers),
		in: g.In.C, out: g.Out, inB: Blocks(g.In.C), outB: Blocks(g.Out),
	}
	d.perRound = even(t.count(), min(d.depth, winogradMemory/(positions*(d.inB+d.outB)*Block)))
	d.steps = pixelOffsets(d.perRound)
	var rows []int32
	for c := range d.in {
		rows = append(rows, int32(c/Block*d.perRound*Block+c%Block))
	}
	d.rows = band{rows: wholeTiles(rows), outs: wholeTiles(pixelOffsets(d.in))}
	d.atImage = positions * d.outB * d.in * Block
	d.atGradient = d.atImage + positions*d.inB*d.perRound*Block
	e.share(d.atGradient + positions*d.outB*d.perRound*Block)
	e.reserve(max(positions*Block, Block*filterLen))
	var phases []Phase
	for first := 0; first < t.count(); first += d.perRound {
		last := min(first+d.perRound, t.count())
		phases = append(phases, d.transformWindows(first, last), d.multiply(last-first, first > 0))
	}
	return append(phases, d.unpack(dw))
}

// transformWindows writes (position, channel block, tile, lane) of image and
// gradient.
func (d *winogradGradient[T]) transformWindows(first, last int) Phase {
	parts := ceil(last-first, winogradSlice)
	return Phase{Tasks: (d.inB + d.outB) * parts, Run: func(task, worker int) {
		block, from := task/parts, first+task%parts*winogradSlice
		w, at, blocks := &d.image, d.atImage, d.inB
		if block >= d.inB {
			block -= d.inB
			w, at, blocks = &d.dy, d.atGradient, d.outB
		}
		dst := d.env.shared[at+(block*d.perRound+from-first)*Block:]
		w.write(dst, blocks*d.perRound*Block, block, from, min(from+winogradSlice, last), d.env.scratch[worker])
	}}
}

// multiply adds the products of some tiles to the sums (position, channel block of
// dy, channel of the image, lane): a task is a position.
func (d *winogradGradient[T]) multiply(n int, add bool) Phase {
	return Phase{Tasks: positions, Run: func(position, worker int) {
		t := &d.perWorker[worker]
		*t = tiles{
			x:    d.env.shared[d.atImage+position*d.inB*d.perRound*Block:],
			w:    d.env.shared[d.atGradient+position*d.outB*d.perRound*Block:],
			y:    d.env.shared[position*d.outB*d.in*Block:],
			rows: d.rows.rows, outs: d.rows.outs, steps: d.steps[:n],
			wBlock: d.perRound * Block, yBlock: d.in * Block,
		}
		if add {
			t.add = t.y
		}
		d.run(t, d.outB)
	}}
}

// unpack turns the sums into filters.
func (d *winogradGradient[T]) unpack(dw []float32) Phase {
	stride := d.outB * d.in * Block
	return Phase{Tasks: d.outB * d.inB, Run: func(task, worker int) {
		block, from := task/d.inB, task%d.inB*Block
		to := min(from+Block, d.in)
		filters := d.env.scratch[worker][:Block*filterLen]
		for c := from; c < to; c++ {
			d.vectors.winograd.filterGradient(filters[(c-from)*filterLen:], d.env.shared[(block*d.in+c)*Block:], 3*Block, Block, winogradWindow*stride, stride)
		}
		n := d.in * 9
		d.transpose(dw[block*Block*n+from*9:], n, filters, Block, (to-from)*9, min(Block, d.out-block*Block))
	}}
}
