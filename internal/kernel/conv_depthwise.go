package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// depthwise reports whether every channel has a filter of its own and there are
// neither strides nor gaps.
func depthwise(g op.Conv) bool {
	return g.Groups > 1 && g.Groups == g.In.C && g.Groups == g.Out &&
		g.StrideH == 1 && g.StrideW == 1 && g.DilationH == 1 && g.DilationW == 1
}

func depthwiseForward[T Element](e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase {
	return newDepthwise[T](e, g.In, g.OutShape(), g).filter(y, x, w, ep, false)
}

// depthwiseBackwardData filters dy with the filters turned round.
func depthwiseBackwardData[T Element](e *Env, g op.Conv, dx, dy []T, w []float32) []Phase {
	turned := g
	turned.PadH, turned.PadW = g.KernelH-1-g.PadH, g.KernelW-1-g.PadW
	return newDepthwise[T](e, g.OutShape(), g.In, turned).filter(dx, dy, w, Epilogue[T]{}, true)
}

// depthwiseConv is a depthwise convolution of a source with a result, plane by
// plane: a channel block of an image, in a frame that has the zeros around it.
type depthwiseConv[T Element] struct {
	env        *Env
	vectors    *vector
	g          op.Conv // of kernel and padding
	source     op.Shape
	result     op.Shape
	frameLines int
	frameLine  int // float32
}

func newDepthwise[T Element](e *Env, source, result op.Shape, g op.Conv) *depthwiseConv[T] {
	d := &depthwiseConv[T]{env: e, vectors: e.vectors, g: g, source: source, result: result}
	d.frameLine = (result.W + g.KernelW - 1) * Block
	d.frameLines = result.H + g.KernelH - 1
	e.reserve(d.frameLen() + d.taps()*Block + max(epilogueLen[T](result.W*Block)+result.W*Block, d.frameLen()))
	return d
}

func (d *depthwiseConv[T]) taps() int     { return d.g.KernelH * d.g.KernelW }
func (d *depthwiseConv[T]) frameLen() int { return d.frameLines * d.frameLine }

// load copies a plane of the source into a frame.
func (d *depthwiseConv[T]) load(frame []float32, src []T, plane int) {
	d.loadLines(frame, src, plane, 0, d.frameLines)
}

// loadLines copies n lines of a plane's frame, from one on.
func (d *depthwiseConv[T]) loadLines(frame []float32, src []T, plane, from, n int) {
	l := blockedLayout(d.source)
	for i := range n {
		widenLine(d.vectors, l, frame[i*d.frameLine:][:d.frameLine], src[plane*l.image:], from+i-d.g.PadH, d.source.H, -d.g.PadW)
	}
}

// filters packs a channel block's filters as (tap, lane), turned round if wanted.
func (d *depthwiseConv[T]) filters(dst, w []float32, block int, turned bool) {
	clear(dst)
	n := d.taps()
	for lane := range min(Block, d.result.C-block*Block) {
		for tap := range n {
			at := tap
			if turned {
				at = n - 1 - tap
			}
			dst[tap*Block+lane] = w[(block*Block+lane)*n+at]
		}
	}
}

func (d *depthwiseConv[T]) filter(y, x []T, w []float32, ep Epilogue[T], turned bool) []Phase {
	images, line := d.source.N, d.result.W*Block
	return []Phase{ranges(Blocks(d.source.C)*images, d.taps()*d.result.H*line, func(from, to, worker int) {
		scratch := d.env.scratch[worker]
		frame, scratch := scratch[:d.frameLen()], scratch[d.frameLen():]
		filters, scratch := scratch[:d.taps()*Block], scratch[d.taps()*Block:]
		sums, rest := scratch[:line], scratch[line:]
		for plane := from; plane < to; plane++ {
			block := plane / images
			d.filters(filters, w, block, turned)
			epilogue := newBlockEpilogue(d.vectors, ep, d.result, block, rest)
			d.load(frame, x, plane)
			whole := y[block*images*d.result.H*line:]
			for i := range d.result.H {
				at := (plane%images*d.result.H + i) * line
				dst, direct := epilogue.in(whole)
				if direct {
					dst = dst[at:][:line]
				} else {
					dst = sums
				}
				d.filterLine(dst, frame[i*d.frameLine:], filters)
				if !direct {
					epilogue.write(whole, dst, at)
				}
			}
		}
	})}
}

// filterLine is a line of the result.
func (d *depthwiseConv[T]) filterLine(dst, frame, filters []float32) {
	if d.g.KernelH == 3 && d.g.KernelW == 3 {
		d.vectors.filter3x3(dst, frame, filters, d.frameLine)
		return
	}
	d.vectors.windowFilter(dst, frame, filters, d.g.KernelH, d.g.KernelW, d.frameLine, Block)
}

// depthwiseBackwardWeights sums dy times the image, some lines of a plane at a time, tap
// by tap: the gradient lies in a frame as wide as the image's, so that they are one sum.
func depthwiseBackwardWeights[T Element](e *Env, g op.Conv, dw []float32, x, dy []T) []Phase {
	out := g.OutShape()
	d := newDepthwise[T](e, g.In, out, g)
	n, line := d.taps(), out.W*Block
	lines := even(out.H, frameSize/2/d.frameLine)
	perWorker := make([]float64, e.Workers*n*Block)
	return []Phase{ranges(Blocks(g.In.C), n*out.Pixels()*Block, func(from, to, worker int) {
		frame, gradient := e.scratch[worker][:d.frameLen()], e.scratch[worker][d.frameLen():]
		for block := from; block < to; block++ {
			sums := perWorker[worker*n*Block:][:n*Block]
			clear(sums)
			for image := range g.In.N {
				plane := block*g.In.N + image
				l := blockedLayout(out)
				for top := 0; top < out.H; top += lines {
					some := min(lines, out.H-top)
					d.loadLines(frame, x, plane, top, some+g.KernelH-1)
					gradient := gradient[:(some-1)*d.frameLine+line]
					for i := range some {
						to := gradient[i*d.frameLine:]
						widenLine(d.vectors, l, to[:min(d.frameLine, len(to))], dy[plane*l.image:], top+i, out.H, 0)
					}
					for tap := range n {
						at := tap/g.KernelW*d.frameLine + tap%g.KernelW*Block
						d.vectors.sumProducts(sums[tap*Block:][:Block], gradient, frame[at:])
					}
				}
			}
			for lane := range min(Block, g.In.C-block*Block) {
				for tap := range n {
					dw[(block*Block+lane)*n+tap] = float32(sums[tap*Block+lane])
				}
			}
		}
	})}
}
