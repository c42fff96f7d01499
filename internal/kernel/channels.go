package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// CopyChannels copies n channels of src, from channel srcFrom on, to dst from
// channel dstFrom on: both blocked, of the same images and size, taken from s.
// It serves concatenations whose parts do not begin at block borders. Lanes of
// dst outside the range keep their values, but where the range ends at s.C the
// lanes behind it become zero.
func CopyChannels[T Element](_ *Env, s op.Shape, dst []T, dstFrom int, src []T, srcFrom, n int) []Phase {
	pixels := s.Pixels()
	end := dstFrom + n
	if end == s.C {
		end = Blocks(s.C) * Block
	}
	return []Phase{{Tasks: Blocks(n + Block), Run: func(task, _ int) {
		block := dstFrom/Block + task
		for c := max(block*Block, dstFrom); c < min((block+1)*Block, end); c++ {
			to := dst[c/Block*Block*pixels+c%Block:]
			if c >= dstFrom+n {
				for p := range pixels {
					to[p*Block] = 0
				}
				continue
			}
			k := c - dstFrom + srcFrom
			from := src[k/Block*Block*pixels+k%Block:]
			for p := range pixels {
				to[p*Block] = from[p*Block]
			}
		}
	}}}
}

// FoldBatchNorm scales a convolution's weight by the batch norm behind it, so
// that conv(x, weight) + bias is the normalised result:
// weight = w*s, bias = beta - mean*s with s = gamma/sqrt(variance+eps).
func FoldBatchNorm(e *Env, g op.Conv, norm op.BatchNorm, weight, bias, w, gamma, beta, mean, variance []float32) []Phase {
	size := len(w) / g.Out
	const rows = 64
	return []Phase{{Tasks: (g.Out + rows - 1) / rows, Constant: e.Keep, Run: func(task, _ int) {
		for k := task * rows; k < min((task+1)*rows, g.Out); k++ {
			s := float32(float64(gamma[k]) / math.Sqrt(float64(variance[k])+float64(norm.Eps)))
			bias[k] = beta[k] - mean[k]*s
			for i := k * size; i < (k+1)*size; i++ {
				weight[i] = w[i] * s
			}
		}
	}}}
}
