package kernel

import (
	"slices"

	"github.com/surrogaze/surrogaze/internal/op"
)

// axis is how the outputs along one axis meet a source: output i and tap u at
// the source's position i*step + taps[u], where the source is zero outside its
// bounds.
type axis struct {
	outputs, step int
	taps          []int
}

// first is the position that the lowest tap of output 0 meets.
func (a axis) first() int {
	if len(a.taps) == 0 {
		return 0
	}
	return slices.Min(a.taps)
}

// unit divides the distance between any two positions that are met.
func (a axis) unit() int {
	unit := a.step
	for _, t := range a.taps {
		for d := t - a.taps[0]; d != 0; {
			unit, d = d, unit%d
		}
	}
	return max(unit, -unit)
}

// span is the number of positions, a unit apart, that so many outputs in a row
// reach across.
func (a axis) span(outputs int) int {
	if len(a.taps) == 0 {
		return 0
	}
	return ((outputs-1)*a.step+slices.Max(a.taps)-slices.Min(a.taps))/a.unit() + 1
}

// inside reports whether every tap meets one of the source's positions.
func (a axis) inside(size int) bool {
	return a.first() >= 0 && a.first()+(a.span(a.outputs)-1)*a.unit() < size
}

// layout is how far neighbours lie apart, in elements. A plane is a channel
// block, or a channel of a planar tensor.
type layout struct{ plane, image, line, pixel int }

func blockedLayout(s op.Shape) layout {
	return layout{s.Pixels() * Block, s.H * s.W * Block, s.W * Block, Block}
}

func planarLayout(s op.Shape) layout { return layout{s.H * s.W, s.C * s.H * s.W, s.W, 1} }

// offsets are those of pixels, image by image and line by line, to the first.
func (l layout) offsets(images, lines, columns int) []int32 {
	list := make([]int32, 0, images*lines*columns)
	for n := range images {
		for i := range lines {
			for j := range columns {
				list = append(list, int32(n*l.image+i*l.line+j*l.pixel))
			}
		}
	}
	return list
}

// gather is how a convolution reads its source, strip by strip: whole images,
// or lines of one image. A strip is copied into a frame that has the zeros
// around it, the channel blocks close together, and no pixels that no tap meets.
// A source that needs no zeros is read where it is if it is planar or the filter
// has one tap. The frame holds one piece of the elements' planes at a time.
type gather struct {
	source
	division
	vectors    *vector
	shape      op.Shape // of the source
	rows, cols axis
	direct     bool   // there is no frame
	frame      layout // of units, or of the source's pixels
	unitRow    int    // of the source, to a line of the frame
	unitCol    int
	pixels     []int32 // offsets in the frame
	pieces     []piece
}

// piece is some of the elements (c, u, v) that a filter looks at, in order; of joined
// planes (plane, u, v, c).
type piece struct {
	first    int     // element
	from, to int     // planes
	elements []int32 // offsets in the frame
}

// source is how what is gathered lies in memory, in float32 or in words of two
// bfloat16.
type source struct {
	channels int // words of channels
	lanes    int // of a plane
	layout   layout
	inPlace  bool     // may be read where it is
	pairs    bool     // words are two bfloat16
	joined   bool     // a plane of the frame is two of the source, pixel by pixel
	patches  *patches // what is joined, if it is made of a planar image
}

func blockedSource(s op.Shape) source {
	return source{channels: s.C, lanes: Block, layout: blockedLayout(s), inPlace: true}
}

func planarSource(s op.Shape) source {
	return source{channels: s.C, lanes: 1, layout: planarLayout(s), inPlace: true}
}

// pairSource is that of blocked bfloat16, of which a word is two channels.
func pairSource(s op.Shape) source {
	l := blockedLayout(s)
	return source{
		channels: ceil(s.C, 2), lanes: Block / 2, layout: layout{l.plane / 2, l.image / 2, l.line / 2, l.pixel / 2},
		inPlace: true, pairs: true,
	}
}

// matrixSource is that of blocked bfloat16 for matrix units, whose pixels are whole
// cache lines.
func matrixSource(s op.Shape) source {
	from := pairSource(s)
	from.channels, from.lanes = ceil(s.C, 2*Block)*Block, Block
	from.inPlace, from.joined = false, true
	return from
}

// wordSource is that of blocked bfloat16 for an instruction set's products.
func (e *Env) wordSource(s op.Shape) source {
	if multiplierOf(e.ISA, true).matrix {
		return matrixSource(s)
	}
	return pairSource(s)
}

// frameSize is about what a frame may hold, so that it stays in the second
// level cache.
const frameSize = 48 << 10

// limits are about what may be taken at a time: output pixels in a strip, elements in
// a piece, and float32 in the frame.
type limits struct{ pixels, elements, frame int }

// newGather divides the source into strips and the elements into pieces.
func newGather(e *Env, s op.Shape, from source, rows, cols axis, most limits) *gather {
	g := &gather{source: from, division: division{batch: s.N, height: rows.outputs}, vectors: e.vectors, shape: s, rows: rows, cols: cols, unitRow: rows.unit(), unitCol: cols.unit()}
	one := g.taps() == 1 && rows.step == 1 && cols.step == 1
	g.direct = from.inPlace && (from.lanes == 1 || one) && rows.inside(s.H) && cols.inside(s.W)
	g.cut(most.elements)
	g.divide(most.pixels, most.frame)
	if g.direct {
		g.frame, g.unitRow, g.unitCol = g.layout, 1, 1
	} else {
		g.frame.pixel = g.lanes
		g.frame.line = cols.span(cols.outputs) * g.lanes
		g.frame.image = rows.span(g.lines) * g.frame.line
		g.frame.plane = g.images * g.frame.image
		e.reserve(g.frameLen())
	}
	g.place()
	return g
}

// frameLen is the number of float32 of the frame.
func (g *gather) frameLen() int {
	if g.direct {
		return 0
	}
	return g.planes() * g.frame.plane
}

// taps is the number of elements of a channel, and elements that of all.
func (g *gather) taps() int     { return len(g.rows.taps) * len(g.cols.taps) }
func (g *gather) elements() int { return g.channels * g.taps() }

// element is where a channel and a tap come in order.
func (g *gather) element(channel, tap int) int {
	if !g.joined {
		return channel*g.taps() + tap
	}
	return (channel/g.lanes*g.taps()+tap)*g.lanes + channel%g.lanes
}

// cut makes the pieces: of whole planes, or else of whole channels, where they
// are small enough.
func (g *gather) cut(most int) {
	n, unit := g.elements(), max(g.taps(), 1)
	switch {
	case unit*g.lanes <= most:
		unit *= g.lanes
	case g.joined:
		unit = g.lanes
	case unit > most:
		unit = 1
	}
	size := even(ceil(max(n, 1), unit), most/unit) * unit
	plane := max(g.taps(), 1) * g.lanes
	for first := 0; first == 0 || first < n; first += size {
		last := min(first+size, n)
		g.pieces = append(g.pieces, piece{first: first, from: first / plane, to: ceil(last, plane), elements: make([]int32, last-first)})
	}
}

// planes is the largest number that a piece has.
func (g *gather) planes() (most int) {
	for _, c := range g.pieces {
		most = max(most, c.to-c.from)
	}
	return most
}

// place finds where pixels and elements lie in the frame.
func (g *gather) place() {
	f := g.frame
	g.pixels = layout{0, f.image, g.rows.step / g.unitRow * f.line, g.cols.step / g.unitCol * f.pixel}.offsets(g.images, g.lines, g.cols.outputs)
	for tap := range g.taps() {
		down := (g.rows.taps[tap/len(g.cols.taps)] - g.rows.first()) / g.unitRow
		right := (g.cols.taps[tap%len(g.cols.taps)] - g.cols.first()) / g.unitCol
		for c := range g.channels {
			i := g.element(c, tap)
			p := g.pieces[i/len(g.pieces[0].elements)]
			p.elements[i-p.first] = int32((c/g.lanes-p.from)*f.plane + c%g.lanes + down*f.line + right*f.pixel)
		}
	}
}

// divide chooses the size of a strip.
func (g *gather) divide(pixels, frame int) {
	line := g.planes() * g.lanes * g.cols.span(g.cols.outputs) // of the frame
	all := line * g.rows.span(g.rows.outputs)
	if g.direct || g.taps() == 0 {
		line, all = 0, 0
	}
	g.lines = g.rows.outputs
	g.images = even(g.shape.N, min(pixels/(g.lines*g.cols.outputs), frame/max(1, all)))
	if g.images > 1 {
		return
	}
	lines := pixels / g.cols.outputs
	if line > 0 {
		lines = min(lines, (frame/line-g.rows.span(1))/g.rows.step+1)
	}
	g.lines = even(g.rows.outputs, lines)
}

// even is the size of parts of n that are at most most, as equal as they can
// be, and at least 1.
func even(n, most int) int {
	most = max(min(most, n), 1)
	return ceil(n, ceil(n, most))
}

func ceil(a, b int) int { return (a + b - 1) / b }

// strip is some images, and some lines of each.
type strip struct{ image, images, line, lines int }

// pixels is the number of a strip's output pixels.
func (s strip) pixels(g *gather) int { return s.images * s.lines * g.cols.outputs }

// division divides a batch of images of a height into strips.
type division struct {
	batch, height int
	images, lines int // of a strip, at most
}

func (d *division) strips() int { return ceil(d.batch, d.images) * ceil(d.height, d.lines) }

func (d *division) strip(i int) strip {
	perImage := ceil(d.height, d.lines)
	s := strip{image: i / perImage * d.images, line: i % perImage * d.lines}
	s.images = min(d.images, d.batch-s.image)
	s.lines = min(d.lines, d.height-s.line)
	return s
}

// load returns a strip's source, in which pixels and the piece's elements are
// offsets.
func (g *gather) load(frame, src []float32, s strip, c piece) []float32 {
	top, left := s.line*g.rows.step+g.rows.first(), g.cols.first()
	switch {
	case len(c.elements) == 0:
		return nil
	case g.direct:
		return src[c.from*g.layout.plane+s.image*g.layout.image+top*g.layout.line+left*g.layout.pixel:]
	}
	for p := c.from; p < c.to; p++ {
		for n := range s.images {
			lines, many := frame[(p-c.from)*g.frame.plane+n*g.frame.image:], g.rows.span(s.lines)
			if g.patches != nil {
				g.patchLines(lines, p, s.image+n, top, many)
				continue
			}
			if g.joined {
				g.joinLines(lines, src, 2*p, s.image+n, top, left, many)
				continue
			}
			image := src[p*g.layout.plane+(s.image+n)*g.layout.image:]
			for i := range many {
				copyLineOf(g.layout, lines[i*g.frame.line:][:g.frame.line], image, top+i*g.unitRow, g.shape.H, left, g.unitCol)
			}
		}
	}
	return frame
}

// patchLines makes lines of patches of an image, from one on; those outside are zero.
func (g *gather) patchLines(dst []float32, plane, image, top, n int) {
	for i := range n {
		dst, line := dst[i*g.frame.line:][:g.frame.line], top+i*g.unitRow
		if line < 0 || line >= g.shape.H {
			clear(dst)
		} else {
			g.patches.fill(BF16s(dst), image, line, plane*2*Block, 2*Block)
		}
	}
}

// joinLines joins two planes' lines of an image from one on, the second of which may be
// none; what lies outside is zero. Lines that are whole follow one another.
func (g *gather) joinLines(dst, src []float32, plane, image, top, left, n int) {
	at := plane*g.layout.plane + image*g.layout.image
	if left == 0 && g.unitRow == 1 && g.unitCol == 1 && g.frame.line == g.shape.W*Block && top >= 0 && top+n <= g.shape.H {
		g.join(dst[:n*g.frame.line], src[at+top*g.layout.line:], plane)
		return
	}
	begin, end := inside(g.frame.line/Block, g.shape.W, left, g.unitCol)
	for i := range n {
		dst, line := dst[i*g.frame.line:][:g.frame.line], top+i*g.unitRow
		if line < 0 || line >= g.shape.H || begin == end {
			clear(dst)
			continue
		}
		clear(dst[:begin*Block])
		clear(dst[end*Block:])
		g.join(dst[begin*Block:end*Block], src[at+line*g.layout.line+(left+begin*g.unitCol)*g.layout.pixel:], plane)
	}
}

// join fills pixels from a plane and the next.
func (g *gather) join(dst, src []float32, plane int) {
	step := g.unitCol * g.layout.pixel
	if plane+1 < Blocks(g.shape.C) {
		g.vectors.join(dst, src, src[g.layout.plane:], step)
		return
	}
	for i := range len(dst) / Block {
		*(*wordPixel)(dst[i*Block:]) = wordPixel(src[i*step:])
		clear(dst[i*Block+wordsPerPixel:][:wordsPerPixel])
	}
}

// wordPixel is the lanes of one pixel in words of two bfloat16.
type wordPixel = [wordsPerPixel]float32

const wordsPerPixel = Block / 2

// copyLineOf copies every unit-th pixel of an image's line i, of height lines, from a
// column on; what lies outside is zero.
func copyLineOf[T Element](l layout, dst, image []T, i, height, from, unit int) {
	if i < 0 || i >= height {
		clear(dst)
		return
	}
	copyLine(dst, image[i*l.line:][:l.line], from, unit, l.pixel)
}

// copyLine copies every unit-th pixel of src from one on; those that lie outside
// are zero. A pixel has a number of lanes.
func copyLine[T Element](dst, src []T, from, unit, lanes int) {
	begin, end := inside(len(dst)/lanes, len(src)/lanes, from, unit)
	clear(dst[:begin*lanes])
	clear(dst[end*lanes:])
	if begin == end {
		return
	}
	dst, src = dst[begin*lanes:end*lanes], src[(from+begin*unit)*lanes:]
	if unit == 1 {
		copy(dst, src)
		return
	}
	for i := range end - begin {
		copy(dst[i*lanes:][:lanes], src[i*unit*lanes:])
	}
}

// inside is which of n pixels, a unit apart from one on, are among so many.
func inside(n, size, from, unit int) (begin, end int) {
	begin = min(max(ceil(-from, unit), 0), n)
	return begin, min(max(ceil(size-from, unit), begin), n)
}

// widenLine is copyLineOf blocked pixels, each of a line, into float32.
func widenLine[T Element](v *vector, l layout, dst []float32, image []T, i, height, from int) {
	if image, ok := any(image).([]float32); ok {
		copyLineOf(l, dst, image, i, height, from, 1)
		return
	}
	if i < 0 || i >= height {
		clear(dst)
		return
	}
	src := any(image).([]BF16)[i*l.line:][:l.line]
	begin, end := inside(len(dst)/Block, len(src)/Block, from, 1)
	clear(dst[:begin*Block])
	clear(dst[end*Block:])
	if begin < end {
		v.widen(dst[begin*Block:end*Block], src[(from+begin)*Block:])
	}
}
