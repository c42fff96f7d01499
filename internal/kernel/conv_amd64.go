//go:build !noasm

package kernel

//go:generate go run ./gen/conv -out conv_amd64.s

// vectorised reports that this build has assembly.
const vectorised = true

// The products of an instruction set; the number is that of channel blocks.
//
//go:noescape
func tilesAVX21(t *tiles)

//go:noescape
func tilesAVX5121(t *tiles)

//go:noescape
func tilesAVX5122(t *tiles)

//go:noescape
func tilesAVX5124(t *tiles)

//go:noescape
func tilesAVX512BF161(t *tiles)

//go:noescape
func tilesAVX512BF162(t *tiles)

//go:noescape
func tilesAVX512BF164(t *tiles)

//go:noescape
func tilesAMX1(t *tiles)

//go:noescape
func tilesAMX2(t *tiles)

//go:noescape
func tilesAMXAdd1(t *tiles)

//go:noescape
func tilesAMXAdd2(t *tiles)

// dst[i*dstStride+l] = src[l*srcStride+i] for l in [0, 8), i in [0, 8*squares).
//
//go:noescape
func transposeAVX2(dst, src *float32, dstStride, srcStride, squares int)

// dst[i*Block+l] = src[l*Block+i] in each of n squares of Block*Block.
//
//go:noescape
func transposeSquaresAVX512(dst, src *float32, n int)

// The lanes of n pixels that are written, from elements of src a step further on for each,
// or zero where they are not taken.
//
//go:noescape
func spreadAVX512(dst, src *BF16, n, lanes, step int, taken, written uint32)

//go:noescape
func peakAVX2(rounds int)

//go:noescape
func peakAVX512(rounds int)

//go:noescape
func peakAVX512BF16(rounds int)

// t says how high the tiles are.
//
//go:noescape
func peakAMX(t *tiles, rounds int)

// multipliers of the instruction sets that have one of their own.
var multipliers = map[ISA]*multiplier{
	AVX2:       {depth: 320, room: frameSize, spans: []span{{1, tilesAVX21}}, squares: transposeAVX2},
	AVX512:     &avx512Multiplier,
	AVX512BF16: &avx512Multiplier,
	AMX:        &avx512Multiplier,
}

var avx512Multiplier = multiplier{depth: 144, room: frameSize, spans: []span{{4, tilesAVX5124}, {2, tilesAVX5122}, {1, tilesAVX5121}}, squares: transposeAVX2}

// pairMultipliers are those of pairs of bfloat16.
var pairMultipliers = map[ISA]*multiplier{
	AVX512BF16: {depth: 208, room: frameSize, spans: []span{{4, tilesAVX512BF164}, {2, tilesAVX512BF162}, {1, tilesAVX512BF161}}, squares: transposeAVX2},
	AMX: {
		depth: matrixDepth, room: matrixRoom, matrix: true,
		spans: []span{{2, tilesAMX2}, {1, tilesAMX1}}, adding: []span{{2, tilesAMXAdd2}, {1, tilesAMXAdd1}},
		squares: transposeAVX2, wideSquares: transposeSquaresAVX512, spread: spreadAVX512,
	},
}

// peaks of the instruction sets, 24 registers a round.
var peaks = map[ISA]peak{
	AVX2:       {peakAVX2, 24 * 8 * 2},
	AVX512:     {peakAVX512, 24 * 16 * 2},
	AVX512BF16: {peakAVX512, 24 * 16 * 2},
	AMX:        {peakAVX512, 24 * 16 * 2},
}

// pairPeaks are those of pairs of bfloat16.
var pairPeaks = map[ISA]peak{
	AVX512BF16: {peakAVX512BF16, 24 * 32 * 2},
	AMX:        {func(rounds int) { peakAMX(&tiles{height: matrixRows}, rounds) }, 8 * matrixRows * Block * Block * 4},
}
