package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// A linear layer's vectors are the rows of planar matrices: x (N, In), w (Out, In),
// b (Out), y (N, Out).

// Sizes of the kernels' parts, as in linear.cu.
const (
	warp           = 32
	outputsOfWarp  = 4
	productThreads = 128
	productTile    = 32
)

// fewOutputs is up to how many outputs a warp for each few of them is faster than a
// block for a tile: tiles are few then, and each walks the whole depth.
const fewOutputs = 64

// Linear is y = x·wᵀ + b; b may be 0.
func Linear(g op.Linear, y, x, w, b Pointer) []Launch {
	if g.Out <= fewOutputs {
		kernel := vectorInstance("linear_few", F32, width(F32, g.In))
		return one(warps(kernel, g.N*divideUp(g.Out, outputsOfWarp), int32(g.N), int32(g.In), int32(g.Out), y, x, w, b))
	}
	return one(product("linear", g.N, g.Out, g, y, x, w, b))
}

// LinearBackwardData is dx = dy·w.
func LinearBackwardData(g op.Linear, dx, dy, w Pointer) []Launch {
	return one(product("linear_backward_data", g.N, g.In, g, dx, dy, w))
}

// LinearBackwardWeights is dw = dyᵀ·x.
func LinearBackwardWeights(g op.Linear, dw, x, dy Pointer) []Launch {
	return one(product("linear_backward_weights", g.Out, g.In, g, dw, x, dy))
}

// LinearBackwardBias is db = dy summed over N.
func LinearBackwardBias(g op.Linear, db, dy Pointer) []Launch {
	return one(columns("linear_backward_bias", g.Out, int32(g.N), int32(g.Out), db, dy))
}

// warps is a launch with a warp for each of n, in small blocks, which spread over the GPU.
func warps(kernel string, n int, args ...any) Launch {
	const together = 2
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{divideUp(n, together), 1, 1},
		Block:  [3]int{together * warp, 1, 1},
		Args:   args,
	}
}

// product is a launch with a block for each tile of a result.
func product(kernel string, rows, columns int, g op.Linear, operands ...any) Launch {
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{divideUp(columns, productTile), divideUp(rows, productTile), 1},
		Block:  [3]int{productThreads, 1, 1},
		Args:   append([]any{int32(g.N), int32(g.In), int32(g.Out)}, operands...),
	}
}

// columns is a launch whose blocks take 32 columns of a matrix each and share its rows
// among their threads.
func columns(kernel string, columns int, args ...any) Launch {
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{divideUp(columns, warp), 1, 1},
		Block:  [3]int{warp, threads / warp, 1},
		Args:   args,
	}
}
