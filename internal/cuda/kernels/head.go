package kernels

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/op"
)

// IsHead reports whether there are kernels for a convolution of feature maps of a type to
// one channel, as the heads of networks have that draw maps: 1x1 or 3x3 with unit strides,
// of channels that fill a power of two, up to 32, of vectors. They read and write feature
// maps x and dx; y, dy and weights are float32, and they multiply in float32.
func IsHead(g op.Conv, t Type) bool {
	lanes := g.In.C / t.width()
	return g.Out == 1 && g.Groups == 1 && (g.KernelH == 1 || g.KernelH == 3) && g.KernelW == g.KernelH &&
		g.StrideH == 1 && g.StrideW == 1 && g.DilationH == 1 && g.DilationW == 1 &&
		g.In.C%t.width() == 0 && lanes <= 32 && lanes&(lanes-1) == 0
}

// HeadForward is y = conv(x, w) + bias where [IsHead]; bias may be 0.
func HeadForward(g op.Conv, t Type, y, x, w, bias Pointer) []Launch {
	h := newHead(g, t, g.OutShape())
	return one(h.launch("head_forward", h.blocks, y, x, w, bias))
}

// HeadBackwardData is the gradient of [HeadForward] by x.
func HeadBackwardData(g op.Conv, t Type, dx, dy, w Pointer) []Launch {
	h := newHead(g, t, g.In)
	return one(h.launch("head_backward_data", h.blocks, dx, dy, w))
}

// HeadBackwardWeights is the gradient of [HeadForward] by w.
func HeadBackwardWeights(g op.Conv, t Type, dw, x, dy, scratch Pointer) []Launch {
	h, n := newHead(g, t, g.In), g.Weight().Len()
	blocks := min(h.blocks, 2*fullBlocks)
	return []Launch{
		h.launch("head_backward_weights", blocks, scratch, x, dy),
		combining("sum_chunks", n, int32(blocks), int32(n), dw, scratch),
	}
}

// head is how threads descend the columns of x or of y.
type head struct {
	g              op.Conv
	t              Type
	across, down   int // threads of a block, along the channels and the descents
	descents, rows int
	blocks         int // that take every descent once
}

func newHead(g op.Conv, t Type, s op.Shape) head {
	const threads = 128 // fewer than usual, as they keep all taps
	h := head{g: g, t: t, across: g.In.C / t.width()}
	h.down = threads / h.across
	h.rows = descent(s.H, divideUp(s.N*s.W, h.down))
	h.descents = s.N * divideUp(s.H, h.rows) * s.W
	h.blocks = divideUp(h.descents, h.down)
	return h
}

func (h head) launch(kernel string, blocks int, operands ...any) Launch {
	g, out := h.g, h.g.OutShape()
	args := append([]any{uint32(h.descents)}, operands...)
	return Launch{
		Kernel: vectorInstance(fmt.Sprintf("%s_%dx%d", kernel, g.KernelH, g.KernelW), h.t, h.t.width()),
		Grid:   [3]int{blocks, 1, 1},
		Block:  [3]int{h.across, h.down, 1},
		Args: append(args, int32(h.rows), int32(g.In.C), int32(g.In.H), int32(g.In.W),
			int32(out.H), int32(out.W), int32(g.PadH), int32(g.PadW)),
	}
}
