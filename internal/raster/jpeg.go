package raster

import "github.com/surrogaze/surrogaze/internal/raster/jpeg"

// decodeJPEG brings the components of a JPEG to RGB. Like Pillow, it takes all
// four-component files as inverted, as Adobe's are: 255 is no ink.
func decodeJPEG(data []byte) (*Image, error) {
	m, err := jpeg.Decode(data)
	if err != nil {
		return nil, err
	}
	planes := make([]upsampler, len(m.Planes))
	for i := range planes {
		planes[i] = newUpsampler(&m.Planes[i])
	}
	dst := NewImage(m.W, m.H)
	for y := range dst.H {
		out := dst.Pix[3*y*dst.W:][:3*dst.W]
		switch m.Colour {
		case jpeg.Grey:
			interleave(out, planes[0].row(y), planes[0].row(y), planes[0].row(y))
		case jpeg.RGB:
			interleave(out, planes[0].row(y), planes[1].row(y), planes[2].row(y))
		case jpeg.YCbCr:
			colourRow(out, planes[0].row(y)[:m.W], planes[1].row(y), planes[2].row(y))
		case jpeg.CMYK:
			interleave(out, planes[0].row(y), planes[1].row(y), planes[2].row(y))
			blacken(out, planes[3].row(y))
		case jpeg.YCCK:
			colourRow(out, planes[0].row(y)[:m.W], planes[1].row(y), planes[2].row(y))
			for i, v := range out {
				out[i] = 255 - v
			}
			blacken(out, planes[3].row(y))
		}
	}
	return dst, nil
}

func interleave(dst, r, g, b []uint8) {
	n := len(dst) / 3
	r, g, b = r[:n], g[:n], b[:n]
	for x := range r {
		p := dst[3*x : 3*x+3 : 3*x+3]
		p[0], p[1], p[2] = r[x], g[x], b[x]
	}
}

// blacken is what the black ink leaves of the light that the others leave, with the
// rounding of Pillow: key - (255-v)*key/255.
func blacken(dst, key []uint8) {
	for x := range len(dst) / 3 {
		k := uint32(key[x])
		for i, v := range dst[3*x : 3*x+3] {
			t := uint32(255-v)*k + 128
			dst[3*x+i] = uint8(k - (t>>8+t)>>8)
		}
	}
}
