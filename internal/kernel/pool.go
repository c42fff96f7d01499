package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// MaxPool is the maximum of every window, blocked; padding never wins and NaN
// does.
func MaxPool[T Element](e *Env, g op.Pool, y, x []T) []Phase {
	v, p := e.vectors, newPooling(g)
	return pool(e, p, y, x, func(y, x []float32, w place) {
		v.windowMax(y[w.out:w.outEnd], x[w.in:], w.rows, w.cols, p.stride, p.step)
	})
}

// MaxPoolBackward is the gradient of [MaxPool] with its operand x and its result
// y: the first position of a window, in row order, whose value is not below the
// maximum takes dy.
func MaxPoolBackward[T Element](e *Env, g op.Pool, dx, dy, x, y []T) []Phase {
	v, p := e.vectors, newPooling(g)
	reservePlanes[T](e, 2*(p.inLen()+p.outLen()))
	return p.each(func(plane, worker int) {
		s := planesOf(e, worker)
		to := dx[plane*p.inLen():][:p.inLen()]
		dx, x := written(&s, to), read(&s, x[plane*p.inLen():][:p.inLen()])
		dy, y := read(&s, dy[plane*p.outLen():][:p.outLen()]), read(&s, y[plane*p.outLen():][:p.outLen()])
		clear(dx)
		p.windows(func(w place) {
			v.windowPick(dx[w.in:], dy[w.out:w.outEnd], x[w.in:], y[w.out:w.outEnd], w.rows, w.cols, p.stride, p.step)
		})
		put(&s, to, dx)
	})
}

// AvgPool is the mean of every window, blocked: of its whole area with CountPad,
// of the part inside the image without.
func AvgPool[T Element](e *Env, g op.Pool, y, x []T) []Phase {
	v, p := e.vectors, newPooling(g)
	return pool(e, p, y, x, func(y, x []float32, w place) {
		v.windowSum(y[w.out:w.outEnd], x[w.in:], p.share(w), w.rows, w.cols, p.stride, p.step)
	})
}

// AvgPoolBackward is the gradient of [AvgPool].
func AvgPoolBackward[T Element](e *Env, g op.Pool, dx, dy []T) []Phase {
	v, p := e.vectors, newPooling(g)
	reservePlanes[T](e, p.inLen()+p.outLen())
	return p.each(func(plane, worker int) {
		s := planesOf(e, worker)
		to := dx[plane*p.inLen():][:p.inLen()]
		dx, dy := written(&s, to), read(&s, dy[plane*p.outLen():][:p.outLen()])
		clear(dx)
		p.windows(func(w place) {
			v.windowAdd(dx[w.in:], dy[w.out:w.outEnd], p.share(w), w.rows, w.cols, p.stride, p.step)
		})
		put(&s, to, dx)
	})
}

// pool writes the result of every window.
func pool[T Element](e *Env, p *pooling, y, x []T, visit func(y, x []float32, w place)) []Phase {
	reservePlanes[T](e, p.inLen()+p.outLen())
	return p.each(func(plane, worker int) {
		s := planesOf(e, worker)
		to := y[plane*p.outLen():][:p.outLen()]
		y, x := written(&s, to), read(&s, x[plane*p.inLen():][:p.inLen()])
		p.windows(func(w place) { visit(y, x, w) })
		put(&s, to, y)
	})
}

// pooling walks through the windows of a pooling.
type pooling struct {
	op.Pool
	out          op.Shape
	planes       int // channel blocks of all images
	stride, step int // float32 between image rows and between windows
	// Outputs of a row from inner to innerEnd have windows inside the image from
	// left to right.
	inner, innerEnd int
}

func newPooling(g op.Pool) *pooling {
	p := &pooling{Pool: g, out: g.OutShape(), planes: Blocks(g.In.C) * g.In.N, stride: g.In.W * Block, step: g.Stride * Block}
	p.inner = min((g.Pad+g.Stride-1)/g.Stride, p.out.W)
	if g.In.W+g.Pad >= g.Kernel {
		p.innerEnd = min((g.In.W+g.Pad-g.Kernel)/g.Stride+1, p.out.W)
	}
	p.innerEnd = max(p.inner, p.innerEnd)
	return p
}

// place, in a plane, is a stretch of outputs in a row whose windows have the same size.
type place struct {
	out, outEnd int // float32 of the result
	in          int // float32 of the image where the first window begins
	rows, cols  int
}

// share is what one position of a window counts in its mean.
func (p *pooling) share(w place) float32 {
	if p.CountPad {
		return 1 / float32(p.Kernel*p.Kernel)
	}
	return 1 / float32(w.rows*w.cols)
}

// inLen and outLen are the lengths of a plane of the image and of the result.
func (p *pooling) inLen() int  { return p.In.H * p.In.W * Block }
func (p *pooling) outLen() int { return p.out.H * p.out.W * Block }

// each visits the planes.
func (p *pooling) each(visit func(plane, worker int)) []Phase {
	return []Phase{ranges(p.planes, p.Kernel*p.outLen(), func(from, to, worker int) {
		for plane := from; plane < to; plane++ {
			visit(plane, worker)
		}
	})}
}

// windows visits those of a plane.
func (p *pooling) windows(visit func(place)) {
	for row := range p.out.H {
		p.row(row, visit)
	}
}

// row visits the windows of one row of outputs.
func (p *pooling) row(row int, visit func(place)) {
	top := row*p.Stride - p.Pad
	h, end := max(0, top), min(p.In.H, top+p.Kernel)
	w := place{rows: end - h}
	run := func(j, count int) {
		left := j*p.Stride - p.Pad
		c := max(0, left)
		w.cols = min(p.In.W, left+p.Kernel) - c
		w.out = (row*p.out.W + j) * Block
		w.outEnd = w.out + count*Block
		w.in = (h*p.In.W + c) * Block
		visit(w)
	}
	for j := range p.inner {
		run(j, 1)
	}
	if p.inner < p.innerEnd {
		run(p.inner, p.innerEnd-p.inner)
	}
	for j := p.innerEnd; j < p.out.W; j++ {
		run(j, 1)
	}
}

// GlobalAvgPool is the mean of every channel of every image: x (N, C, H, W)
// blocked, y (N, C) planar.
func GlobalAvgPool[T Element](e *Env, s op.Shape, y []float32, x []T) []Phase {
	v, plane := blockwiseOf[T](e.ISA), s.H*s.W
	sums := make([]float64, Blocks(s.C)*s.N*Block)
	return []Phase{ranges(Blocks(s.C)*s.N, plane*Block, func(from, to, _ int) {
		clear(sums[from*Block : to*Block])
		for i := from; i < to; i++ {
			sum := sums[i*Block:][:Block]
			v.sum(sum, x[i*plane*Block:(i+1)*plane*Block])
			n, channel := i%s.N, i/s.N*Block
			for l := range min(Block, s.C-channel) {
				y[n*s.C+channel+l] = float32(sum[l] / float64(plane))
			}
		}
	})}
}

// GlobalAvgPoolBackward is the gradient of [GlobalAvgPool]: dx blocked, dy (N, C)
// planar.
func GlobalAvgPoolBackward[T Element](e *Env, s op.Shape, dx []T, dy []float32) []Phase {
	v, plane := blockwiseOf[T](e.ISA), s.H*s.W
	means := Alloc(Blocks(s.C) * s.N * Block)
	return []Phase{ranges(Blocks(s.C)*s.N, plane*Block, func(from, to, _ int) {
		for i := from; i < to; i++ {
			n, channel, mean := i%s.N, i/s.N*Block, means[i*Block:][:Block]
			for l := range min(Block, s.C-channel) {
				mean[l] = dy[n*s.C+channel+l] / float32(plane)
			}
			v.fill(dx[i*plane*Block:(i+1)*plane*Block], mean)
		}
	})}
}
