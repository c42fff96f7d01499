package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// fewChannels is up to how many channels a thread moves a pixel's one after another.
const fewChannels = 8

// ToNHWC is a feature map y of a planar x.
func ToNHWC(s op.Shape, t Type, y, x Pointer) []Launch { return transposed("to_nhwc", s, t, y, x) }

// ToNCHW is a planar y of a feature map x.
func ToNCHW(s op.Shape, t Type, y, x Pointer) []Launch { return transposed("to_nchw", s, t, y, x) }

func transposed(kernel string, s op.Shape, t Type, y, x Pointer) []Launch {
	pixels := s.H * s.W
	if s.C <= fewChannels {
		return one(line(instance("few_"+kernel, t), int64(s.Pixels()), int32(s.N), int32(pixels), int32(s.C), y, x))
	}
	const tile = 32
	return one(Launch{
		Kernel: instance(kernel, t),
		Grid:   [3]int{divideUp(pixels, tile), divideUp(s.C, tile), s.N},
		Block:  [3]int{tile, threads / tile, 1},
		Args:   []any{int32(pixels), int32(s.C), y, x},
	})
}

// ImageChannels is the number of channels that the pixels of images are filled up to in
// bfloat16, so that they are aligned as convolutions on tensor cores want them.
const ImageChannels = 8

// ImageToNHWC is a feature map y, in bfloat16 and of [ImageChannels] channels, of a planar x
// of at most as many. Further channels are 0.
func ImageToNHWC(s op.Shape, y, x Pointer) []Launch {
	return one(line("image_to_nhwc", int64(s.Pixels()), int32(s.N), int32(s.H*s.W), int32(s.C), y, x))
}

// ResizeChannels is y, of yC channels and a type, with the channels of x, of xC in bfloat16.
// Further channels are 0.
func ResizeChannels(pixels int, to Type, y Pointer, yC int, x Pointer, xC int) []Launch {
	n := int64(pixels) * int64(yC)
	return one(line(instance("resize_channels", to), n, n, y, int32(yC), x, int32(xC)))
}

// CopyChannels copies, in each of some pixels, channels of x, from xFrom on, over those
// of y from yFrom on; x has xC channels a pixel and y yC.
func CopyChannels(pixels, channels int, t Type, y Pointer, yC, yFrom int, x Pointer, xC, xFrom int) []Launch {
	from := func(p Pointer, all, first int) Slice { return Slice{p.Offset(int64(first * t.Size())), all} }
	c := coverSlices(t, t.width(), channels, from(y, yC, yFrom), from(x, xC, xFrom))
	return one(c.launch(vectorInstance("copy_channels", t, c.vector), pixels, channels, c.mapping(pixels),
		y, int32(yC), int32(yFrom), x, int32(xC), int32(xFrom)))
}
