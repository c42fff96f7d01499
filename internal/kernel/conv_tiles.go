package kernel

import "math"

// tileRows is the number of rows of a tile.
const tileRows = 6

// tiles is a product of which a tile is tileRows rows of Block lanes:
//
//	y[outs[r]+l] = relu(sum over s of x[rows[r]+steps[s]] * w[s*Block+l] + add[outs[r]+l] + bias[l])
//
// for all rows r and lanes l, and the same for further channel blocks with w,
// y and add moved on by wBlock and yBlock and bias by Block. x and w may be words of
// two bfloat16 each, whose product is the sum of two; then y may be such words, too.
// Every product of convolutions is one: rows are pixels and steps the elements that a filter
// looks at, or the other way round for the gradient of the weights. Without add
// or bias nothing is added, and relu is the identity unless it is set.
//
// len(rows) = len(outs) is a multiple of tileRows, the last row repeated where
// need be. A tile reads all that it adds before it writes, so y may be add.
//
// Matrix units want more: len(steps) is a multiple of Block, and every Block steps
// follow one another; len(rows) is a multiple of twice the height, and every height
// rows lie a pitch apart; rows and weights begin at cache lines. Rows whose outs are
// negative have no place in y.
type tiles struct {
	x, w, y, add, bias []float32
	rows, outs, steps  []int32
	wBlock, yBlock     int
	next               []float32 // what w will be, to be fetched
	pace               int       // steps of next to fetch during a tile
	height, pitch      int       // of a matrix unit's tiles
	relu               bool
	narrow             bool // y is words of two bfloat16, and outs and yBlock are of those
}

// multiplier is an instruction set's product of tiles.
type multiplier struct {
	// depth is the number of steps after which the part of w that a tile reads
	// would leave the first level cache.
	depth int
	// spans are the kernels, those for the most blocks first.
	spans []span
	// adding are those of a matrix unit that add the product to y, and nothing else. The
	// outs of a tile's rows are Block apart, none negative.
	adding []span
	// room is the number of float32 that a frame may hold.
	room int
	// matrix says that the kernels are those of a matrix unit.
	matrix bool
	// squares transposes 8 rows of some times 8 columns; nil if there is none.
	squares func(dst, src *float32, dstStride, srcStride, squares int)
	// wideSquares transposes n squares of Block*Block that follow one another; nil if there
	// is none.
	wideSquares func(dst, src *float32, n int)
	// spread is that of patches.write; nil if there is none.
	spread func(dst, src *BF16, n, lanes, step int, taken, written uint32)
}

// span is a kernel for a number of channel blocks at a time.
type span struct {
	blocks int
	run    func(*tiles)
}

var (
	genericMultiplier     = multiplier{depth: 320, room: frameSize, spans: []span{{1, tilesGeneric}}}
	genericPairMultiplier = multiplier{depth: 320, room: frameSize, spans: []span{{1, tilesGenericPairs}}}
)

// multiplierOf is an instruction set's product of float32, or of words of two
// bfloat16.
func multiplierOf(isa ISA, pairs bool) *multiplier {
	table, otherwise := multipliers, &genericMultiplier
	if pairs {
		table, otherwise = pairMultipliers, &genericPairMultiplier
	}
	if m, ok := table[isa]; ok {
		return m
	}
	return otherwise
}

// wide is the number of channel blocks that the widest kernel takes at a time.
func (m *multiplier) wide() int { return m.spans[0].blocks }

// blocksPerTask is the size of parts of n channel blocks that are at most most, about as
// equal as they can be, but at least as many as the widest kernel takes at a time.
func (m *multiplier) blocksPerTask(n, most int) int {
	wide := m.wide()
	return min(ceil(even(n, max(most/wide, 1)*wide), wide)*wide, n)
}

// run multiplies a number of channel blocks. It leaves t's slices moved on.
func (m *multiplier) run(t *tiles, blocks int) { t.multiply(m.spans, blocks) }

// addTo is run for what a matrix unit adds to y.
func (m *multiplier) addTo(t *tiles, blocks int) {
	t.add = t.y
	t.multiply(m.adding, blocks)
}

// multiply runs kernels for a number of channel blocks.
// Fetching next during the product spreads what memory has to deliver over time.
func (t *tiles) multiply(kernels []span, blocks int) {
	after := t.next
	t.pace = ceil(len(t.steps)*tileRows, len(t.rows))
	for _, s := range kernels {
		for blocks >= s.blocks {
			blocks -= s.blocks
			if blocks > 0 {
				t.next = t.w[s.blocks*t.wBlock:]
			} else if t.next = after; after == nil {
				t.pace = 0
			}
			s.run(t)
			if blocks > 0 {
				t.advance(s.blocks)
			}
		}
	}
}

// advance moves on by a number of channel blocks.
func (t *tiles) advance(blocks int) {
	t.w = t.w[blocks*t.wBlock:]
	t.y = t.y[blocks*t.yBlock:]
	if t.add != nil {
		t.add = t.add[blocks*t.yBlock:]
	}
	if t.bias != nil {
		t.bias = t.bias[blocks*Block:]
	}
}

// transpose is dst[i*dstStride+l] = src[l*srcStride+i] for rows l and columns i
// of src.
func (m *multiplier) transpose(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) {
	if srcStride == 1 && cols == 1 {
		copy(dst, src[:rows])
		return
	}
	const side = 8
	done := 0 // rows
	if m.squares != nil && cols >= side {
		for ; done+side <= rows; done += side {
			m.squares(&dst[done], &src[done*srcStride], dstStride, srcStride, cols/side)
		}
	}
	for l := range rows {
		first := 0
		if l < done {
			first = cols / side * side
		}
		for i := first; i < cols; i++ {
			dst[i*dstStride+l] = src[l*srcStride+i]
		}
	}
}

// transposeSquares transposes squares of Block*Block that follow one another.
func (m *multiplier) transposeSquares(dst, src []float32) {
	const size = Block * Block
	if m.wideSquares != nil {
		m.wideSquares(&dst[0], &src[0], len(src)/size)
		return
	}
	for i := 0; i < len(src); i += size {
		m.transpose(dst[i:], Block, src[i:], Block, Block, Block)
	}
}

// band is a strip's rows, in tiles.
type band struct {
	rows, outs    []int32
	height, pitch int // of a matrix unit's tiles
}

// band arranges rows and their places, of which those of a line lie equally far apart.
func (m *multiplier) band(rows, outs []int32, line int) band {
	if m.matrix {
		return matrixBand(rows, outs, line)
	}
	return band{rows: wholeTiles(rows), outs: wholeTiles(outs)}
}

// wholeTiles repeats the last row until the tile is full.
func wholeTiles(list []int32) []int32 {
	list = list[:len(list):len(list)]
	for len(list)%tileRows != 0 {
		list = append(list, list[len(list)-1])
	}
	return list
}

// tilesGeneric multiplies two rows by four lanes at a time, whose sums fit in
// registers.
func tilesGeneric(t *tiles) {
	const lanes = 4
	for r := 0; r < len(t.rows); r += 2 {
		if r > 0 && t.outs[r] == t.outs[r-1] {
			return
		}
		first, second := int(t.rows[r]), int(t.rows[r+1])
		for lane := 0; lane < Block; lane += lanes {
			var a, b [lanes]float32
			if len(t.steps) > 0 {
				a, b = dotPair(t.x, t.w[lane:], first, second, t.steps)
			}
			t.finish(a[:], int(t.outs[r]), lane)
			if t.outs[r+1] != t.outs[r] {
				t.finish(b[:], int(t.outs[r+1]), lane)
			}
		}
	}
}

func dotPair(x, w []float32, first, second int, steps []int32) (a, b [4]float32) {
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for i, s := range steps {
		u, v := x[first+int(s)], x[second+int(s)]
		w := w[i*Block:][:4]
		a0 += u * w[0]
		b0 += v * w[0]
		a1 += u * w[1]
		b1 += v * w[1]
		a2 += u * w[2]
		b2 += v * w[2]
		a3 += u * w[3]
		b3 += v * w[3]
	}
	return [4]float32{a0, a1, a2, a3}, [4]float32{b0, b1, b2, b3}
}

// tilesGenericPairs multiplies row by row.
func tilesGenericPairs(t *tiles) {
	for r, row := range t.rows {
		if t.outs[r] < 0 || r > 0 && t.outs[r] == t.outs[r-1] {
			continue
		}
		var sums pixel
		for i, s := range t.steps {
			first, second := unpair(t.x[row+s])
			for l, w := range at(t.w, i*Block) {
				a, b := unpair(w)
				sums[l] += first*a + second*b
			}
		}
		if t.narrow {
			t.finishPairs(&sums, int(t.outs[r]))
		} else {
			t.finish(sums[:], int(t.outs[r]), 0)
		}
	}
}

// finishPairs stores the sums of a row as pairs.
func (t *tiles) finishPairs(sums *pixel, out int) {
	wide := *t
	wide.y, wide.add = sums[:], nil
	wide.finish(sums[:], 0, 0)
	for i := range Block / 2 {
		t.y[out+i] = pair(roundBF16(sums[2*i]), roundBF16(sums[2*i+1]))
	}
}

// unpair is the values of a word of two bfloat16.
func unpair(word float32) (first, second float32) {
	bits := math.Float32bits(word)
	return BF16(bits).Float32(), BF16(bits >> 16).Float32()
}

// finish stores the sums of some lanes of a row.
func (t *tiles) finish(sums []float32, out, lane int) {
	for l, v := range sums {
		at := out + lane + l
		if t.add != nil {
			v += t.add[at]
		}
		if t.bias != nil {
			v += t.bias[lane+l]
		}
		if t.relu && v < 0 {
			v = 0
		}
		t.y[at] = v
	}
}
