package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// ConvForward computes y = conv(x, w) with an epilogue; x and y blocked.
//
// Where [winogradPays], results are those of Winograd's algorithm, with its errors.
// Elsewhere a sum of n products is rounded at most n+3 times: its error is at most
// (n+3)*2^-24 times the sum of the absolute values. That holds for the
// gradients, too. Zeros around the image are multiplied like pixels, so that
// infinite weights make NaN there.
//
// In bfloat16 products are summed in float32, the weights are rounded first, and so
// is the result at last. A planar image is taken as it is, but rounded too for a matrix unit.
func ConvForward[T Element](e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase {
	switch {
	case depthwise(g):
		return depthwiseForward(e, g, y, x, w, ep)
	case g.Groups > 1:
		return groupedForward(e, g, y, x, w, ep)
	case winogradPays[T](e.ISA, g):
		return winogradForward(e, g, y, x, w, ep)
	}
	return directForward(e, g, y, x, w, ep)
}

func directForward[T Element](e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase {
	if x, ok := any(x).([]BF16); ok {
		return convForward(e, g, e.wordSource(g.In), y, words(x), w, ep)
	}
	return convForward(e, g, blockedSource(g.In), y, any(x).([]float32), w, ep)
}

// ConvForwardPlanar is [ConvForward] of a planar image.
func ConvForwardPlanar[T Element](e *Env, g op.Conv, y []T, x, w []float32, ep Epilogue[T]) []Phase {
	if g.Groups > 1 {
		blocked := make([]T, BlockedLen(g.In))
		return append(ToBlocked(e, g.In, blocked, x), groupedForward(e, g, y, blocked, w, ep)...)
	}
	if patchable[T](e, g) {
		return patchForward(e, g, any(y).([]BF16), x, w, any(ep).(Epilogue[BF16]))
	}
	return convForward(e, g, planarSource(g.In), y, x, w, ep)
}

func convForward[T Element](e *Env, g op.Conv, from source, y []T, x, w []float32, ep Epilogue[T]) []Phase {
	out, m := g.OutShape(), multiplierOf(e.ISA, from.pairs)
	p := newProduct(e, 0, m, newGather(e, g.In, from, forwardRows(g), forwardCols(g), m.limits(out)), out, blockedLayout(out), y, x, ep)
	if from.pairs {
		e.reserve(p.pairStretch() * Block)
	}
	n := g.In.C * p.taps()
	pack := Phase{Tasks: Blocks(g.Out), Constant: e.Keep, Run: func(block, worker int) {
		p.packBias(block)
		if from.pairs {
			p.packRowPairs(w, n, block, p.env.scratch[worker])
		} else {
			p.packRows(w, n, block)
		}
	}}
	return []Phase{pack, p.phase()}
}

// ConvBackwardData computes the gradient by x; dx and dy blocked. dx is the
// convolution of dy with the filters turned round; with a stride, each of the
// pixels that lie a stride apart is one of its own, with the taps that reach it.
func ConvBackwardData[T Element](e *Env, g op.Conv, dx, dy []T, w []float32) []Phase {
	switch {
	case depthwise(g):
		return depthwiseBackwardData(e, g, dx, dy, w)
	case g.Groups > 1:
		return groupedBackwardData(e, g, dx, dy, w)
	case winogradPays[T](e.ISA, g):
		return winogradBackwardData(e, g, dx, dy, w)
	}
	return directBackwardData(e, g, dx, dy, w)
}

func directBackwardData[T Element](e *Env, g op.Conv, dx, dy []T, w []float32) []Phase {
	if dy, ok := any(dy).([]BF16); ok {
		return convBackwardData(e, g, e.wordSource(g.OutShape()), dx, words(dy), w)
	}
	return convBackwardData(e, g, blockedSource(g.OutShape()), dx, any(dy).([]float32), w)
}

func convBackwardData[T Element](e *Env, g op.Conv, from source, dx []T, dy, w []float32) []Phase {
	var parts []turned[T]
	var products []Phase
	m := multiplierOf(e.ISA, from.pairs)
	at := 0
	for i := range min(g.StrideH, g.In.H) {
		rows, us := backwardAxis(i, g.In.H, g.KernelH, g.StrideH, g.PadH, g.DilationH)
		for j := range min(g.StrideW, g.In.W) {
			cols, vs := backwardAxis(j, g.In.W, g.KernelW, g.StrideW, g.PadW, g.DilationW)
			to := blockedLayout(g.In)
			to.line *= g.StrideH
			to.pixel *= g.StrideW
			p := newProduct(e, at, m, newGather(e, g.OutShape(), from, rows, cols, m.limits(g.In)), g.In, to, dx, dy, Epilogue[T]{})
			at += p.packedLen()
			p.origin = (i*g.In.W + j) * Block
			part := turned[T]{product: p}
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
func (p *product[T]) packRows(w []float32, n, block int) {
	const stretch = 64 // elements whose lanes stay in the first level cache
	dst, w, lanes := p.weights(block), w[block*Block*n:], p.lanesOf(block)
	if lanes < Block {
		clear(dst)
	}
	for i := 0; i < n; i += stretch {
		p.transpose(dst[i*Block:], Block, w[i:], n, lanes, min(stretch, n-i))
	}
}

// packRowPairs is packRows for elements that are pairs of channels.
func (p *product[T]) packRowPairs(w []float32, n, block int, scratch []float32) {
	taps := p.taps()
	dst, w, lanes, stretch := p.weights(block), w[block*Block*n:], p.lanesOf(block), p.pairStretch()
	rows := scratch[:stretch*Block]
	if lanes < Block {
		clear(rows)
	}
	for i := 0; i < n; i += stretch {
		some := min(stretch, n-i)
		p.transpose(rows, Block, w[i:], n, lanes, some)
		if unit := p.pairUnit() * taps; some%unit != 0 { // channels that are none
			missing := unit - some%unit
			clear(rows[some*Block:][:missing*Block])
			some += missing
		}
		p.pairElements(dst[i/2*Block:], rows, some/2, taps)
	}
}

// pairUnit is the number of channels whose pairs lie together, tap by tap.
func (p *product[T]) pairUnit() int {
	if p.joined {
		return 2 * p.lanes
	}
	return 2
}

// pairStretch is a number of elements, pairs of whole channels, whose lanes stay in
// the first level cache if that is possible.
func (p *product[T]) pairStretch() int {
	unit := p.pairUnit() * p.taps()
	return max(64/unit, 1) * unit
}

// pairElements makes n pairs of elements of channels that follow one another.
func (p *product[T]) pairElements(dst, rows []float32, n, taps int) {
	switch unit := p.pairUnit() / 2; {
	case taps == 1:
		p.vectors.pairFloats(dst[:n*Block], rows, rows[Block:], 2*Block)
	case unit == 1:
		for i := 0; i < n; i += taps {
			p.vectors.pairFloats(dst[i*Block:][:taps*Block], rows[2*i*Block:], rows[(2*i+taps)*Block:], Block)
		}
	default:
		for i := 0; i < n; i += unit {
			tap, rows := i/unit%taps, rows[i/(unit*taps)*2*unit*taps*Block:]
			p.vectors.pairFloats(dst[i*Block:][:unit*Block], rows[tap*Block:], rows[(tap+taps)*Block:], 2*taps*Block)
		}
	}
}

// turned is a product of some of the filters' taps.
type turned[T Element] struct {
	*product[T]
	taps []int // by their place in a filter
}

// packTurned packs the filters as steps (k, tap) of lanes c, or of pairs of k. Some channel
// blocks are packed at a time, so that memory is read in stretches.
func packTurned[T Element](e *Env, g op.Conv, w []float32, parts []turned[T]) Phase {
	const perTask = 2 * Block // output channels
	size := g.KernelH * g.KernelW
	together := 1 // filters
	if parts[0].pairs {
		together = parts[0].pairUnit()
	}
	each := together * size * Block // float32 of a block's filters
	tasks, blocks := ceil(g.Out, perTask), Blocks(g.In.C)
	some := min(blocks, max(packedTogether/each, 1))
	e.reserve(some * each)
	return Phase{Tasks: ceil(blocks, some) * tasks, Run: func(task, worker int) {
		from, first := task/tasks*some, task%tasks*perTask
		last := min(from+some, blocks)
		filters := e.scratch[worker][:some*each] // (block, k, tap, c)
		clear(filters)
		for k := first; k < min(first+perTask, g.Out); k += together {
			for i := range together {
				for block := from; block < last; block++ {
					filter := filters[(block-from)*each+i*size*Block:][:size*Block]
					if k+i < g.Out {
						parts[0].transpose(filter, Block, w[((k+i)*g.In.C+block*Block)*size:], size, parts[0].lanesOf(block), size)
					} else {
						clear(filter)
					}
				}
			}
			for _, p := range parts {
				for block := from; block < last; block++ {
					p.packTaps(p.weights(block), k, filters[(block-from)*each:][:each], size)
				}
			}
		}
	}}
}

// packedTogether is about the number of float32 of filters that are packed at a time.
const packedTogether = 4 << 10

// packTaps packs those of the filters that lie together, from one on.
func (p turned[T]) packTaps(dst []float32, k int, filters []float32, size int) {
	for i, tap := range p.taps {
		filter := filters[tap*Block:]
		if !p.pairs {
			copy(dst[p.element(k, i)*Block:][:Block], filter)
			continue
		}
		p.vectors.pairFloats(dst[p.element(k/2, i)*Block:][:p.pairUnit()/2*Block], filter, filter[size*Block:], 2*size*Block)
	}
}
