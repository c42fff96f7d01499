package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// CAM is the class activation map of [op.CAM]: f (N, C, H, W) blocked, w
// (Classes, C), class (N), cam (N, 1, H, W) planar. A constant map, and that of a
// class outside [0, Classes), is zeros. The map before scaling is summed in
// float32 within a channel block and in float64 over the blocks.
func CAM[T Element](e *Env, g op.CAM, cam []float32, f []T, w, class []float32) []Phase {
	m := newActivation(e, g, f, w, class)
	return m.each(func(n, _ int, s scaling) {
		out := cam[n*m.plane : (n+1)*m.plane]
		if !(s.span > 0) {
			clear(out)
			return
		}
		for i, v := range s.raw {
			out[i] = float32((v - s.raw[s.low]) / s.span)
		}
	})
}

// CAMBackwardFeatures is the gradient of [CAM] by f, blocked. Minimum and maximum
// pass their share to the first positions that have them.
func CAMBackwardFeatures[T Element](e *Env, g op.CAM, df []T, dcam []float32, f []T, w, class []float32) []Phase {
	m := newActivation(e, g, f, w, class)
	slopes := Alloc(g.Features.N * m.plane)
	return m.each(func(n, worker int, s scaling) {
		d := slopes[n*m.plane : (n+1)*m.plane]
		s.gradient(d, dcam[n*m.plane:(n+1)*m.plane])
		for block := range Blocks(g.Features.C) {
			p := planesOf(e, worker)
			to := m.features(df, block, n)
			plane := written(&p, to)
			m.outer(plane, m.row(block, n), d)
			put(&p, to, plane)
		}
	})
}

// CAMBackwardWeights is the gradient of [CAM] by w: dw (Classes, C).
func CAMBackwardWeights[T Element](e *Env, g op.CAM, dw, dcam []float32, f []T, w, class []float32) []Phase {
	m := newActivation(e, g, f, w, class)
	images, blocks := g.Features.N, Blocks(g.Features.C)
	slopes := Alloc(images * m.plane)
	sums := make([]float64, blocks*g.Classes*Block)
	unscale := m.each(func(n, _ int, s scaling) {
		s.gradient(slopes[n*m.plane:(n+1)*m.plane], dcam[n*m.plane:(n+1)*m.plane])
	})
	return append(unscale, ranges(blocks, images*m.plane*Block, func(from, to, worker int) {
		for block := from; block < to; block++ {
			sums := sums[block*g.Classes*Block:][:g.Classes*Block]
			clear(sums)
			for n := range images {
				if k := m.classOf(n); k >= 0 {
					p := planesOf(e, worker)
					m.weightedSum(sums[k*Block:][:Block], read(&p, m.features(f, block, n)), slopes[n*m.plane:(n+1)*m.plane])
				}
			}
			for k := range g.Classes {
				for l := range min(Block, g.Features.C-block*Block) {
					dw[k*g.Features.C+block*Block+l] = float32(sums[k*Block+l])
				}
			}
		}
	}))
}

// Contrast is each of the rows of w (classes, n) less the mean of the others, planar:
// y (classes, n). It is its own gradient.
func Contrast(_ *Env, classes, n int, y, w []float32) []Phase {
	return []Phase{ranges(n, classes, func(from, to, _ int) {
		for i := from; i < to; i++ {
			var sum float64
			for k := range classes {
				sum += float64(w[k*n+i])
			}
			for k := range classes {
				own := float64(w[k*n+i])
				y[k*n+i] = float32(own - (sum-own)/float64(classes-1))
			}
		}
	})}
}

// activation computes class activation maps before their scaling.
type activation[T Element] struct {
	*vector
	op.CAM
	env      *Env
	plane    int
	f        []T
	w, class []float32
	raw      []float64 // (N, H, W)
	rows     []float32 // (N, Blocks(C), Block): each image's row of w, padded
}

func newActivation[T Element](e *Env, g op.CAM, f []T, w, class []float32) *activation[T] {
	s := g.Features
	reservePlanes[T](e, s.H*s.W*Block)
	return &activation[T]{
		vector: e.vectors, CAM: g, env: e, plane: s.H * s.W, f: f, w: w, class: class,
		raw: make([]float64, s.N*s.H*s.W), rows: Alloc(s.N * Blocks(s.C) * Block),
	}
}

// classOf is the class of an image, or -1 where that is none.
func (m *activation[T]) classOf(n int) int {
	if k := int(m.class[n]); k >= 0 && k < m.Classes {
		return k
	}
	return -1
}

func (m *activation[T]) row(block, n int) []float32 {
	return m.rows[(n*Blocks(m.Features.C)+block)*Block:][:Block]
}

// features is the part of a blocked tensor that holds an image's channel block.
func (m *activation[T]) features(x []T, block, n int) []T {
	i := (block*m.Features.N + n) * m.plane * Block
	return x[i : i+m.plane*Block]
}

// scaling is an image's map before scaling, its range, and where the minimum and
// the maximum first are.
type scaling struct {
	raw       []float64
	low, high int
	span      float64
}

// each visits every image's map.
func (m *activation[T]) each(visit func(n, worker int, s scaling)) []Phase {
	return []Phase{ranges(m.Features.N, Blocks(m.Features.C)*m.plane*Block, func(from, to, worker int) {
		for n := from; n < to; n++ {
			visit(n, worker, m.scaling(n, worker))
		}
	})}
}

func (m *activation[T]) scaling(n, worker int) scaling {
	s := scaling{raw: m.raw[n*m.plane : (n+1)*m.plane]}
	clear(s.raw)
	c, k := m.Features.C, m.classOf(n)
	row := m.rows[n*Blocks(c)*Block:][:c]
	if k < 0 {
		clear(row)
		return s
	}
	copy(row, m.w[k*c:(k+1)*c])
	for block := range Blocks(c) {
		p := planesOf(m.env, worker)
		m.dots(s.raw, read(&p, m.features(m.f, block, n)), m.row(block, n))
	}
	for i, v := range s.raw {
		if v < s.raw[s.low] {
			s.low = i
		}
		if v > s.raw[s.high] {
			s.high = i
		}
	}
	s.span = s.raw[s.high] - s.raw[s.low]
	return s
}

// gradient leaves that by the map before scaling in d. The extremes are 0 and 1
// whatever the map: what pulls at them, which may be much, goes nowhere.
func (s scaling) gradient(d, dcam []float32) {
	if !(s.span > 0) {
		clear(d)
		return
	}
	var low, high float64
	for i, v := range dcam {
		if i == s.low || i == s.high {
			continue
		}
		g, cam := float64(v)/s.span, (s.raw[i]-s.raw[s.low])/s.span
		d[i] = float32(g)
		low += g * (cam - 1)
		high -= g * cam
	}
	d[s.low], d[s.high] = float32(low), float32(high)
}
