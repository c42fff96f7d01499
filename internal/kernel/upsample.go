package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Upsample enlarges every image by a whole factor, blocked: rows first, then
// within the row.
func Upsample(e *Env, g op.Upsample, y, x []float32) []Phase {
	v, out := vectors(e.ISA), g.OutShape()
	in, wide := g.In.W*Block, out.W*Block
	e.reserve(in)
	vertical, across := sources(g, g.In.H, out.H), interleave(sources(g, g.In.W, out.W))
	return []Phase{ranges(Blocks(g.In.C)*g.In.N*out.H, wide, func(from, to, worker int) {
		for row := from; row < to; row++ {
			plane := x[row/out.H*g.In.H*in:]
			taps := vertical[row%out.H]
			line := plane[taps[0].at*in:][:in]
			if len(taps) == 2 {
				blended := e.scratch[worker][:in]
				v.blend(blended, line, plane[taps[1].at*in:][:in], taps[0].weight, taps[1].weight)
				line = blended
			}
			v.taps(y[row*wide:(row+1)*wide], line, across.offsets, across.weights)
		}
	})}
}

// UpsampleBackward is the gradient of [Upsample].
func UpsampleBackward(e *Env, g op.Upsample, dx, dy []float32) []Phase {
	v, out := vectors(e.ISA), g.OutShape()
	in, wide := g.In.W*Block, out.W*Block
	e.reserve(in)
	vertical, across := sources(g, g.In.H, out.H), interleave(transpose(sources(g, g.In.W, out.W), g.In.W))
	return []Phase{ranges(Blocks(g.In.C)*g.In.N, out.H*wide, func(from, to, worker int) {
		clear(dx[from*g.In.H*in : to*g.In.H*in])
		for row := from * out.H; row < to*out.H; row++ {
			line := e.scratch[worker][:in]
			v.taps(line, dy[row*wide:(row+1)*wide], across.offsets, across.weights)
			plane := dx[row/out.H*g.In.H*in:]
			for _, t := range vertical[row%out.H] {
				v.axpy(plane[t.at*in:][:in], line, t.weight)
			}
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
