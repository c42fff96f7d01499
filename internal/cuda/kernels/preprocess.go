package kernels

import (
	"encoding/binary"
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// View is a view of pixels that lie in device memory.
type View struct {
	Pixels Pointer
	op.View
}

// ViewSize is the number of bytes of a view for the kernels.
const ViewSize = 88

// Append writes the view as the kernels read it.
func (v View) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(v.Pixels))
	for _, x := range []float64{v.X.Centre, v.X.Side, v.Y.Centre, v.Y.Side} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	flags := flag(v.X.Backwards) | flag(v.Y.Backwards)<<1 | flag(v.Transpose)<<2
	for _, x := range []int32{int32(v.W), int32(v.H), flags} {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	for _, x := range v.Gain {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x/255))
	}
	for _, x := range v.Mean {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	for _, x := range v.Std {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(1/x))
	}
	return b
}

// DrawImages is a feature map y of images, each by one of the views that lie in a row in
// device memory. In bfloat16 it has [ImageChannels], as that of [ImageToNHWC].
func DrawImages(s op.Shape, t Type, y, views Pointer) []Launch {
	return one(drawing(instance("draw_images", t), s, y, views))
}

// DrawMaps is the same of maps, with a planar y.
func DrawMaps(s op.Shape, y, views Pointer) []Launch { return one(drawing("draw_maps", s, y, views)) }

// drawing is a launch with a thread for each pixel.
func drawing(kernel string, s op.Shape, y, views Pointer) Launch {
	const columns = 32
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{divideUp(s.W, columns), divideUp(s.H, threads/columns), s.N},
		Block:  [3]int{columns, threads / columns, 1},
		Args:   []any{int32(s.H), int32(s.W), y, views},
	}
}
