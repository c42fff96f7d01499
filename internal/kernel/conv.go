package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// ConvForward computes y = conv(x, w) with an epilogue; x and y blocked.
//
// Where [winogradPays], results are those of Winograd's algorithm, with its errors.
// Elsewhere a sum of n products is rounded at most n+3 times: its error is at most
// (n+3)*2^-24 times the sum of the absolute values. That holds for the
// gradients, too. Zeros around the image are multiplied like pixels, so that
// infinite weights make NaN there.
func ConvForward(e *Env, g op.Conv, y, x, w []float32, ep Epilogue) []Phase {
	switch {
	case depthwise(g):
		return depthwiseForward(e, g, y, x, w, ep)
	case g.Groups > 1:
		return groupedForward(e, g, y, x, w, ep)
	case winogradPays(g):
		return winogradForward(e, g, y, x, w, ep)
	}
	return convForward(e, g, false, y, x, w, ep)
}

// ConvForwardPlanar is [ConvForward] of a planar image.
func ConvForwardPlanar(e *Env, g op.Conv, y, x, w []float32, ep Epilogue) []Phase {
	if g.Groups > 1 {
		blocked := Alloc(BlockedLen(g.In))
		return append(ToBlocked(e, g.In, blocked, x), groupedForward(e, g, y, blocked, w, ep)...)
	}
	return convForward(e, g, true, y, x, w, ep)
}

func convForward(e *Env, g op.Conv, planar bool, y, x, w []float32, ep Epilogue) []Phase {
	out := g.OutShape()
	p := newProduct(e, 0, newGather(e, g.In, planar, forwardRows(g), forwardCols(g), productPixels, multiplierOf(e.ISA).depth), out, blockedLayout(out), y, x, ep)
	n := p.elements()
	pack := Phase{Tasks: Blocks(g.Out), Run: func(block, _ int) {
		p.packBias(block)
		p.packRows(w, n, block)
	}}
	return []Phase{pack, p.phase()}
}

// ConvBackwardData computes the gradient by x; dx and dy blocked. dx is the
// convolution of dy with the filters turned round; with a stride, each of the
// pixels that lie a stride apart is one of its own, with the taps that reach it.
func ConvBackwardData(e *Env, g op.Conv, dx, dy, w []float32) []Phase {
	switch {
	case depthwise(g):
		return depthwiseBackwardData(e, g, dx, dy, w)
	case g.Groups > 1:
		return groupedBackwardData(e, g, dx, dy, w)
	case winogradPays(g):
		return winogradBackwardData(e, g, dx, dy, w)
	}
	return convBackwardData(e, g, dx, dy, w)
}

func convBackwardData(e *Env, g op.Conv, dx, dy, w []float32) []Phase {
	var parts []turned
	var products []Phase
	at := 0
	for i := range min(g.StrideH, g.In.H) {
		rows, us := backwardAxis(i, g.In.H, g.KernelH, g.StrideH, g.PadH, g.DilationH)
		for j := range min(g.StrideW, g.In.W) {
			cols, vs := backwardAxis(j, g.In.W, g.KernelW, g.StrideW, g.PadW, g.DilationW)
			to := blockedLayout(g.In)
			to.line *= g.StrideH
			to.pixel *= g.StrideW
			p := newProduct(e, at, newGather(e, g.OutShape(), false, rows, cols, productPixels, multiplierOf(e.ISA).depth), g.In, to, dx, dy, Epilogue{})
			at = p.end()
			p.origin = (i*g.In.W + j) * Block
			part := turned{product: p}
			for _, u := range us {
				for _, v := range vs {
					part.taps = append(part.taps, u*g.KernelW+v)
				}
			}
			parts = append(parts, part)
			products = append(products, p.phase())
		}
	}
	return []Phase{packTurned(e, g, w, parts), together(products)}
}

// together runs the tasks of several phases as one.
func together(phases []Phase) Phase {
	if len(phases) == 1 {
		return phases[0]
	}
	total := 0
	for _, p := range phases {
		total += p.Tasks
	}
	return Phase{Tasks: total, Run: func(task, worker int) {
		i := 0
		for ; task >= phases[i].Tasks; i++ {
			task -= phases[i].Tasks
		}
		phases[i].Run(task, worker)
	}}
}

func forwardRows(g op.Conv) axis {
	return forwardAxis(g.OutShape().H, g.KernelH, g.StrideH, g.PadH, g.DilationH)
}

func forwardCols(g op.Conv) axis {
	return forwardAxis(g.OutShape().W, g.KernelW, g.StrideW, g.PadW, g.DilationW)
}

func forwardAxis(outputs, kernel, stride, pad, dilation int) axis {
	a := axis{outputs: outputs, step: stride}
	for u := range kernel {
		a.taps = append(a.taps, u*dilation-pad)
	}
	return a
}

// backwardAxis is how the image's positions first, first+stride, ... meet the
// result, and which taps of the filter they are.
func backwardAxis(first, size, kernel, stride, pad, dilation int) (a axis, filter []int) {
	a = axis{outputs: ceil(size-first, stride), step: 1}
	for u := range kernel {
		if at := first + pad - u*dilation; at%stride == 0 {
			a.taps = append(a.taps, at/stride)
			filter = append(filter, u)
		}
	}
	return a, filter
}

// packRows packs the rows of w, n elements each, as steps of lanes that are
// rows; lanes behind the last row become zero.
func (p *product) packRows(w []float32, n, block int) {
	const stretch = 64 // elements whose lanes stay in the first level cache
	dst, w, lanes := p.weights(block), w[block*Block*n:], p.lanesOf(block)
	if lanes < Block {
		clear(dst)
	}
	for i := 0; i < n; i += stretch {
		p.transpose(dst[i*Block:], Block, w[i:], n, lanes, min(stretch, n-i))
	}
}

// turned is a product of some of the filters' taps.
type turned struct {
	*product
	taps []int // by their place in a filter
}

// packTurned packs the filters as steps (k, tap) of lanes c.
func packTurned(e *Env, g op.Conv, w []float32, parts []turned) Phase {
	const perTask = 32 // output channels
	size := g.KernelH * g.KernelW
	e.reserve(size * Block)
	tasks := ceil(g.Out, perTask)
	return Phase{Tasks: Blocks(g.In.C) * tasks, Run: func(task, worker int) {
		block, first := task/tasks, task%tasks*perTask
		lanes := parts[0].lanesOf(block)
		filter := e.scratch[worker][:size*Block] // (tap, c)
		clear(filter)
		for k := first; k < min(first+perTask, g.Out); k++ {
			parts[0].transpose(filter, Block, w[(k*g.In.C+block*Block)*size:], size, lanes, size)
			for _, p := range parts {
				dst := p.weights(block)[k*len(p.taps)*Block:]
				for i, tap := range p.taps {
					copy(dst[i*Block:][:Block], filter[tap*Block:])
				}
			}
		}
	}}
}
