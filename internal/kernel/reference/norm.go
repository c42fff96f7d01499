package reference

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// BatchNormTrain is y = relu(gamma*(x-mean)*rstd + beta + residual) with the
// batch's own statistics, of which it saves mean and rstd = 1/sqrt(var+Eps) for
// the backward pass. Residual may be nil, the ReLU is applied when relu is set.
// The running statistics move by Momentum towards the batch's mean and unbiased
// variance; the variance stays as it is when a channel has a single value.
func BatchNormTrain[T Float](g op.BatchNorm, y, x, residual []T, relu bool, gamma, beta, runningMean, runningVar, mean, rstd []T) {
	n, momentum := float64(g.In.Pixels()), float64(g.Momentum)
	for c := range g.In.C {
		var sum, squares float64
		eachOfChannel(g.In, c, func(i int) { sum += float64(x[i]) })
		m := sum / n
		eachOfChannel(g.In, c, func(i int) { squares += (float64(x[i]) - m) * (float64(x[i]) - m) })
		r := 1 / math.Sqrt(squares/n+float64(g.Eps))
		normalise(g.In, c, y, x, residual, relu, m, r*float64(gamma[c]), float64(beta[c]))
		mean[c], rstd[c] = T(m), T(r)
		runningMean[c] = T((1-momentum)*float64(runningMean[c]) + momentum*m)
		if n > 1 {
			runningVar[c] = T((1-momentum)*float64(runningVar[c]) + momentum*squares/(n-1))
		}
	}
}

// BatchNormEval is [BatchNormTrain] with the running statistics in the place of
// the batch's.
func BatchNormEval[T Float](g op.BatchNorm, y, x, residual []T, relu bool, gamma, beta, runningMean, runningVar []T) {
	for c := range g.In.C {
		r := 1 / math.Sqrt(float64(runningVar[c])+float64(g.Eps))
		normalise(g.In, c, y, x, residual, relu, float64(runningMean[c]), r*float64(gamma[c]), float64(beta[c]))
	}
}

func normalise[T Float](s op.Shape, c int, y, x, residual []T, relu bool, mean, scale, beta float64) {
	eachOfChannel(s, c, func(i int) {
		v := (float64(x[i])-mean)*scale + beta
		if residual != nil {
			v += float64(residual[i])
		}
		if relu && v < 0 {
			v = 0
		}
		y[i] = T(v)
	})
}

// BatchNormBackward is the gradient of [BatchNormTrain] by x, residual, gamma
// and beta. y is its result where it ended with a ReLU, whose mask is y > 0, and
// nil where it did not; dresidual gets the masked dy and may be nil.
func BatchNormBackward[T Float](g op.BatchNorm, dx, dresidual, dgamma, dbeta, dy, x, y, gamma, mean, rstd []T) {
	n := float64(g.In.Pixels())
	for c := range g.In.C {
		m, r := float64(mean[c]), float64(rstd[c])
		sum, dot := channelGradients(g.In, c, dresidual, dy, x, y, m)
		dgamma[c], dbeta[c] = T(dot*r), T(sum)
		eachOfChannel(g.In, c, func(i int) {
			dx[i] = T(float64(gamma[c]) * r * (maskedAt(dy, y, i) - sum/n - (float64(x[i])-m)*r*r*dot/n))
		})
	}
}

// BatchNormFrozenBackward is the gradient of [BatchNormEval]: the statistics are
// constants.
func BatchNormFrozenBackward[T Float](g op.BatchNorm, dx, dresidual, dgamma, dbeta, dy, x, y, gamma, runningMean, runningVar []T) {
	for c := range g.In.C {
		m, r := float64(runningMean[c]), 1/math.Sqrt(float64(runningVar[c])+float64(g.Eps))
		sum, dot := channelGradients(g.In, c, dresidual, dy, x, y, m)
		dgamma[c], dbeta[c] = T(dot*r), T(sum)
		eachOfChannel(g.In, c, func(i int) { dx[i] = T(float64(gamma[c]) * r * maskedAt(dy, y, i)) })
	}
}

// channelGradients is the sum of the masked dy of a channel, and its product
// with x - mean.
func channelGradients[T Float](s op.Shape, c int, dresidual, dy, x, y []T, mean float64) (sum, dot float64) {
	eachOfChannel(s, c, func(i int) {
		d := maskedAt(dy, y, i)
		sum += d
		dot += d * (float64(x[i]) - mean)
		if dresidual != nil {
			dresidual[i] = T(d)
		}
	})
	return sum, dot
}

// maskedAt is dy where a ReLU passed y, without a ReLU (y nil) dy itself.
func maskedAt[T Float](dy, y []T, i int) float64 {
	if y != nil && y[i] <= 0 {
		return 0
	}
	return float64(dy[i])
}

func eachOfChannel(s op.Shape, c int, visit func(i int)) {
	for n := range s.N {
		for p := range s.H * s.W {
			visit((n*s.C+c)*s.H*s.W + p)
		}
	}
}
