package raster

import (
	"encoding/binary"

	"github.com/surrogaze/surrogaze/internal/raster/jpeg"
)

// upsampler brings a plane to the image's size row by row with the triangular filter
// of libjpeg-turbo ("fancy upsampling", jdsample.c): every output sample is 3/4 of
// the nearer and 1/4 of the farther input sample, along each halved axis. Factors
// other than 2 and very narrow planes are repeated, as there.
type upsampler struct {
	*jpeg.Plane
	out []uint8
}

func newUpsampler(p *jpeg.Plane) upsampler { return upsampler{p, make([]uint8, p.Stride*p.X)} }

// row is row y of the upsampled plane, valid until the next call.
func (u upsampler) row(y int) []uint8 {
	near := u.Row(y / u.Y)
	wide := u.X == 2 && u.W > 2
	switch {
	case u.X == 1 && u.Y == 1:
		return near
	case u.X == 1 && u.Y == 2:
		far, bias := u.farther(y), 1+y%2
		for x, v := range near {
			u.out[x] = uint8((3*int(v) + int(far[x]) + bias) >> 2)
		}
	case wide && u.Y == 1:
		u.double(near, near, 4, 8)
	case wide && u.Y == 2:
		u.double(near, u.farther(y), 8, 7)
	default:
		for x, v := range near[:u.W] {
			for i := range u.X {
				u.out[x*u.X+i] = v
			}
		}
	}
	return u.out
}

// farther is the row of a plane of half the height that row y sees less of.
func (u upsampler) farther(y int) []uint8 {
	return u.Row(min(max(y/2-1+y%2*2, 0), u.H-1))
}

// Four samples are computed with at once, in the 16-bit lanes of a word.
const (
	lanes    = 4
	laneOnes = 1<<48 | 1<<32 | 1<<16 | 1
	laneLow  = laneOnes * 0xff
)

// widen puts the first four samples into lanes.
func widen(p []uint8) uint64 {
	v := uint64(binary.LittleEndian.Uint32(p))
	v = (v | v<<16) & ((1<<32 | 1) * 0xffff)
	return (v | v<<8) & laneLow
}

// double puts twice as many samples into out, in 16ths: of 3 times the nearer and
// once the farther row, 3 times the nearer and once the farther sample. The two
// biases take turns, so that rounding favours neither direction.
func (u upsampler) double(near, far []uint8, evenBias, oddBias uint64) {
	sum := func(x int) uint64 { return 3*widen(near[x:]) + widen(far[x:]) }
	this := sum(0)
	last := this << 48
	for x := 0; x < u.W; x += lanes {
		next := sum(x + lanes)
		even := 3*this + (this<<16 | last>>48) + laneOnes*evenBias
		odd := 3*this + (this>>16 | next<<48) + laneOnes*oddBias
		binary.LittleEndian.PutUint64(u.out[2*x:], even>>4&laneLow|odd>>4&laneLow<<8)
		last, this = this, next
	}
}

// The conversion of JFIF, in 16-bit fixed point with the rounding of libjpeg
// (jdcolor.c): R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb.
// All three are added at once: red in the bits from 0, green from 16 with 16 bits
// below the unit, blue from 48, each headroom too high.
const (
	redAt, greenAt, blueAt = 0, 32, 48
	headroom               = 256
	lumaOnes               = 1<<redAt | 1<<greenAt | 1<<blueAt
)

var crTerms, cbTerms = func() (cr, cb [256]uint64) {
	const half = 1 << 15
	for i := range cr {
		v := int64(i) - 128
		red, blue := headroom+(91881*v+half)>>16, headroom+(116130*v+half)>>16
		cr[i] = uint64(red<<redAt + (headroom<<16-46802*v)<<(greenAt-16))
		cb[i] = uint64(blue<<blueAt + (half-22554*v)<<(greenAt-16))
	}
	return cr, cb
}()

func colourRow(dst, luma, cb, cr []uint8) {
	const inRange, outside = lumaOnes * headroom, lumaOnes * 0xff00
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, y := range luma {
		sum := uint64(y)*lumaOnes + crTerms[cr[x]] + cbTerms[cb[x]]
		if (sum^inRange)&outside != 0 {
			sum = clampLevels(sum)
		}
		p := (*[3]uint8)(dst[3*x:])
		p[0], p[1], p[2] = uint8(sum>>redAt), uint8(sum>>greenAt), uint8(sum>>blueAt)
	}
}

// clampLevels brings the levels of a sum to 0 to 255.
func clampLevels(sum uint64) uint64 {
	level := func(at int) uint64 { return uint64(clamp8(int32(sum>>at&0xffff)-headroom)) << at }
	return level(redAt) | level(greenAt) | level(blueAt)
}

func clamp8(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}
