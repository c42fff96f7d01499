package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// A matrix unit multiplies tiles of up to matrixRows rows by Block lanes, over Block
// steps at a time, each of two bfloat16. A row's steps lie in a cache line, so that
// frames join two channel blocks (matrixSource).
const matrixRows = 16

// The most that a matrix unit's products take at a time: elements of a piece, and
// float32 of a frame, which go through a second level cache of 2 MiB.
const (
	matrixDepth = 2304
	matrixRoom  = 160 << 10
)

// matrixHeight is the number of a tile's rows that costs least for n rows in a line;
// a tile of few takes as long as one of nine.
func matrixHeight(n int) int {
	best, least := 1, n*matrixRows
	for height := 1; height <= min(n, matrixRows); height++ {
		if cost := ceil(n, height) * max(height, 9); cost <= least {
			best, least = height, cost
		}
	}
	return best
}

// matrixBand arranges rows in tiles that do not go beyond a line, two tiles after one
// another. The last of a line begins so early that it is full; what it repeats has no
// place.
func matrixBand(rows, outs []int32, line int) band {
	pitch := Block
	if len(rows) > 1 {
		pitch = int(rows[1] - rows[0])
	}
	line = evenlyApart(rows, line)
	b := band{height: matrixHeight(line), pitch: pitch}
	for first := 0; first < len(rows); first += line {
		for done := 0; done < line; done += b.height {
			b.tile(rows, outs, first+min(done, line-b.height), first+done)
		}
	}
	if len(b.rows)/b.height%2 != 0 {
		b.tile(rows, outs, 0, len(rows))
	}
	return b
}

// tile adds one of rows from one on; those before another are done.
func (b *band) tile(rows, outs []int32, from, done int) {
	for i := from; i < from+b.height; i++ {
		out := outs[i]
		if i < done {
			out = -1
		}
		b.rows, b.outs = append(b.rows, rows[i]), append(b.outs, out)
	}
}

// evenlyApart is the number of rows in a line, or that of all where lines follow one
// another as their rows do.
func evenlyApart(rows []int32, line int) int {
	for i := 1; i < len(rows); i++ {
		if rows[i]-rows[i-1] != rows[1]-rows[0] {
			return line
		}
	}
	return len(rows)
}

// matrixStrip is about the number of pairs of pixels in a strip of the gradient by
// the weights.
const matrixStrip = 256

// matrixResult is the number of float32 of that gradient that a task goes through
// again and again.
const matrixResult = 128 << 10

// matrixWeights is the gradient by the weights for a matrix unit. Rows are channels of
// dy, lanes those of the image, and steps pairs of pixels of the result next to each
// other, line by line. The gradient is turned into rows once. The image is paired strip
// by strip, for each column of the filter by itself, so that a word is what the column
// meets at both pixels; a row of the filter begins some lines further on. Between the
// images of a strip are lines of no result, where the gradient is zero.
type matrixWeights struct {
	division
	*multiplier
	env       *Env
	vectors   *vector
	conv      op.Conv
	x, dy     []BF16
	cols      axis
	taps      []matrixRow
	every     int // lines from an image of a strip to the next
	stride    int // lines of the image from a line of the result to the next
	pairs     int // of a line
	steps     []int32
	pitch     int // between the rows of the turned gradient
	channels  band
	perTask   int // channel blocks of the image
	chunks    int // of strips, summed each for itself
	perWorker []tiles
}

// matrixRow is where the lines that a row of the filter meets are.
type matrixRow struct {
	remainder int // of the line by the stride
	line      int // quotient
}

func matrixBackwardWeights(e *Env, g op.Conv, dw []float32, x, dy []BF16) []Phase {
	d := newMatrixWeights(e, g, x, dy)
	out, groups := Blocks(g.Out), ceil(Blocks(g.In.C), d.perTask)
	turn := Phase{Tasks: d.strips() * out, Run: func(task, worker int) {
		d.turn(task/out, task%out, e.scratch[worker])
	}}
	sum := Phase{Tasks: groups * d.chunks, Run: func(task, worker int) {
		first := task / d.chunks * d.perTask
		d.sum(worker, task%d.chunks, first, min(d.perTask, Blocks(g.In.C)-first))
	}}
	return []Phase{turn, sum, d.unpack(dw)}
}

func newMatrixWeights(e *Env, g op.Conv, x, dy []BF16) *matrixWeights {
	rows, cols := forwardRows(g), forwardCols(g)
	d := &matrixWeights{
		multiplier: multiplierOf(e.ISA, true), env: e, vectors: e.vectors, conv: g, x: x, dy: dy,
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
		d.steps[i] = int32(i)
	}
	d.pitch = len(d.steps)
	if d.pitch%1024 == 0 { // rows would fall onto the same lines of the cache
		d.pitch += Block
	}
	channels, places := make([]int32, g.Out), make([]int32, g.Out)
	for i := range channels {
		channels[i], places[i] = int32(i*d.pitch), int32(i*d.tapsLen()*Block)
	}
	d.channels = d.band(channels, places, g.Out)
	d.perTask = d.blocksPerTask(Blocks(g.In.C), matrixResult/d.partialLen())
	d.chunks = ceil(d.strips(), ceil(d.strips(), ceil(enoughTasks, ceil(Blocks(g.In.C), d.perTask))))
	e.share(d.turnedLen() + d.chunks*Blocks(g.In.C)*d.partialLen())
	e.reserve(max(len(d.steps)*Block, d.perTask*d.planeLen()))
	return d
}

// turnedLen is the number of float32 of the turned gradient, and partialLen that of a
// sum for a channel block of the image, (out, taps, Block).
func (d *matrixWeights) turnedLen() int  { return d.strips() * Blocks(d.conv.Out) * Block * d.pitch }
func (d *matrixWeights) partialLen() int { return d.tapsLen() * d.conv.Out * Block }
func (d *matrixWeights) tapsLen() int    { return len(d.taps) * len(d.cols.taps) }

// turned is a strip's gradient, a row for each channel from a block on.
func (d *matrixWeights) turned(strip, block int) []float32 {
	return d.env.shared[(strip*Blocks(d.conv.Out)+block)*Block*d.pitch:]
}

// partial is the sum of a chunk of strips for a channel block of the image.
func (d *matrixWeights) partial(chunk, block int) []float32 {
	return d.env.shared[d.turnedLen()+(chunk*Blocks(d.conv.In.C)+block)*d.partialLen():]
}

// turn makes a channel block's rows of a strip's gradient.
func (d *matrixWeights) turn(i, block int, scratch []float32) {
	s, l := d.strip(i), blockedLayout(d.conv.OutShape())
	words := scratch[:len(d.steps)*Block]
	clear(words)
	for n := range s.images {
		for line := range s.lines {
			at := block*l.plane + (s.image+n)*l.image + (s.line+line)*l.line
			d.vectors.pairLine(words[(n*d.every+line)*d.pairs*Block:][:d.pairs*Block], d.dy[at:][:l.line], 0, 2, 1)
		}
	}
	d.transpose(d.turned(i, block), d.pitch, words, Block, len(d.steps), Block)
}

// regionLen is the number of words of the image's pairs for a column and a remainder, with
// zeros behind them for the steps beyond the last pair; planeLen is that of all.
func (d *matrixWeights) regionLen() int { return (d.images*d.every*d.pairs + Block) * Block }
func (d *matrixWeights) planeLen() int  { return len(d.cols.taps) * d.stride * d.regionLen() }

// region is where a column and a remainder are in the pairs of a plane.
func (d *matrixWeights) region(column, remainder int) int {
	return (column*d.stride + remainder) * d.regionLen()
}

// load pairs a strip of a channel block of the image.
func (d *matrixWeights) load(words []float32, s strip, block int) {
	clear(words)
	l := blockedLayout(d.conv.In)
	top := s.line*d.conv.StrideH - d.conv.PadH
	for n := range s.images {
		image := d.x[block*l.plane+(s.image+n)*l.image:][:l.image]
		for line := range d.every * d.stride {
			from := top + line
			if from < 0 || from >= d.conv.In.H {
				continue
			}
			source := image[from*l.line:][:l.line]
			at := (n*d.every + line/d.stride) * d.pairs * Block
			for column, tap := range d.cols.taps {
				to := words[d.region(column, line%d.stride)+at:][:d.pairs*Block]
				d.vectors.pairLine(to, source, tap, 2*d.cols.step, d.cols.step)
			}
		}
	}
}

// sum adds up a chunk's strips for some channel blocks of the image.
func (d *matrixWeights) sum(worker, chunk, block, blocks int) {
	each := ceil(d.strips(), d.chunks)
	words := d.env.scratch[worker]
	for i := chunk * each; i < min((chunk+1)*each, d.strips()); i++ {
		for b := range blocks {
			d.load(words[b*d.planeLen():][:d.planeLen()], d.strip(i), block+b)
		}
		for row, tap := range d.taps {
			for column := range d.cols.taps {
				d.multiply(worker, i, words[d.region(column, tap.remainder)+tap.line*d.pairs*Block:],
					d.partial(chunk, block)[(row*len(d.cols.taps)+column)*Block:], i > chunk*each, blocks)
			}
		}
	}
}

// multiply is a strip's share in an element of the filters, for some channel blocks.
func (d *matrixWeights) multiply(worker, strip int, words, sums []float32, add bool, blocks int) {
	t := &d.perWorker[worker]
	*t = tiles{
		x: d.turned(strip, 0), w: words, y: sums,
		rows: d.channels.rows, outs: d.channels.outs, steps: d.steps, height: d.channels.height, pitch: d.channels.pitch,
		wBlock: d.planeLen(), yBlock: d.partialLen(),
	}
	if add {
		t.add = t.y
	}
	d.run(t, blocks)
}

// unpack adds up the chunks, in their order, and stores them as filters. A task writes
// whole filters, so that its results follow one another in memory.
func (d *matrixWeights) unpack(dw []float32) Phase {
	in, out, taps := d.conv.In.C, d.conv.Out, d.tapsLen()
	filters := max(taskLen/(in*taps), 1)
	return Phase{Tasks: ceil(out, filters), Run: func(task, _ int) {
		first := task * filters
		last := min(first+filters, out)
		for block := range Blocks(in) {
			total, lanes := d.total(block, first, last), min(Block, in-block*Block)
			for k := first; k < last; k++ {
				filter, sums := dw[(k*in+block*Block)*taps:], total[(k-first)*taps*Block:]
				if taps == 1 {
					copy(filter[:lanes], sums)
				} else {
					d.transpose(filter, taps, sums, Block, taps, lanes)
				}
			}
		}
	}}
}

// total is the sum of the chunks in some filters for a channel block of the image.
func (d *matrixWeights) total(block, first, last int) []float32 {
	from, to := first*d.tapsLen()*Block, last*d.tapsLen()*Block
	total := d.partial(0, block)[from:to]
	for chunk := 1; chunk < d.chunks; chunk++ {
		d.vectors.add(total, total, d.partial(chunk, block)[from:to])
	}
	return total
}
