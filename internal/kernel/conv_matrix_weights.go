package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// Of the gradient by the weights for a matrix unit.
const (
	// matrixStrip is about the number of pairs of pixels in a strip.
	matrixStrip = 512
	// matrixPart is the number of dy's channels that the kernels take at a time.
	matrixPart = 2 * matrixRows
	// matrixResult is the number of float32 of the gradient that a task goes through
	// again and again.
	matrixResult = 128 << 10
	// matrixReuse is about the number of dy's channels that meet the pairs of a column at
	// least, so that making these is worth its while.
	matrixReuse = 384
	// matrixTasks is the number of tasks below which strips are divided into chunks, whose
	// sums go through memory.
	matrixTasks = enoughTasks / 2
	// matrixBlocks is the number of channel blocks of the image that a task takes if
	// there are no more: no gradient is turned, and no image paired, twice.
	matrixBlocks = 4
	// matrixTaps is about the number of channel blocks, each as often as a filter has taps,
	// that meet what a task reads of the gradient.
	matrixTaps = 8
	// matrixGradient is about the number of float32 of a strip's gradient that stay in the
	// second level cache.
	matrixGradient = 128 << 10
)

// matrixWeights is the gradient by the weights for a matrix unit. Rows are channels of
// dy, lanes those of the image, and steps pairs of pixels of the result next to each
// other, line by line. The gradient is turned into tiles of Block channels by Block
// pairs. The image is paired strip by strip, for each column of the filter by itself, so
// that a word is what the column meets at both pixels; a row of the filter begins some
// lines further on. Between the images of a strip are lines of no result, where the
// gradient is zero.
//
// A task is a share of the filters, some channel blocks of the image and some channels of
// dy, and a chunk of the strips. Its sums are (blocks, taps, channels of dy, Block); those
// of several chunks are added up.
type matrixWeights struct {
	division
	*multiplier
	env       *Env
	vectors   *vector
	conv      op.Conv
	dw        []float32
	x, dy     []BF16
	patches   *patches // instead of x
	cols      axis
	taps      []matrixRow
	every     int // lines from an image of a strip to the next
	stride    int // lines of the image from a line of the result to the next
	pairs     int // of a line
	steps     []int32
	perTask   int  // channel blocks of the image
	channels  band // of dy
	chunks    int
	perWorker []tiles
}

// matrixRow is where the lines that a row of the filter meets are.
type matrixRow struct {
	remainder int // of the line by the stride
	line      int // quotient
}

func matrixBackwardWeights(e *Env, g op.Conv, dw []float32, x, dy []BF16) []Phase {
	return newMatrixWeights(e, g, dw, x, dy).phases()
}

func (d *matrixWeights) phases() (phases []Phase) {
	if out := Blocks(d.conv.Out); !d.turnsItself() {
		phases = append(phases, Phase{Tasks: d.strips() * out, Run: func(task, worker int) {
			d.turn(d.turned(task/out, task%out), task/out, task%out, d.env.scratch[worker])
		}})
	}
	phases = append(phases, Phase{Tasks: d.shares() * d.chunks, Run: d.sum})
	if parts := d.rows() / matrixPart; d.chunks > 1 {
		phases = append(phases, Phase{Tasks: d.shares() * parts, Run: func(task, _ int) {
			d.addChunks(task/parts, task%parts*matrixPart)
		}})
	}
	return phases
}

func newMatrixWeights(e *Env, g op.Conv, dw []float32, x, dy []BF16) *matrixWeights {
	rows, cols := forwardRows(g), forwardCols(g)
	d := &matrixWeights{
		multiplier: multiplierOf(e.ISA, true), env: e, vectors: e.vectors, conv: g, dw: dw, x: x, dy: dy,
		cols: cols, stride: rows.step, pairs: ceil(cols.outputs, 2), perWorker: make([]tiles, e.Workers),
	}
	further := 0 // lines that the filter's last row is further on than its first
	for _, tap := range rows.taps {
		at := tap - rows.first()
		d.taps = append(d.taps, matrixRow{at % rows.step, at / rows.step})
		further = max(further, at/rows.step)
	}
	d.division = division{batch: g.In.N, height: rows.outputs}
	d.images = even(d.batch, matrixStrip/((d.height+further)*d.pairs))
	d.lines = d.height
	if d.images == 1 {
		d.lines = even(d.height, matrixStrip/d.pairs)
	}
	d.every = d.lines + further
	d.steps = make([]int32, ceil(((d.images-1)*d.every+d.lines)*d.pairs, Block)*Block)
	for i := range d.steps {
		d.steps[i] = int32(i/Block*Block*Block + i%Block)
	}
	d.divideChannels()
	d.chunks = ceil(d.strips(), ceil(d.strips(), ceil(matrixTasks, d.shares())))
	e.share(d.turnedLen() + d.sharedSums())
	e.reserve(d.pairsLen() + d.sumsLen() + max((d.rows()+Block)*len(d.steps), g.In.W*Block))
	return d
}

// divideChannels chooses how many channels a task takes.
func (d *matrixWeights) divideChannels() {
	if d.perTask = Blocks(d.conv.In.C); d.perTask > matrixBlocks {
		d.perTask = d.blocksPerTask(d.perTask, matrixTaps/d.tapsLen())
	}
	parts := max(min(ceil(enoughTasks, d.groups()), d.conv.Out*len(d.taps)/matrixReuse), 1)
	most := min(matrixResult/(d.perTask*d.tapsLen()*Block), matrixGradient/len(d.steps))
	n := ceil(even(d.conv.Out, min(ceil(d.conv.Out, parts), most)), matrixPart) * matrixPart
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i/Block*d.turnedBlock() + i%Block*Block)
	}
	d.channels = d.band(rows, pixelOffsets(n), Block)
}

// rows is the number of channels of dy of a task.
func (d *matrixWeights) rows() int { return len(d.channels.rows) }

// groups is the number of groups of the image's channel blocks, parts that of dy's
// channels, and shares that of both.
func (d *matrixWeights) groups() int { return ceil(Blocks(d.conv.In.C), d.perTask) }
func (d *matrixWeights) parts() int  { return ceil(d.conv.Out, d.rows()) }
func (d *matrixWeights) shares() int { return d.groups() * d.parts() }

// share is where a share begins, a channel block of the image and a channel of dy, and
// how many it has of both.
func (d *matrixWeights) share(i int) (block, blocks, channel, channels int) {
	block, channel = i/d.parts()*d.perTask, i%d.parts()*d.rows()
	return block, min(d.perTask, Blocks(d.conv.In.C)-block), channel, min(d.rows(), d.conv.Out-channel)
}

func (d *matrixWeights) tapsLen() int { return len(d.taps) * len(d.cols.taps) }

// tapSums is the number of float32 of a task's sums for a tap and a channel block of the
// image, blockSums that for all taps, and sumsLen that of all.
func (d *matrixWeights) tapSums() int   { return d.rows() * Block }
func (d *matrixWeights) blockSums() int { return d.tapsLen() * d.tapSums() }
func (d *matrixWeights) sumsLen() int   { return d.perTask * d.blockSums() }

// sharedSums is the number of float32 of the sums that are added up.
func (d *matrixWeights) sharedSums() int {
	if d.chunks == 1 {
		return 0
	}
	return d.shares() * d.chunks * d.sumsLen()
}

// sums are a task's: what is added up later is shared.
func (d *matrixWeights) sums(task, worker int) []float32 {
	if d.chunks == 1 {
		return d.env.scratch[worker][d.pairsLen():][:d.sumsLen()]
	}
	return d.env.shared[d.turnedLen()+task*d.sumsLen():][:d.sumsLen()]
}

// turnsItself reports whether a task turns the gradient that it takes.
func (d *matrixWeights) turnsItself() bool { return d.groups() == 1 }

// turnedBlock is the number of float32 of a channel block of dy in a strip, turned, and
// turnedLen that of all, if they are shared: the last task may look at a block more.
func (d *matrixWeights) turnedBlock() int { return len(d.steps) * Block }
func (d *matrixWeights) turnedLen() int {
	if d.turnsItself() {
		return 0
	}
	return (d.strips()*Blocks(d.conv.Out) + 1) * d.turnedBlock()
}

// turned is a strip's gradient from a channel block on.
func (d *matrixWeights) turned(strip, block int) []float32 {
	return d.env.shared[(strip*Blocks(d.conv.Out)+block)*d.turnedBlock():]
}

// turn makes a channel block's tiles of a strip's gradient.
func (d *matrixWeights) turn(to []float32, i, block int, scratch []float32) {
	s, l := d.strip(i), blockedLayout(d.conv.OutShape())
	words, done := scratch[:d.turnedBlock()], 0
	for n := range s.images {
		for line := range s.lines {
			from, at := block*l.plane+(s.image+n)*l.image+(s.line+line)*l.line, (n*d.every+line)*d.pairs*Block
			clear(words[done:at])
			done = at + d.pairs*Block
			d.vectors.pairLine(words[at:done], d.dy[from:][:l.line], 0, 2, 1)
		}
	}
	clear(words[done:])
	d.transposeSquares(to, words)
}

// gradient is a strip's turned gradient from a channel on.
func (d *matrixWeights) gradient(worker, strip, channel, channels int) []float32 {
	if !d.turnsItself() {
		return d.turned(strip, channel/Block)
	}
	to := d.env.scratch[worker][d.pairsLen()+d.sumsLen():]
	spare := to[d.rows()*len(d.steps):]
	for b := range Blocks(channels) {
		d.turn(to[b*d.turnedBlock():], strip, channel/Block+b, spare)
	}
	return to
}

// regionLen is the number of words of the image's pairs for a column and a remainder, with
// zeros behind them for the steps beyond the last pair; planeLen is that of all.
func (d *matrixWeights) regionLen() int { return (d.images*d.every*d.pairs + Block) * Block }
func (d *matrixWeights) planeLen() int  { return len(d.cols.taps) * d.stride * d.regionLen() }
func (d *matrixWeights) pairsLen() int  { return d.perTask * d.planeLen() }

// region is where a column and a remainder are in the pairs of a plane.
func (d *matrixWeights) region(column, remainder int) int {
	return (column*d.stride + remainder) * d.regionLen()
}

// load pairs a strip of a channel block of the image. Steps of no result are multiplied by
// zero, too, which is no zero if what another kernel left there is infinite: all is written.
func (d *matrixWeights) load(words []float32, s strip, block int, spare []float32) {
	if s.images*s.lines < d.images*d.lines {
		clear(words)
	}
	top := s.line*d.conv.StrideH - d.conv.PadH
	for n := range s.images {
		for line := range d.every * d.stride {
			from := top + line
			outside := from < 0 || from >= d.conv.In.H
			var source []BF16
			if !outside {
				source = d.line(block, s.image+n, from, spare)
			}
			at := (n*d.every + line/d.stride) * d.pairs * Block
			for column, tap := range d.cols.taps {
				to := words[d.region(column, line%d.stride)+at:][:d.pairs*Block]
				if outside {
					clear(to)
				} else {
					d.vectors.pairLine(to, source, tap, 2*d.cols.step, d.cols.step)
				}
			}
		}
	}
	for column := range d.cols.taps {
		for remainder := range d.stride {
			clear(words[d.region(column, remainder)+d.images*d.every*d.pairs*Block:][:Block*Block])
		}
	}
}

// line is one of a channel block of an image.
func (d *matrixWeights) line(block, image, line int, spare []float32) []BF16 {
	l := blockedLayout(d.conv.In)
	if d.patches == nil {
		return d.x[block*l.plane+image*l.image+line*l.line:][:l.line]
	}
	patches := BF16s(spare)[:l.line]
	d.patches.fill(patches, image, line, block*Block, Block)
	return patches
}

// sum adds up a chunk's strips for a share.
func (d *matrixWeights) sum(task, worker int) {
	block, blocks, channel, channels := d.share(task / d.chunks)
	words, sums := d.env.scratch[worker][:d.pairsLen()], d.sums(task, worker)
	spare := d.env.scratch[worker][d.pairsLen()+d.sumsLen():]
	clear(sums)
	n := ceil(channels, matrixPart) * matrixPart
	each := ceil(d.strips(), d.chunks)
	first := task % d.chunks * each
	for i := first; i < min(first+each, d.strips()); i++ {
		for b := range blocks {
			d.load(words[b*d.planeLen():][:d.planeLen()], d.strip(i), block+b, spare)
		}
		all := tiles{
			x: d.gradient(worker, i, channel, channels), rows: d.channels.rows[:n], outs: d.channels.outs[:n], steps: d.steps,
			height: d.channels.height, pitch: d.channels.pitch, wBlock: d.planeLen(), yBlock: d.blockSums(),
		}
		for j, tap := range d.taps {
			for column := range d.cols.taps {
				t := &d.perWorker[worker]
				*t = all
				t.w = words[d.region(column, tap.remainder)+tap.line*d.pairs*Block:]
				t.y = sums[(j*len(d.cols.taps)+column)*d.tapSums():]
				d.addTo(t, blocks)
			}
		}
	}
	if d.chunks == 1 {
		d.store(sums, task, 0, channels)
	}
}

// addChunks adds up the chunks of a share, in their order, for some channels of dy.
func (d *matrixWeights) addChunks(share, from int) {
	_, blocks, _, channels := d.share(share)
	n := min(channels-from, matrixPart)
	if n <= 0 {
		return
	}
	total := d.sums(share*d.chunks, 0)
	for chunk := 1; chunk < d.chunks; chunk++ {
		further := d.sums(share*d.chunks+chunk, 0)
		for i := range blocks * d.tapsLen() {
			at := i*d.tapSums() + from*Block
			d.vectors.add(total[at:][:n*Block], total[at:][:n*Block], further[at:][:n*Block])
		}
	}
	d.store(total, share, from, n)
}

// store makes filters of a share's sums, for n channels of dy from one of them on.
func (d *matrixWeights) store(sums []float32, share, from, n int) {
	block, blocks, channel, _ := d.share(share)
	in, taps := d.conv.In.C, d.tapsLen()
	for k := from; k < from+n; k++ {
		for b := range blocks {
			first := (block + b) * Block
			filter, sums, lanes := d.dw[((channel+k)*in+first)*taps:], sums[b*d.blockSums()+k*Block:], min(Block, in-first)
			if taps == 1 {
				copy(filter[:lanes], sums)
			} else {
				d.transpose(filter, taps, sums, d.tapSums(), taps, lanes)
			}
		}
	}
}
