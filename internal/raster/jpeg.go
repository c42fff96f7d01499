package raster

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"iter"
)

const (
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerAPP1  = 0xe1
	markerAPP14 = 0xee
)

// maxScans bounds the passes over a progressive image: encoders write about ten,
// and a scan of a few bytes can cost a pass over all pixels.
const maxScans = 500

// segment is one marker segment of a JPEG file.
type segment struct {
	marker byte
	at     int    // where body lies in the file
	body   []byte // without marker and length
}

// jpegSegments walks the marker segments up to the end of the image or the first
// thing that is none, stepping over the coded data of scans.
func jpegSegments(data []byte) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		for at := 2; at+4 <= len(data); {
			marker := data[at+1]
			switch {
			case data[at] != 0xff || marker == 0 || marker >= 0xd0 && marker < markerSOI:
				// Coded data: on to the next 0xff.
				next := bytes.IndexByte(data[at+1:], 0xff)
				if next < 0 {
					return
				}
				at += 1 + next
				continue
			case marker == 0xff:
				at++
				continue
			case marker == markerEOI:
				return
			}
			size := int(data[at+2])<<8 | int(data[at+3])
			if size < 2 || at+2+size > len(data) {
				return
			}
			if !yield(segment{marker, at + 4, data[at+4 : at+2+size]}) {
				return
			}
			at += 2 + size
		}
	}
}

// jpegHeader is what decoding has to know before Go's decoder runs.
type jpegHeader struct {
	components int
	subsampled bool  // the second component has fewer samples than the first
	adobe      []int // positions of the colour transform in Adobe segments
	transform  byte  // 0: RGB or CMYK; else YCbCr or YCCK
	scans      int
}

func readJPEGHeader(data []byte) (h jpegHeader) {
	for s := range jpegSegments(data) {
		switch {
		case s.marker == markerSOS:
			h.scans++
		case s.marker == markerAPP14 && len(s.body) >= 12 && string(s.body[:5]) == "Adobe":
			h.adobe = append(h.adobe, s.at+11)
			h.transform = s.body[11]
		case s.marker >= 0xc0 && s.marker <= 0xc2 && len(s.body) >= 6:
			h.components = int(s.body[5])
			h.subsampled = len(s.body) >= 12 && s.body[7] != s.body[10]
		}
	}
	return h
}

// decodeJPEG reads any JPEG that Go's decoder takes, with chroma upsampled as
// libjpeg does and Adobe's inverted CMYK.
func decodeJPEG(data []byte) (*Image, error) {
	header := readJPEGHeader(data)
	if header.scans > maxScans {
		return nil, fmt.Errorf("found %d scans, want at most %d", header.scans, maxScans)
	}
	if header.components == 4 {
		return decodeInk(data, header)
	}
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if m, ok := m.(*image.YCbCr); ok {
		return fromYCbCr(m), nil
	}
	return toImage(m), nil
}

// subsampling is how many luma samples share one chroma sample, per axis.
func subsampling(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

func fromYCbCr(m *image.YCbCr) *Image {
	dst := NewImage(m.Rect.Dx(), m.Rect.Dy())
	sx, sy := subsampling(m.SubsampleRatio)
	cb := newChroma(m.Cb, m.CStride, dst.W, dst.H, sx, sy)
	cr := newChroma(m.Cr, m.CStride, dst.W, dst.H, sx, sy)
	for y := range dst.H {
		luma := m.Y[y*m.YStride:][:dst.W]
		colourRow(dst.Pix[3*y*dst.W:][:3*dst.W], luma, cb.row(y), cr.row(y))
	}
	return dst
}

// chroma upsamples one plane row by row with the triangular filter of
// libjpeg-turbo ("fancy upsampling", jdsample.c): every output sample is 3/4 of
// the nearer and 1/4 of the farther input sample, along each halved axis. Factors
// other than 2 and very narrow planes are repeated, as there.
type chroma struct {
	pix    []uint8
	stride int
	w, h   int // samples
	sx, sy int
	sums   []int32 // a row's vertical sums
	out    []uint8
}

func newChroma(pix []uint8, stride, width, height, sx, sy int) *chroma {
	w, h := (width+sx-1)/sx, (height+sy-1)/sy
	return &chroma{pix, stride, w, h, sx, sy, make([]int32, w), make([]uint8, w*sx)}
}

// row is row y of the upsampled plane, valid until the next call.
func (c *chroma) row(y int) []uint8 {
	near := c.pix[y/c.sy*c.stride:][:c.w]
	wide := c.sx == 2 && c.w > 2
	switch {
	case c.sx == 1 && c.sy == 1:
		return near
	case c.sx == 1 && c.sy == 2:
		c.verticalSums(near, y)
		bias := int32(1 + y%2)
		for x, sum := range c.sums {
			c.out[x] = uint8((sum + bias) >> 2)
		}
	case wide && c.sy == 1:
		for x, v := range near {
			c.sums[x] = int32(v)
		}
		c.horizontal(1, 2, 2)
	case wide && c.sy == 2:
		c.verticalSums(near, y)
		c.horizontal(8, 7, 4)
	default:
		for x, v := range near {
			for i := range c.sx {
				c.out[x*c.sx+i] = v
			}
		}
	}
	return c.out
}

// verticalSums is 3 times the nearer and once the farther row.
func (c *chroma) verticalSums(near []uint8, y int) {
	other := min(max(y/2-1+y%2*2, 0), c.h-1)
	far := c.pix[other*c.stride:][:c.w]
	sums := c.sums[:c.w]
	for x, v := range near {
		sums[x] = 3*int32(v) + int32(far[x])
	}
}

// horizontal doubles the sums into out. The two biases take turns, so that
// rounding favours neither direction.
func (c *chroma) horizontal(evenBias, oddBias int32, shift uint) {
	last := c.sums[0]
	out := c.out[:2*len(c.sums)]
	for x, sum := range c.sums {
		next := c.sums[min(x+1, len(c.sums)-1)]
		out[2*x] = uint8((3*sum + last + evenBias) >> shift)
		out[2*x+1] = uint8((3*sum + next + oddBias) >> shift)
		last = sum
	}
}

// The conversion of JFIF, in 16-bit fixed point with the rounding of libjpeg
// (jdcolor.c): R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb.
var crToR, cbToB, crToG, cbToG = func() (r, b, gr, gb [256]int32) {
	const half = 1 << 15
	for i := range int32(256) {
		v := i - 128
		r[i] = (91881*v + half) >> 16
		b[i] = (116130*v + half) >> 16
		gr[i] = -46802 * v
		gb[i] = -22554*v + half
	}
	return
}()

func colourRow(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, v := range luma {
		y, u, w := int32(v), cb[x], cr[x]
		p := dst[3*x : 3*x+3 : 3*x+3]
		p[0] = clamp8(y + crToR[w])
		p[1] = clamp8(y + (cbToG[u]+crToG[w])>>16)
		p[2] = clamp8(y + cbToB[u])
	}
}

func clamp8(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// decodeInk reads CMYK and YCCK. Go's decoder repeats YCCK's chroma and wants
// Adobe's segment; told that the file is plain CMYK it hands out the components
// as stored (inverted), and the rest happens here. Like Pillow, all four-component
// files are taken as inverted.
func decodeInk(data []byte, header jpegHeader) (*Image, error) {
	decoded, err := jpeg.Decode(bytes.NewReader(asCMYK(data, header)))
	if err != nil {
		return nil, err
	}
	m, ok := decoded.(*image.CMYK)
	if !ok {
		return nil, errors.New("four components that are no CMYK")
	}
	dst := NewImage(m.Rect.Dx(), m.Rect.Dy())
	first, second := inkPlane(m, 1, header.subsampled), inkPlane(m, 2, header.subsampled)
	row := make([]uint8, dst.W)
	for y := range dst.H {
		ink := m.Pix[y*m.Stride:][:4*dst.W]
		out := dst.Pix[3*y*dst.W:][:3*dst.W]
		for x := range row {
			row[x] = 255 - ink[4*x]
		}
		a, b := first.row(y), second.row(y)
		if header.transform == 0 {
			for x, v := range row {
				out[3*x], out[3*x+1], out[3*x+2] = v, a[x], b[x]
			}
		} else {
			colourRow(out, row, a, b)
			for i, v := range out {
				out[i] = 255 - v
			}
		}
		for x := range row {
			p, key := out[3*x:3*x+3], uint32(255-ink[4*x+3])
			for i, v := range p {
				p[i] = paper(v, key)
			}
		}
	}
	return dst, nil
}

// paper is what one ink (255: none) and the black ink leave of the light, with
// the rounding of Pillow: key - (255-v)*key/255.
func paper(v uint8, key uint32) uint8 {
	t := uint32(255-v)*key + 128
	return uint8(key - (t>>8+t)>>8)
}

// inkPlane takes component i out of m as it was stored.
func inkPlane(m *image.CMYK, i int, subsampled bool) *chroma {
	step := 1
	if subsampled {
		step = 2
	}
	c := newChroma(nil, 0, m.Rect.Dx(), m.Rect.Dy(), step, step)
	c.stride = c.w
	c.pix = make([]uint8, 0, c.w*c.h)
	for y := range c.h {
		for x := range c.w {
			c.pix = append(c.pix, 255-m.Pix[y*step*m.Stride+4*x*step+i])
		}
	}
	return c
}

// asCMYK is a copy of data whose Adobe segments, one added if there is none, say
// that the components are not transformed.
func asCMYK(data []byte, header jpegHeader) []byte {
	if len(header.adobe) > 0 {
		data = bytes.Clone(data)
		for _, at := range header.adobe {
			data[at] = 0
		}
		return data
	}
	const adobe = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	return append(append(bytes.Clone(data[:2]), adobe...), data[2:]...)
}
