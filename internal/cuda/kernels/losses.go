package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// Sigmoid is y = 1/(1+exp(-x)), planar. y may be x.
func Sigmoid(s op.Shape, y, x Pointer) []Launch {
	return elementwise("sigmoid", int64(s.Len()), F32, y, x)
}

// SigmoidBackward is dx = dy*y*(1-y) with y the result of [Sigmoid]. dx may be dy.
func SigmoidBackward(s op.Shape, dx, dy, y Pointer) []Launch {
	return elementwise("sigmoid_backward", int64(s.Len()), F32, dx, dy, y)
}

// AddPlanar is y = a + b of n elements, planar. y may be a or b.
func AddPlanar(n int64, y, a, b Pointer) []Launch { return Add(n, F32, y, a, b) }

// rows is a launch with a warp for each of n rows of classes.
func rows(kernel string, n, classes int, args ...any) []Launch {
	return one(warps(kernel, n, append([]any{int32(n), int32(classes)}, args...)...))
}

// ArgMax is the index of the largest of each row of logits (N, C), the first of equals:
// class (N).
func ArgMax(s op.Shape, class, logits Pointer) []Launch {
	return rows("argmax", s.N, s.C, class, logits)
}

// SoftmaxCrossEntropy is loss = -log softmax(logits)[label], one (N) for each row of
// logits (N, classes). A label outside [0, classes) counts as none: its loss is zero.
func SoftmaxCrossEntropy(n, classes int, loss, logits, labels Pointer) []Launch {
	return rows("cross_entropy", n, classes, loss, logits, labels)
}

// SoftmaxCrossEntropyBackward is the gradient of [SoftmaxCrossEntropy]:
// dlogits = dloss*(softmax - onehot).
func SoftmaxCrossEntropyBackward(n, classes int, dlogits, dloss, logits, labels Pointer) []Launch {
	return rows("cross_entropy_backward", n, classes, dlogits, dloss, logits, labels)
}

// Contrast is each of the rows of w (classes, n) less the mean of the others: y
// (classes, n). It is its own gradient.
func Contrast(classes, n int, y, w Pointer) []Launch {
	return one(columns("contrast", n, int32(classes), int32(n), y, w))
}

// block is a launch of one block.
func block(kernel string, args ...any) Launch {
	return Launch{Kernel: kernel, Grid: [3]int{1, 1, 1}, Block: [3]int{threads, 1, 1}, Args: args}
}

// Balance is the weight of each of n samples in the sum of two losses, first and second
// (n), of which the second counts by weight (n), 0 where there is none:
//
//	alpha = sum of weight*first / sum of weight*(first+second)
//
// All weigh alpha in the first, and (1-alpha)*weight in the second. Where that sum is
// zero, alpha is 1. It has no gradient.
func Balance(n int, ofSecond bool, weights, first, second, weight Pointer) []Launch {
	return one(block("balance", int32(n), flag(ofSecond), weights, first, second, weight))
}

// termsOfLaunch is how many terms the kernel of [WeightedMean] takes.
const termsOfLaunch = 8

// WeightedMean is loss = sum of values*weights / n, summed over terms of n values and
// weights each: one launch for every eight.
func WeightedMean(n int, loss Pointer, values, weights []Pointer) []Launch {
	var launches []Launch
	for from := 0; from < len(values); from += termsOfLaunch {
		terms := min(termsOfLaunch, len(values)-from)
		args := []any{int32(n), int32(terms), flag(from > 0), loss}
		for i := range termsOfLaunch {
			var v, w Pointer
			if i < terms {
				v, w = values[from+i], weights[from+i]
			}
			args = append(args, v, w)
		}
		launches = append(launches, block("weighted_mean", args...))
	}
	return launches
}

// WeightedMeanBackward is the gradient of [WeightedMean] by the values of a term.
func WeightedMeanBackward(n int, dvalues, dloss, weights Pointer) []Launch {
	return one(line("weighted_mean_backward", int64(n), int32(n), dvalues, dloss, weights))
}
