package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// A Winograd convolution (Lavin and Gray 2015, arXiv 1509.09308) computes a 3x3
// convolution of stride 1 tile by tile of 4x4 results. With B, G and A the
// matrices below turned where need be, d the 6x6 window that a tile sees and w a
// filter, the tile is
//
//	Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A,
//
// where * multiplies 36 positions, each summed over the channels: a matrix product
// a position, with a quarter of the multiplications. The gradient by the image is
// such a convolution of dy with the filters turned round, and that by the filters is
//
//	Gᵀ [ sum over tiles of (A dy Aᵀ) * (Bᵀ d B) ] G.
//
// The matrices follow from the points at which the polynomials of window and filter
// are multiplied: 0, ±√½, ±√2 and infinity. With ±1 and ±2, which the paper takes,
// errors are twice as large.
//
// The transforms subtract: the error stays below 5e-5 of the result's largest value,
// and on values without a pattern its root mean square is 7e-7 of the result's, three
// times that of direct sums. A value that is infinite or not a number makes every result of the tiles that see it
// not a number.

const (
	winogradTile   = 4
	winogradWindow = winogradTile + 2
	positions      = winogradWindow * winogradWindow
)

// The points besides 0 and infinity, with both signs.
const (
	rootHalf = 1 / math.Sqrt2
	rootTwo  = math.Sqrt2
)

// transforms apply a matrix to arrays of pixels, dst = matrix · src · matrixᵀ lane
// by lane. Strides are in float32.
type transforms struct {
	image, result, gradient, filter, filterGradient transform
}

type transform func(dst, src []float32, dstRow, dstCol, srcRow, srcCol int)

// matrix is one of those above, row by row.
type matrix [][]float32

var (
	imageMatrix = matrix{ // Bᵀ
		{1, 0, -5. / 2, 0, 1, 0},
		{0, -rootTwo, -2, rootHalf, 1, 0},
		{0, rootTwo, -2, -rootHalf, 1, 0},
		{0, -rootHalf, -1. / 2, rootTwo, 1, 0},
		{0, rootHalf, -1. / 2, -rootTwo, 1, 0},
		{0, 1, 0, -5. / 2, 0, 1},
	}
	filterMatrix = matrix{ // G
		{1, 0, 0},
		{-2. / 3, -2 * rootHalf / 3, -1. / 3},
		{-2. / 3, 2 * rootHalf / 3, -1. / 3},
		{1. / 6, rootTwo / 6, 1. / 3},
		{1. / 6, -rootTwo / 6, 1. / 3},
		{0, 0, 1},
	}
	resultMatrix = matrix{ // Aᵀ
		{1, 1, 1, 1, 1, 0},
		{0, rootHalf, -rootHalf, rootTwo, -rootTwo, 0},
		{0, 1. / 2, 1. / 2, 2, 2, 0},
		{0, rootHalf / 2, -rootHalf / 2, 2 * rootTwo, -2 * rootTwo, 1},
	}
)

func transposed(m matrix) matrix {
	t := make(matrix, len(m[0]))
	for i := range t {
		for _, row := range m {
			t[i] = append(t[i], row[i])
		}
	}
	return t
}

// transform is the Go reference of the transforms.
func (m matrix) transform(dst, src []float32, dstRow, dstCol, srcRow, srcCol int) {
	var between [winogradWindow][winogradWindow]pixel
	for i, row := range m {
		for j := range row {
			for k, factor := range row {
				axpyPixel(&between[i][j], at(src, k*srcRow+j*srcCol), factor)
			}
		}
	}
	for i := range m {
		for j, row := range m {
			var sum pixel
			for k, factor := range row {
				axpyPixel(&sum, &between[i][k], factor)
			}
			*at(dst, i*dstRow+j*dstCol) = sum
		}
	}
}

func axpyPixel(y, x *pixel, factor float32) {
	if factor == 0 {
		return
	}
	for l, v := range x {
		y[l] += factor * v
	}
}

// tiling divides the pixels of results into tiles, line by line, image by image;
// those at the right and at the bottom may reach beyond.
type tiling struct{ images, down, across int }

func newTiling(s op.Shape) tiling {
	return tiling{s.N, ceil(s.H, winogradTile), ceil(s.W, winogradTile)}
}

func (t tiling) count() int { return t.images * t.down * t.across }

// corner is a tile's first pixel.
func (t tiling) corner(tile int) (image, top, left int) {
	perImage := t.down * t.across
	return tile / perImage, tile % perImage / t.across * winogradTile, tile % t.across * winogradTile
}

// windows are what is transformed for tiles: squares of a blocked tensor that begin
// at the tiles' corners, less the padding.
type windows[T Element] struct {
	tiling
	vectors    *vector
	source     op.Shape
	data       []T
	side       int
	padH, padW int
	transform  transform
}

// write transforms the windows of some tiles in a channel block. Those of one
// position lie together, those of the next a stride away.
func (w *windows[T]) write(dst []float32, stride, block, from, to int, border []float32) {
	l := blockedLayout(w.source)
	plane := w.data[block*l.plane:]
	for tile := from; tile < to; tile++ {
		image, top, left := w.corner(tile)
		top, left = top-w.padH, left-w.padW
		pixels := plane[image*l.image:][:l.image]
		at := dst[(tile-from)*Block:]
		if pixels, direct := any(pixels).([]float32); direct && w.inside(top, left) {
			w.transform(at, pixels[top*l.line+left*Block:], winogradWindow*stride, stride, l.line, Block)
			continue
		}
		for i := range w.side {
			widenLine(w.vectors, l, border[i*w.side*Block:][:w.side*Block], pixels, top+i, w.source.H, left)
		}
		w.transform(at, border, winogradWindow*stride, stride, w.side*Block, Block)
	}
}

// inside reports whether all of a window lies in the source.
func (w *windows[T]) inside(top, left int) bool {
	return top >= 0 && left >= 0 && top+w.side <= w.source.H && left+w.side <= w.source.W
}

// winogradPays decides by what BenchmarkWinograd measured: too few channels do not
// repay the transforms, and tiles that reach beyond the result are work for nothing.
// The number of images has no say, so that an image's result does not depend on the
// batch that it is in. Tiles are of float32 whatever T is, and must be worth twice as
// much where direct products of bfloat16 are twice as fast; those of a matrix unit are
// ten times as fast.
func winogradPays[T Element](isa ISA, g op.Conv) bool {
	if g.Groups != 1 || g.KernelH != 3 || g.KernelW != 3 || g.StrideH != 1 || g.StrideW != 1 ||
		g.DilationH != 1 || g.DilationW != 1 || g.PadH > 2 || g.PadW > 2 {
		return false
	}
	out := g.OutShape()
	t := newTiling(out)
	tiles := t.down * t.across
	useful := float64(out.H*out.W) / float64(tiles*winogradTile*winogradTile)
	channels := min(g.In.C, g.Out)
	if _, double := any(T(0)).(BF16); double {
		return !multiplierOf(isa, true).matrix && channels >= 64 && (tiles >= 4 && useful > 0.95 || tiles >= 16 && useful > 0.75)
	}
	switch {
	case tiles < 4:
		return false
	case channels < 32:
		return channels >= Block && useful > 0.95
	}
	return useful > 0.65
}
