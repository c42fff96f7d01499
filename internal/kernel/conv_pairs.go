package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// pairBackwardWeights is [ConvBackwardWeights] in bfloat16. A step is two pixels of
// the result next to each other: words of the gradient hold a channel of both, and
// words of the image what an element meets at both.
func pairBackwardWeights(e *Env, g op.Conv, dw []float32, x, dy []BF16) []Phase {
	rows, cols := forwardRows(g), forwardCols(g)
	perPixel := rows.step / rows.unit() * cols.step / cols.unit() * Block
	from := blockedSource(g.In)
	from.inPlace, from.pairs = false, true
	d := newWeightGradient(e, g, newGather(e, g.In, from, rows, cols, 2*weightStrip/(Block+perPixel), weightElements))
	p := &pairOperands{weightGradient: d, vectors: vectors(e.ISA), x: x, dy: dy, result: blockedLayout(g.OutShape())}
	for i := range d.images * d.lines {
		for j := 0; j < cols.outputs; j += 2 {
			p.places = append(p.places, d.pixels[i*cols.outputs+j])
		}
	}
	p.distance = cols.step / d.unitCol
	p.line = make([][]BF16, e.Workers)
	for i := range p.line {
		p.line[i] = make([]BF16, d.frame.line+p.distance*Block)
	}
	e.reserve(d.frameLen() + d.perTask*len(p.places)*Block)
	d.operands = p
	return d.phases(dw)
}

type pairOperands struct {
	*weightGradient
	vectors  *vector
	x, dy    []BF16
	result   layout // of dy
	places   []int32
	distance int      // of two pixels' windows in the frame
	line     [][]BF16 // of each worker: of the image, with zeros behind it
}

// perLine is the number of pairs in a line of the result.
func (p *pairOperands) perLine() int { return ceil(p.cols.outputs, 2) }

func (p *pairOperands) steps(s strip) []int32 {
	return p.places[:s.images*s.lines*p.perLine()]
}

// image pairs every position of the frame with that a distance behind it.
func (p *pairOperands) image(worker int, s strip, c piece) []float32 {
	frame, line := p.env.scratch[worker], p.line[worker]
	top, left := s.line*p.rows.step+p.rows.first(), p.cols.first()
	clear(line[p.frame.line:])
	for plane := c.from; plane < c.to; plane++ {
		for n := range s.images {
			image := p.x[plane*p.layout.plane+(s.image+n)*p.layout.image:]
			for i := range p.gather.rows.span(s.lines) {
				copyLineOf(p.layout, line[:p.frame.line], image, top+i*p.unitRow, p.shape.H, left, p.unitCol)
				at := (plane-c.from)*p.frame.plane + n*p.frame.image + i*p.frame.line
				p.vectors.pairs(frame[at:][:p.frame.line], line, line[p.distance*Block:], Block)
			}
		}
	}
	return frame
}

// gradient pairs the pixels of every line; the last one, if by itself, with zero.
func (p *pairOperands) gradient(worker int, s strip, block, blocks int) (dy []float32, next int) {
	n, width := s.images*s.lines, p.cols.outputs
	to, each := p.env.scratch[worker][p.frameLen():], p.perLine()*Block
	for b := range blocks {
		plane := p.dy[(block+b)*p.result.plane:]
		for i := range n {
			from := plane[s.image*p.result.image+(s.line+i)*p.result.line:][:width*Block] // whole images follow one another
			words := to[(b*n+i)*each:][:each]
			whole := width / 2 * Block
			if whole > 0 {
				p.vectors.pairs(words[:whole], from, from[Block:], 2*Block)
			}
			if width%2 == 1 {
				for l, v := range from[(width-1)*Block:] {
					words[whole+l] = pair(v, 0)
				}
			}
		}
	}
	return to, n * each
}
