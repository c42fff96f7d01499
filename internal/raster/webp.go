package raster

import (
	"bytes"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

var errAnimated = errors.New("found an animation, want a still image")

// decodeWebP reads still WebP images. Lossy ones hold limited-range BT.601,
// which differs from the JFIF colours that image.YCbCr stands for.
func decodeWebP(data []byte) (*Image, error) {
	const animation = 1 << 1
	if len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&animation != 0 {
		return nil, errAnimated
	}
	m, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return fromLimited(m), nil
	case *image.NYCbCrA:
		return fromLimited(&m.YCbCr), nil
	}
	return toImage(m), nil
}

// fromLimited converts 4:2:0 BT.601 of limited range with libwebp's upsampling
// (weights 9, 3, 3, 1 of the four nearest samples) and fixed-point rounding.
func fromLimited(m *image.YCbCr) *Image {
	dst := NewImage(m.Rect.Dx(), m.Rect.Dy())
	u, v := make([]uint8, dst.W), make([]uint8, dst.W)
	for y := range dst.H {
		near := y / 2
		far := min(max(near-1+y%2*2, 0), (dst.H+1)/2-1)
		n := (dst.W + 1) / 2
		upsampleWebP(u, m.Cb[near*m.CStride:][:n], m.Cb[far*m.CStride:][:n])
		upsampleWebP(v, m.Cr[near*m.CStride:][:n], m.Cr[far*m.CStride:][:n])
		out := dst.Pix[3*y*dst.W:][:3*dst.W]
		for x, luma := range m.Y[y*m.YStride:][:dst.W] {
			light, b, r := int32(luma)*19077>>8, int32(u[x]), int32(v[x])
			out[3*x] = clamp8((light + r*26149>>8 - 14234) >> 6)
			out[3*x+1] = clamp8((light - b*6419>>8 - r*13320>>8 + 8708) >> 6)
			out[3*x+2] = clamp8((light + b*33050>>8 - 17685) >> 6)
		}
	}
	return dst
}

func upsampleWebP(dst, near, far []uint8) {
	for x := range dst {
		i := x / 2
		j := min(max(i-1+x%2*2, 0), len(near)-1)
		a, b, c, d := int32(near[i]), int32(near[j]), int32(far[i]), int32(far[j])
		dst[x] = uint8((a + (a+d+3*(b+c)+8)>>3) >> 1)
	}
}
