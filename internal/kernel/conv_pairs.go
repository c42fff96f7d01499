package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// pairBackwardWeights is [ConvBackwardWeights] in bfloat16. A step is two pixels of
// the result next to each other: words of the gradient hold a channel of both, and
// words of the image what an element meets at both. The second of a line's last pair
// may be none, whose gradient is zero.
func pairBackwardWeights(e *Env, g op.Conv, dw []float32, x, dy []BF16) []Phase {
	rows, cols := forwardRows(g), forwardCols(g)
	pairs := axis{outputs: ceil(cols.outputs, 2), step: 2 * cols.step, taps: cols.taps}
	perPair := rows.step / rows.unit() * pairs.step / pairs.unit() * Block
	from := blockedSource(g.In)
	from.inPlace, from.pairs = false, true
	d := newWeightGradient(e, g, newGather(e, g.In, from, rows, pairs, limits{2 * weightStrip / (Block + perPair), weightElements, frameSize}))
	e.reserve(d.frameLen() + d.perTask*len(d.pixels)*Block)
	d.operands = &pairOperands{
		weightGradient: d, vectors: e.vectors, x: x, dy: dy,
		result: blockedLayout(g.OutShape()), width: cols.outputs, distance: cols.step,
		pointwise: pointwise(g),
	}
	return d.phases(dw)
}

type pairOperands struct {
	*weightGradient
	vectors   *vector
	x, dy     []BF16
	result    layout // of dy
	width     int    // of the result
	distance  int    // in the image, of what an element meets at a pair
	pointwise bool   // the image's lines are taken as those of the result
}

func (p *pairOperands) steps(s strip) []int32 { return p.pixels[:s.pixels(p.gather)] }

// image pairs every position of the frame with that a distance behind it.
func (p *pairOperands) image(worker int, s strip, c piece) []float32 {
	frame := p.env.scratch[worker]
	top, left := s.line*p.rows.step+p.rows.first(), p.cols.first()
	for plane := c.from; plane < c.to; plane++ {
		for n := range s.images {
			image := p.x[plane*p.layout.plane+(s.image+n)*p.layout.image:]
			words := frame[(plane-c.from)*p.frame.plane+n*p.frame.image:]
			if p.pointwise {
				p.pairLines(words, image[top*p.layout.line:], s.lines)
				continue
			}
			for i := range p.rows.span(s.lines) {
				words := words[i*p.frame.line:][:p.frame.line]
				if line := top + i*p.unitRow; line < 0 || line >= p.shape.H {
					clear(words)
				} else {
					p.vectors.pairLine(words, image[line*p.layout.line:][:p.layout.line], left, p.unitCol, p.distance)
				}
			}
		}
	}
	return frame
}

// gradient pairs the pixels of every line.
func (p *pairOperands) gradient(worker int, s strip, block, blocks int) (dy []float32, next int) {
	line := p.cols.outputs * Block
	to, lines := p.env.scratch[worker][p.frameLen():], s.images*s.lines
	for b := range blocks {
		plane := p.dy[(block+b)*p.result.plane:]
		p.pairLines(to[b*lines*line:], plane[s.image*p.result.image+s.line*p.result.line:], lines) // whole images follow one another
	}
	return to, lines * line
}

// pairLines pairs the pixels of n lines of the result's width: all at once where no
// pair ends a line with a pixel by itself.
func (p *pairOperands) pairLines(words []float32, lines []BF16, n int) {
	if p.width%2 == 0 {
		p.vectors.pairs(words[:n*p.width/2*Block], lines, lines[Block:], 2*Block)
		return
	}
	each := p.cols.outputs * Block
	for i := range n {
		p.vectors.pairLine(words[i*each:][:each], lines[i*p.width*Block:][:p.width*Block], 0, 2, 1)
	}
}

// pairLine pairs every unit-th pixel of a line, from one on, with that a distance
// behind it; those outside are zero.
func (v *vector) pairLine(words []float32, line []BF16, from, unit, distance int) {
	n, width := len(words)/Block, len(line)/Block
	begin, last := inside(n, width, from, unit)
	_, end := inside(n, width-distance, from, unit)
	end = max(end, begin)
	at := func(i int) []BF16 { return line[(from+i*unit)*Block:] }
	if begin < end {
		v.pairs(words[begin*Block:end*Block], at(begin), at(begin)[distance*Block:], unit*Block)
	}
	for i := end; i < last; i++ { // the second is outside
		v.pairs(words[i*Block:][:Block], at(i), noPixel[:], Block)
	}
	clear(words[last*Block:])
	for i := range begin { // or the first
		if second := from + i*unit + distance; second >= 0 && second < width {
			v.pairs(words[i*Block:][:Block], noPixel[:], line[second*Block:], Block)
		} else {
			clear(words[i*Block:][:Block])
		}
	}
}

// noPixel is outside of an image.
var noPixel [Block]BF16

// pointwise reports whether every pixel of the result sees the image's pixel at its
// place alone.
func pointwise(g op.Conv) bool {
	return g.KernelH == 1 && g.KernelW == 1 && g.StrideH == 1 && g.StrideW == 1 && g.PadH == 0 && g.PadW == 0
}
