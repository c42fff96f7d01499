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

// span is the number of positions that so many outputs in a row reach across.
func (a axis) span(outputs int) int {
	if len(a.taps) == 0 {
		return 0
	}
	return (outputs-1)*a.step + slices.Max(a.taps) - slices.Min(a.taps) + 1
}

// inside reports whether every tap meets one of the source's positions.
func (a axis) inside(size int) bool { return a.first() >= 0 && a.first()+a.span(a.outputs) <= size }

// layout is how far neighbours lie apart, in float32. A plane is a channel
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
// or lines of one image. Unless every tap is inside the image, a strip is
// copied into a frame that has the zeros around it.
type gather struct {
	shape      op.Shape // of the source
	lanes      int      // of a plane
	rows, cols axis
	source     layout
	frame      layout
	direct     bool // no frame: the frame's layout is the source's
	images     int  // of a strip
	lines      int  // of a strip
	pixels     []int32
	elements   []int32
}

// frameSize is about what a frame may hold, so that it stays in the second
// level cache.
const frameSize = 96 << 10

// newGather divides the source into strips of about a number of output pixels.
func newGather(e *Env, s op.Shape, planar bool, rows, cols axis, pixels int) *gather {
	g := &gather{shape: s, lanes: Block, rows: rows, cols: cols, source: blockedLayout(s)}
	if planar {
		g.lanes, g.source = 1, planarLayout(s)
	}
	g.direct = rows.inside(s.H) && cols.inside(s.W)
	g.divide(pixels)
	g.frame = g.source
	if !g.direct {
		g.frame.pixel = g.lanes
		g.frame.line = cols.span(cols.outputs) * g.lanes
		g.frame.image = rows.span(g.lines) * g.frame.line
		g.frame.plane = g.images * g.frame.image
	}
	f := g.frame
	g.pixels = layout{image: f.image, line: f.line * rows.step, pixel: f.pixel * cols.step}.offsets(g.images, g.lines, cols.outputs)
	for c := range s.C {
		for _, u := range rows.taps {
			for _, v := range cols.taps {
				at := c/g.lanes*f.plane + c%g.lanes + (u-rows.first())*f.line + (v-cols.first())*f.pixel
				g.elements = append(g.elements, int32(at))
			}
		}
	}
	if !g.direct {
		e.reserve(g.planes() * g.frame.plane)
	}
	return g
}

// divide chooses the size of a strip.
func (g *gather) divide(pixels int) {
	line := g.planes() * g.lanes * g.cols.span(g.cols.outputs) // of the frame
	all := line * g.rows.span(g.rows.outputs)
	if g.direct || len(g.rows.taps) == 0 {
		line, all = 0, 0
	}
	g.lines = g.rows.outputs
	g.images = even(g.shape.N, min(pixels/(g.lines*g.cols.outputs), frameSize/max(1, all)))
	if g.images > 1 {
		return
	}
	lines := pixels / g.cols.outputs
	if line > 0 {
		lines = min(lines, (frameSize/line-g.rows.span(1))/g.rows.step+1)
	}
	g.lines = even(g.rows.outputs, lines)
}

// even is the size of parts of n that are at most most, as equal as they can
// be, and at least 1.
func even(n, most int) int {
	most = min(max(most, 1), n)
	return ceil(n, ceil(n, most))
}

func ceil(a, b int) int { return (a + b - 1) / b }

func (g *gather) planes() int { return ceil(g.shape.C, g.lanes) }

// strip is some images, and some lines of each.
type strip struct{ image, images, line, lines int }

// pixels is the number of a strip's output pixels.
func (s strip) pixels(g *gather) int { return s.images * s.lines * g.cols.outputs }

func (g *gather) strips() int { return ceil(g.shape.N, g.images) * ceil(g.rows.outputs, g.lines) }

func (g *gather) strip(i int) strip {
	perImage := ceil(g.rows.outputs, g.lines)
	s := strip{image: i / perImage * g.images, line: i % perImage * g.lines}
	s.images = min(g.images, g.shape.N-s.image)
	s.lines = min(g.lines, g.rows.outputs-s.line)
	return s
}

// load returns a strip's source, in which pixels and elements are offsets. It
// has the planes in [from, to) only.
func (g *gather) load(frame, src []float32, s strip, from, to int) []float32 {
	top, left := s.line*g.rows.step+g.rows.first(), g.cols.first()
	switch {
	case len(g.elements) == 0:
		return nil
	case g.direct:
		return src[s.image*g.source.image+top*g.source.line+left*g.source.pixel:]
	}
	for p := from; p < to; p++ {
		for n := range s.images {
			image := src[p*g.source.plane+(s.image+n)*g.source.image:]
			for i := range g.rows.span(s.lines) {
				line := frame[p*g.frame.plane+n*g.frame.image+i*g.frame.line:][:g.frame.line]
				if at := top + i; at < 0 || at >= g.shape.H {
					clear(line)
				} else {
					copyLine(line, image[at*g.source.line:][:g.source.line], left*g.lanes)
				}
			}
		}
	}
	return frame
}

// copyLine copies src from an index on, which may lie outside it, as all that
// is outside is zero.
func copyLine(dst, src []float32, from int) {
	begin := min(max(-from, 0), len(dst))
	end := min(max(len(src)-from, begin), len(dst))
	clear(dst[:begin])
	copy(dst[begin:end], src[min(max(from, 0), len(src)):])
	clear(dst[end:])
}
