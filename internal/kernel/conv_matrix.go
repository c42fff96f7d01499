package kernel

// A matrix unit multiplies tiles of up to matrixRows rows by Block lanes, over Block
// steps at a time, each of two bfloat16. A row's steps lie in a cache line, so that
// frames join two channel blocks (matrixSource).
const matrixRows = 16

// The most that a matrix unit's products take at a time: elements of a piece, and
// float32 of a frame, which go through a second level cache of 2 MiB.
const (
	matrixDepth = 2304
	matrixRoom  = 160 << 10
)

// matrixHeight is the number of a tile's rows that costs least for n rows in a line;
// a tile of few takes as long as one of nine.
func matrixHeight(n int) int {
	best, least := 1, n*matrixRows
	for height := 1; height <= min(n, matrixRows); height++ {
		if cost := ceil(n, height) * max(height, 9); cost <= least {
			best, least = height, cost
		}
	}
	return best
}

// matrixBand arranges rows in tiles that do not go beyond a line, two tiles after one
// another. The last of a line begins so early that it is full; what it repeats has no
// place.
func matrixBand(rows, outs []int32, line int) band {
	pitch := Block
	if len(rows) > 1 {
		pitch = int(rows[1] - rows[0])
	}
	line = evenlyApart(rows, line)
	b := band{height: matrixHeight(line), pitch: pitch}
	for first := 0; first < len(rows); first += line {
		for done := 0; done < line; done += b.height {
			b.tile(rows, outs, first+min(done, line-b.height), first+done)
		}
	}
	if len(b.rows)/b.height%2 != 0 {
		b.tile(rows, outs, 0, len(rows))
	}
	return b
}

// tile adds one of rows from one on; those before another are done.
func (b *band) tile(rows, outs []int32, from, done int) {
	for i := from; i < from+b.height; i++ {
		out := outs[i]
		if i < done {
			out = -1
		}
		b.rows, b.outs = append(b.rows, rows[i]), append(b.outs, out)
	}
}

// evenlyApart is the number of rows in a line, or that of all where lines follow one
// another as their rows do.
func evenlyApart(rows []int32, line int) int {
	for i := 1; i < len(rows); i++ {
		if rows[i]-rows[i-1] != rows[1]-rows[0] {
			return line
		}
	}
	return len(rows)
}
