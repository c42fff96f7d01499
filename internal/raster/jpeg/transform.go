package jpeg

import "encoding/binary"

// block holds 8 x 8 dequantised coefficients, two neighbours of a row in a word:
// the left one in its low half, the right one times 1<<32 on top. Sums of such words
// and their products with a number are those of both halves, as long as each stays
// within 32 bits.
type block [32]int64

// natural is the place in a block of the coefficients in zigzag order (T.81,
// figure 5).
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// words are the words of a block that hold the coefficients in zigzag order.
var words = func() (w [64]uint8) {
	for k, place := range natural {
		w[k] = place / 2
	}
	return w
}()

// quantiser holds the factors of coefficients in zigzag order, those of right halves
// times 1<<32.
type quantiser [64]int64

func (q *quantiser) set(k int, factor uint16) { q[k] = int64(factor) << (natural[k] % 2 * 32) }

// The inverse transform is that of Loeffler, Ligtenberg and Moschytz (Practical Fast
// 1-D DCT Algorithms with 11 Multiplications, ICASSP 1989) in the fixed point of
// libjpeg: constants of 13 bits, and 2 bits below the unit between the two passes.
const (
	fraction = 13
	between  = 2

	// What the passes are shifted by; the second also divides by 8.
	shift1 = fraction - between
	shift2 = fraction + between + 3
)

// The constants of the even and the odd half, in units of 1<<fraction.
const (
	even2 = 6270  // 0.765366865
	even6 = 15137 // 1.847759065
	even  = 4433  // 0.541196100

	odd1  = 12299 // 1.501321110
	odd3  = 25172 // 3.072711026
	odd5  = 16819 // 2.053119869
	odd7  = 2446  // 0.298631336
	odd   = 9633  // 1.175875602
	odd17 = 7373  // 0.899976223
	odd35 = 20995 // 2.562915447
	odd37 = 16069 // 1.961570560
	odd15 = 3196  // 0.390180644
)

// Numbers in the parts of a word.
const (
	halves   = 1<<32 | 1
	quarters = 1<<48 | 1<<32 | 1<<16 | 1
)

// Halves of words are lifted by so much before they are shifted, so that both are
// positive; samples come out lifted by what is left of it.
const (
	lift  = 1 << 30
	lift2 = lift >> shift2
)

// synthesis is the transform of 8 words in one dimension, times 1<<fraction.
func synthesis(x0, x1, x2, x3, x4, x5, x6, x7 int64) (y0, y1, y2, y3, y4, y5, y6, y7 int64) {
	e := (x2 + x6) * even
	low, high := e+x2*even2, e-x6*even6
	sum, difference := (x0+x4)<<fraction, (x0-x4)<<fraction
	e0, e1, e2, e3 := sum+low, difference+high, difference-high, sum-low

	a, b := x3+x7, x1+x5
	o := (a + b) * odd
	a, b = o-a*odd37, o-b*odd15
	c, d := (x1+x7)*odd17, (x3+x5)*odd35
	o0 := x1*odd1 - c + b
	o1 := x3*odd3 - d + a
	o2 := x5*odd5 - d + b
	o3 := x7*odd7 - c + a
	return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0
}

// synthesis4 is synthesis where the upper 4 words are 0.
func synthesis4(x0, x1, x2, x3 int64) (y0, y1, y2, y3, y4, y5, y6, y7 int64) {
	low, high := x2*(even+even2), x2*even
	e0, e1, e2, e3 := x0<<fraction+low, x0<<fraction+high, x0<<fraction-high, x0<<fraction-low

	o0 := x1*(odd1-odd17+odd-odd15) + x3*odd
	o1 := x3*(odd3-odd35+odd-odd37) + x1*odd
	o2 := x1*(odd-odd15) + x3*(odd-odd35)
	o3 := x1*(odd-odd17) + x3*(odd-odd37)
	return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0
}

// inverse writes the samples of a block, whose coefficients in zigzag order are 0
// from end on, as 8 rows that lie stride apart.
func (b *block) inverse(end int, dst []uint8, stride int) {
	if end <= 1 {
		b.flat(dst, stride)
		return
	}
	var rows rowPairs
	for i := range 4 {
		rows.setColumns(i, b)
	}
	for i := range rows {
		rows[i].write(dst[2*i*stride:], stride)
	}
}

// flat is inverse for the coefficient 0 alone.
func (b *block) flat(dst []uint8, stride int) {
	const everywhere = 0x0101010101010101
	row := clamped(levels(b[0]<<(shift2-3))) & 0xff * everywhere
	for y := range 8 {
		binary.LittleEndian.PutUint64(dst[y*stride:], row)
	}
}

// rowPair is what the first pass makes of two rows, the upper one in the low halves
// of its words.
type rowPair [8]int64

type rowPairs [4]rowPair

// setColumns is the first pass over the pair i of b's columns.
func (p *rowPairs) setColumns(i int, b *block) {
	i &= 3
	x0, x1, x2, x3 := b[i], b[4+i], b[8+i], b[12+i]
	x4, x5, x6, x7 := b[16+i], b[20+i], b[24+i], b[28+i]
	switch upper := x4 | x5 | x6 | x7; {
	case x1|x2|x3|upper == 0:
		left, right := turn(x0<<fraction, x0<<fraction)
		for r := range p {
			p[r][2*i], p[r][2*i+1] = left, right
		}
		return
	case upper == 0:
		x0, x1, x2, x3, x4, x5, x6, x7 = synthesis4(x0, x1, x2, x3)
	default:
		x0, x1, x2, x3, x4, x5, x6, x7 = synthesis(x0, x1, x2, x3, x4, x5, x6, x7)
	}
	p[0][2*i], p[0][2*i+1] = turn(x0, x1)
	p[1][2*i], p[1][2*i+1] = turn(x2, x3)
	p[2][2*i], p[2][2*i+1] = turn(x4, x5)
	p[3][2*i], p[3][2*i+1] = turn(x6, x7)
}

// turn rounds two words of one row each, and makes them two of one column each.
func turn(upper, lower int64) (left, right int64) {
	const rounded = halves * (lift + 1<<(shift1-1))
	const half = 1<<(32-shift1) - 1
	u, l := uint64(upper+rounded), uint64(lower+rounded)
	left = int64(u>>shift1&half|l>>shift1&half<<32) - halves*(lift>>shift1)
	right = int64(u>>(32+shift1)|l>>(32+shift1)<<32) - halves*(lift>>shift1)
	return left, right
}

// write is the second pass.
func (p *rowPair) write(dst []uint8, stride int) {
	var x0, x1, x2, x3, x4, x5, x6, x7 int64
	if p[4]|p[5]|p[6]|p[7] == 0 {
		x0, x1, x2, x3, x4, x5, x6, x7 = synthesis4(p[0], p[1], p[2], p[3])
	} else {
		x0, x1, x2, x3, x4, x5, x6, x7 = synthesis(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7])
	}
	// Less their lift, samples in range leave the upper halves of the quarters 0.
	const lifted, outside = quarters * lift2, quarters * 0xff00
	a, b := (levels(x0)|levels(x2)<<16)^lifted, (levels(x1)|levels(x3)<<16)^lifted
	c, d := (levels(x4)|levels(x6)<<16)^lifted, (levels(x5)|levels(x7)<<16)^lifted
	if (a|b|c|d)&outside != 0 {
		a, b, c, d = clamped(a^lifted), clamped(b^lifted), clamped(c^lifted), clamped(d^lifted)
	}
	left, right := a|b<<8, c|d<<8
	const lower = 1<<32 - 1
	binary.LittleEndian.PutUint64(dst, left&lower|right<<32)
	binary.LittleEndian.PutUint64(dst[stride:], left>>32|right&^lower)
}

// levels rounds the halves of a word to samples, lifted.
func levels(x int64) uint64 {
	const rounded = halves * (lift + 128<<shift2 + 1<<(shift2-1))
	return uint64(x+rounded) >> shift2 & (halves * (2*lift2 - 1))
}

// clamped brings four lifted samples to 0 to 255.
func clamped(v uint64) uint64 {
	const top = 0x8000
	above := (v + quarters*(top-lift2-256)) >> 15 & quarters
	notBelow := (v + quarters*(top-lift2)) >> 15 & quarters
	return (v&(quarters*0xff) | (above<<8 - above)) & (notBelow<<8 - notBelow)
}
