package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// eachMap is a launch with a block for each of n maps, as large as the map has vectors, or
// as blocks can be.
func eachMap(kernel string, n, plane int, args ...any) []Launch {
	v := width(F32, plane)
	return one(Launch{
		Kernel: vectorInstance(kernel, F32, v),
		Grid:   [3]int{n, 1, 1},
		Block:  [3]int{min(divideUp(plane/v, warp)*warp, 1024), 1, 1},
		Args:   append([]any{int32(plane)}, args...),
	})
}

// distance is the name of a map loss among the kernels', and whether it wants the
// sigmoid of what it is given.
func distance(g op.MapLoss) (name string, logits int32) {
	if g.Kind == op.BCE && g.Logits {
		return "bce_of_logits", 0
	}
	return g.Kind.String(), flag(g.Logits)
}

// MapLoss is the distance of each of N predicted maps from its target: pred and target
// (N, 1, H, W), loss (N), planar.
//
//   - BCE of probabilities takes no logarithm below -100, as PyTorch.
//   - KL counts a map that sums to zero as uniform.
//   - CC of a constant map is 1, and without gradient.
func MapLoss(g op.MapLoss, loss, pred, target Pointer) []Launch {
	name, logits := distance(g)
	return eachMap("map_loss_"+name, g.N, g.H*g.W, logits, loss, pred, target)
}

// MapLossBackward is the gradient of [MapLoss] by pred.
func MapLossBackward(g op.MapLoss, dpred, dloss, pred, target Pointer) []Launch {
	name, logits := distance(g)
	return eachMap("map_loss_"+name+"_backward", g.N, g.H*g.W, logits, dpred, dloss, pred, target)
}

// Entropy is -sum p log p of each map (N, 1, H, W) scaled to sum 1: one value an image
// (N), planar. A map that sums to zero counts as uniform, and has no gradient.
func Entropy(s op.Shape, entropy, x Pointer) []Launch {
	return eachMap("entropy", s.N, s.H*s.W, entropy, x)
}

// EntropyBackward is the gradient of [Entropy] by the maps. That of a value of zero is
// infinite, and taken for zero.
func EntropyBackward(s op.Shape, dmaps, dentropy, x Pointer) []Launch {
	return eachMap("entropy_backward", s.N, s.H*s.W, dmaps, dentropy, x)
}
