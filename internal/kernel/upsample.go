package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Upsample enlarges every image by a whole factor, blocked: rows first, then
// within the row.
func Upsample[T Element](e *Env, g op.Upsample, y, x []T) []Phase {
	v, out := e.vectors, g.OutShape()
	in, wide := g.In.W*Block, out.W*Block
	e.reserve(3*in + wide)
	vertical, across := sources(g, g.In.H, out.H), interleave(sources(g, g.In.W, out.W))
	return []Phase{ranges(Blocks(g.In.C)*g.In.N*out.H, wide, func(from, to, worker int) {
		for row := from; row < to; row++ {
			s := planesOf(e, worker)
			plane := x[row/out.H*g.In.H*in:]
			taps := vertical[row%out.H]
			line := read(&s, plane[taps[0].at*in:][:in])
			if len(taps) == 2 {
				other := read(&s, plane[taps[1].at*in:][:in])
				blended := s.scratch[:in]
				s.scratch = s.scratch[in:]
				v.blend(blended, line, other, taps[0].weight, taps[1].weight)
				line = blended
			}
			to := y[row*wide : (row+1)*wide]
			enlarged := written(&s, to)
			v.taps(enlarged, line, across.offsets, across.weights)
			put(&s, to, enlarged)
		}
	})}
}

// UpsampleBackward is the gradient of [Upsample].
func UpsampleBackward[T Element](e *Env, g op.Upsample, dx, dy []T) []Phase {
	v, out := e.vectors, g.OutShape()
	in, wide := g.In.W*Block, out.W*Block
	e.reserve(in + wide)
	reservePlanes[T](e, (1+g.In.H)*in+wide)
	vertical, across := sources(g, g.In.H, out.H), interleave(transpose(sources(g, g.In.W, out.W), g.In.W))
	return []Phase{ranges(Blocks(g.In.C)*g.In.N, out.H*wide, func(from, to, worker int) {
		for image := from; image < to; image++ {
			s := planesOf(e, worker)
			line := s.scratch[:in]
			s.scratch = s.scratch[in:]
			to := dx[image*g.In.H*in:][:g.In.H*in]
			plane := written(&s, to)
			clear(plane)
			for row := range out.H {
				rows := s // whose copies are overwritten
				v.taps(line, read(&rows, dy[(image*out.H+row)*wide:][:wide]), across.offsets, across.weights)
				for _, t := range vertical[row] {
					v.axpy(plane[t.at*in:][:in], line, t.weight)
				}
			}
			put(&s, to, plane)
		}
	})}
}

// tap is a position on an axis and its weight.
type tap struct {
	at     int
	weight float32
}

// sources lists, for every position of an enlarged axis, the positions of the
// axis that it is made of: half-pixel centres, clamped at the borders.
func sources(g op.Upsample, size, enlarged int) [][]tap {
	list := make([][]tap, enlarged)
	for i := range list {
		if !g.Bilinear {
			list[i] = []tap{{i / g.Scale, 1}}
			continue
		}
		at := math.Max(0, (float64(i)+0.5)/float64(g.Scale)-0.5)
		low := int(at)
		if share := at - float64(low); share == 0 || low == size-1 {
			list[i] = []tap{{low, 1}}
		} else {
			list[i] = []tap{{low, float32(1 - share)}, {low + 1, float32(share)}}
		}
	}
	return list
}

// transpose lists, for every position of the axis, the positions of the enlarged
// axis that it goes into.
func transpose(list [][]tap, size int) [][]tap {
	back := make([][]tap, size)
	for i, taps := range list {
		for _, t := range taps {
			back[t.at] = append(back[t.at], tap{i, t.weight})
		}
	}
	return back
}

// tapTable is a list of taps with as many for every position; those too few
// repeat a position with weight 0.
type tapTable struct {
	offsets []int32 // in float32
	weights []float32
}

func interleave(list [][]tap) tapTable {
	most := 0
	for _, taps := range list {
		most = max(most, len(taps))
	}
	var t tapTable
	for _, taps := range list {
		for k := range most {
			v := tap{at: taps[0].at}
			if k < len(taps) {
				v = taps[k]
			}
			t.offsets = append(t.offsets, int32(v.at*Block))
			t.weights = append(t.weights, v.weight)
		}
	}
	return t
}
