package kernel

import (
	"slices"

	"github.com/surrogaze/surrogaze/internal/op"
)

// patches is a planar image as a matrix unit takes it. What a line of a filter meets
// becomes the channels (channel, column) of one pixel of an image that is as wide as the
// result, and the filter one column wide: few channels then fill a cache line.
type patches struct {
	*multiplier
	vectors *vector
	conv    op.Conv
	planes  []BF16 // (N, H, C, W) with the zeros beside the lines, from patchRoom on
}

// patchRoom is the number of elements before and behind the planes, so that what lies so
// far from a patch may be read.
const patchRoom = 2 * Block

// patchable reports whether a planar convolution is one of patches.
func patchable[T Element](e *Env, g op.Conv) bool {
	_, single := any(T(0)).(float32)
	return !single && multiplierOf(e.ISA, true).matrix && g.Groups == 1 && g.DilationW == 1
}

func newPatches(e *Env, g op.Conv) *patches {
	p := &patches{multiplier: multiplierOf(e.ISA, true), vectors: e.vectors, conv: g}
	p.planes = make([]BF16, g.In.N*g.In.H*g.In.C*p.lineLen()+2*patchRoom)
	return p
}

// lineLen is the number of elements of a line of a plane.
func (p *patches) lineLen() int { return p.conv.In.W + 2*p.conv.PadW }

// convolution is that of the patches.
func (p *patches) convolution() op.Conv {
	g := p.conv
	g.In.C, g.In.W = g.In.C*g.KernelW, g.OutShape().W
	g.KernelW, g.StrideW, g.PadW = 1, 1, 0
	return g
}

// round makes the planes of an image.
func (p *patches) round(x []float32) Phase {
	in := p.conv.In
	return Phase{Tasks: in.N * in.C, Run: func(task, _ int) {
		n, c := task/in.C, task%in.C
		for i := range in.H {
			from := x[(task*in.H+i)*in.W:][:in.W]
			to := p.planes[patchRoom+((n*in.H+i)*in.C+c)*p.lineLen()+p.conv.PadW:]
			whole := in.W / Block * Block
			p.vectors.narrow(to, from[:whole], Block)
			for j, v := range from[whole:] {
				to[whole+j] = roundBF16(v)
			}
		}
	}}
}

// fill writes elements of the patches of a line, from one on: so many, at most 32, for
// every pixel, zero behind the last.
func (p *patches) fill(to []BF16, image, line, from, lanes int) {
	g := p.conv
	at := patchRoom + (image*g.In.H+line)*g.In.C*p.lineLen()
	all := uint32(1<<lanes - 1)
	for c := range g.In.C {
		first := c*g.KernelW - from // lane
		if first <= -g.KernelW || first >= lanes {
			continue
		}
		taken := uint32(shift(1<<g.KernelW-1, first)) & all
		written := taken
		if first <= 0 {
			written = all
		}
		p.write(to, p.planes[at+c*p.lineLen()-first:], lanes, g.StrideW, taken, written)
	}
}

// shift is bits to the left, or to the right by what is negative.
func shift(bits uint64, n int) uint64 {
	if n < 0 {
		return bits >> -n
	}
	return bits << n
}

// write writes some lanes of every pixel: from elements from a place on, which moves on
// by a step, or zero for those not taken.
func (p *patches) write(to, from []BF16, lanes, step int, taken, written uint32) {
	n := len(to) / lanes
	if p.multiplier.spread != nil {
		p.multiplier.spread(&to[0], &from[0], n, lanes, step, taken, written)
		return
	}
	for i := range n {
		for l := range lanes {
			switch bit := uint32(1) << l; {
			case taken&bit != 0:
				to[i*lanes+l] = from[i*step+l]
			case written&bit != 0:
				to[i*lanes+l] = 0
			}
		}
	}
}

// order writes filters in the order of the patches' channels, and restore is its inverse.
func (p *patches) order(to, filters []float32)     { p.each(func(i, j int) { to[i] = filters[j] }) }
func (p *patches) restore(filters, from []float32) { p.each(func(i, j int) { filters[j] = from[i] }) }

// each calls f for all places in the order of the patches and in filters.
func (p *patches) each(f func(i, j int)) {
	g, i := p.conv, 0
	for filter := range g.Out * g.In.C {
		for v := range g.KernelW {
			for u := range g.KernelH {
				f(i, (filter*g.KernelH+u)*g.KernelW+v)
				i++
			}
		}
	}
}

func patchForward(e *Env, g op.Conv, y []BF16, x, w []float32, ep Epilogue[BF16]) []Phase {
	p, ordered := newPatches(e, g), Alloc(len(w))
	order := Phase{Tasks: 1, Constant: e.Keep, Run: func(int, int) { p.order(ordered, w) }}
	from := matrixSource(p.convolution().In)
	from.patches = p
	return slices.Concat([]Phase{order, p.round(x)}, convForward(e, p.convolution(), from, y, nil, ordered, ep))
}

func patchBackwardWeights(e *Env, g op.Conv, dw, x []float32, dy []BF16) []Phase {
	p, ordered := newPatches(e, g), Alloc(len(dw))
	restore := Phase{Tasks: 1, Run: func(int, int) { p.restore(dw, ordered) }}
	d := newMatrixWeights(e, p.convolution(), ordered, nil, dy)
	d.patches = p
	return slices.Concat([]Phase{p.round(x)}, d.phases(), []Phase{restore})
}
