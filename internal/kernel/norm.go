package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// normChunk is the number of pixels of a channel block that a task of batch norm
// takes: 128 KiB an operand, so that a block of one chunk stays in the second
// level cache from its statistics to their use.
const normChunk = 2048

// BatchNormTrain is y = relu(gamma*(x-mean)*rstd + beta + residual) with the
// batch's own statistics, of which it saves mean and rstd = 1/sqrt(var+Eps), one
// value a channel, for the backward pass. x, y and residual are blocked; residual
// may be nil, and the ReLU is applied when relu is set. The running statistics
// move by Momentum towards the batch's mean and unbiased variance; the variance
// stays as it is when a channel has a single value. y may be x or residual.
func BatchNormTrain[T Element](e *Env, g op.BatchNorm, y, x, residual []T, relu bool, gamma, beta, runningMean, runningVar, mean, rstd []float32) []Phase {
	c := newChannelwise[T](e, g, normParams)
	n, momentum := float64(c.pixels), float64(g.Momentum)
	finish := func(block int) {
		var m, squares [Block]float64
		c.combine(block, &m, &squares)
		for l := range c.lanes(block) {
			i := block*Block + l
			r := 1 / math.Sqrt(squares[l]/n+float64(g.Eps))
			mean[i], rstd[i] = float32(m[l]), float32(r)
			c.setNormalisation(i, mean[i], r*float64(gamma[i]), beta[i])
			runningMean[i] = float32((1-momentum)*float64(runningMean[i]) + momentum*m[l])
			if n > 1 {
				runningVar[i] = float32((1-momentum)*float64(runningVar[i]) + momentum*squares[l]/(n-1))
			}
		}
	}
	return c.phases(func(k chunk) { c.statistics(k, x) }, finish, c.normaliser(y, x, residual, relu))
}

// BatchNormEval is [BatchNormTrain] with the running statistics in the place of
// the batch's. It changes nothing but y.
func BatchNormEval[T Element](e *Env, g op.BatchNorm, y, x, residual []T, relu bool, gamma, beta, runningMean, runningVar []float32) []Phase {
	c := newChannelwise[T](e, g, normParams)
	finish := func(block int) {
		for l := range c.lanes(block) {
			i := block*Block + l
			c.setNormalisation(i, runningMean[i], runningRstd(g, runningVar[i])*float64(gamma[i]), beta[i])
		}
	}
	return c.phases(nil, finish, c.normaliser(y, x, residual, relu))
}

func runningRstd(g op.BatchNorm, variance float32) float64 {
	return 1 / math.Sqrt(float64(variance)+float64(g.Eps))
}

// BatchNormBackward is the gradient of [BatchNormTrain]: dx and dresidual
// blocked, dgamma and dbeta (C). y is the forward result where that ended with a
// ReLU, whose mask is y > 0, and nil where it did not. dresidual gets the masked
// dy; it may be nil, and it may be dy. dx may be dy, x or y, not dresidual.
func BatchNormBackward[T Element](e *Env, g op.BatchNorm, dx, dresidual []T, dgamma, dbeta []float32, dy, x, y []T, gamma, mean, rstd []float32) []Phase {
	c := newChannelwise[T](e, g, gradParams)
	n := float64(c.pixels)
	finish := func(block int) {
		var sum, dot [Block]float64
		c.total(block, &sum, &dot)
		for l := range c.lanes(block) {
			i := block*Block + l
			r := float64(rstd[i])
			a := r * float64(gamma[i])
			dgamma[i], dbeta[i] = float32(dot[l]*r), float32(sum[l])
			c.setParams(i, gradParams, mean[i], float32(a), float32(-a*r*r*dot[l]/n), float32(-a*sum[l]/n))
		}
	}
	reduce := c.gradientSums(dresidual, dy, x, y, mean)
	if dresidual != nil {
		dy, y = dresidual, nil
	}
	return c.phases(reduce, finish, func(k chunk) {
		params := c.params[k.block*gradParams:]
		if y != nil {
			c.gradApplyMask(dx[k.from:k.to], dy[k.from:k.to], x[k.from:k.to], y[k.from:k.to], params)
		} else {
			c.gradApply(dx[k.from:k.to], dy[k.from:k.to], x[k.from:k.to], params)
		}
	})
}

// BatchNormFrozenBackward is the gradient of [BatchNormEval], whose statistics
// are constants. Operands are those of [BatchNormBackward].
func BatchNormFrozenBackward[T Element](e *Env, g op.BatchNorm, dx, dresidual []T, dgamma, dbeta []float32, dy, x, y []T, gamma, runningMean, runningVar []float32) []Phase {
	c := newChannelwise[T](e, g, Block)
	finish := func(block int) {
		var sum, dot [Block]float64
		c.total(block, &sum, &dot)
		for l := range c.lanes(block) {
			i := block*Block + l
			r := runningRstd(g, runningVar[i])
			dgamma[i], dbeta[i] = float32(dot[l]*r), float32(sum[l])
			c.setParams(i, Block, float32(r*float64(gamma[i])))
		}
	}
	reduce := c.gradientSums(dresidual, dy, x, y, runningMean)
	if dresidual != nil {
		dy, y = dresidual, nil
	}
	return c.phases(reduce, finish, func(k chunk) {
		factors := c.params[k.block*Block:]
		if y != nil {
			c.scaleMask(dx[k.from:k.to], dy[k.from:k.to], y[k.from:k.to], factors)
		} else {
			c.scaleLanes(dx[k.from:k.to], dy[k.from:k.to], factors)
		}
	})
}

// channelwise is what batch norm's passes share: the split of a blocked tensor
// into channel blocks and those into chunks of pixels, the sums of each chunk,
// and the parameters of each block.
type channelwise[T Element] struct {
	*blockwise[T]
	g       op.BatchNorm
	blocks  int
	pixels  int
	chunks  int
	sums    []float64 // (blocks, chunks, 2, Block)
	centres []float32 // (blocks, chunks, Block)
	params  []float32 // (blocks, kinds, Block)
}

func newChannelwise[T Element](e *Env, g op.BatchNorm, params int) *channelwise[T] {
	c := &channelwise[T]{blockwise: blockwiseOf[T](e.ISA), g: g, blocks: Blocks(g.In.C), pixels: g.In.Pixels()}
	c.chunks = (c.pixels + normChunk - 1) / normChunk
	c.sums = make([]float64, c.blocks*c.chunks*2*Block)
	c.centres = Alloc(c.blocks * c.chunks * Block)
	c.params = Alloc(c.blocks * params)
	return c
}

// lanes is the number of channels in a block.
func (c *channelwise[T]) lanes(block int) int { return min(Block, c.g.In.C-block*Block) }

// setParams sets the parameters of channel i, of which a block has so many
// float32. Those of lanes that are no channels stay zero, and so their results.
func (c *channelwise[T]) setParams(i, size int, values ...float32) {
	at := i/Block*size + i%Block
	for _, v := range values {
		c.params[at] = v
		at += Block
	}
}

func (c *channelwise[T]) setNormalisation(i int, mean float32, scale float64, offset float32) {
	c.setParams(i, normParams, mean, float32(scale), offset)
}

// chunk is a task's part of a channel block.
type chunk struct {
	block    int
	from, to int       // elements of the tensor
	sums     []float64 // (2, Block)
	centre   []float32 // (Block)
}

func (c *channelwise[T]) chunk(i int) chunk {
	block, first := i/c.chunks, i%c.chunks*normChunk
	return chunk{
		block:  block,
		from:   (block*c.pixels + first) * Block,
		to:     (block*c.pixels + min(first+normChunk, c.pixels)) * Block,
		sums:   c.sums[i*2*Block:][:2*Block],
		centre: c.centres[i*Block:][:Block],
	}
}

// phases runs reduce on every chunk, finish on every block, and apply on every
// chunk again: block by block where a block is one chunk, in three sweeps
// otherwise. Reduce may be nil.
func (c *channelwise[T]) phases(reduce func(chunk), finish func(block int), apply func(chunk)) []Phase {
	if c.chunks == 1 {
		return []Phase{ranges(c.blocks, c.pixels*Block, func(from, to, _ int) {
			for block := from; block < to; block++ {
				if reduce != nil {
					reduce(c.chunk(block))
				}
				finish(block)
				apply(c.chunk(block))
			}
		})}
	}
	sweep := func(run func(chunk)) Phase {
		return Phase{Tasks: c.blocks * c.chunks, Run: func(task, _ int) { run(c.chunk(task)) }}
	}
	between := Phase{Tasks: 1, Run: func(int, int) {
		for block := range c.blocks {
			finish(block)
		}
	}}
	if reduce == nil {
		return []Phase{between, sweep(apply)}
	}
	return []Phase{sweep(reduce), between, sweep(apply)}
}

// statistics leaves the sums of x-centre and its square in a chunk, with the mean
// of the first pixels as centre: differences to it are small where the spread is,
// so that squares lose no digits to the mean.
func (c *channelwise[T]) statistics(k chunk, x []T) {
	x = x[k.from:k.to]
	clear(k.sums)
	head := x[:min(len(x), sumStretch*Block)]
	c.sum(k.sums[:Block], head)
	for l, s := range k.sums[:Block] {
		k.centre[l] = float32(s * Block / float64(len(head)))
	}
	clear(k.sums)
	c.moments(k.sums, x, k.centre)
}

// combine merges the chunks of a block into its mean and its sum of squared
// differences to it. Source: Chan, Golub, LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances", 1979.
func (c *channelwise[T]) combine(block int, mean, squares *[Block]float64) {
	count := 0.0
	for i := block * c.chunks; i < (block+1)*c.chunks; i++ {
		k := c.chunk(i)
		n := float64((k.to - k.from) / Block)
		for l := range mean {
			s := k.sums[l]
			delta := float64(k.centre[l]) + s/n - mean[l]
			mean[l] += delta * n / (count + n)
			squares[l] += k.sums[Block+l] - s*s/n + delta*delta*count*n/(count+n)
		}
		count += n
	}
	for l := range squares {
		if squares[l] < 0 {
			squares[l] = 0
		}
	}
}

// total adds the two sums of a block's chunks.
func (c *channelwise[T]) total(block int, first, second *[Block]float64) {
	for i := block * c.chunks; i < (block+1)*c.chunks; i++ {
		k := c.chunk(i)
		for l := range first {
			first[l] += k.sums[l]
			second[l] += k.sums[Block+l]
		}
	}
}

// normaliser is the pass that writes y by the parameters of each block.
func (c *channelwise[T]) normaliser(y, x, residual []T, relu bool) func(chunk) {
	plain, added := c.normalise, c.normAdd
	if relu {
		plain, added = c.normReLU, c.normAddReLU
	}
	return func(k chunk) {
		params := c.params[k.block*normParams:]
		if residual != nil {
			added(y[k.from:k.to], x[k.from:k.to], residual[k.from:k.to], params)
		} else {
			plain(y[k.from:k.to], x[k.from:k.to], params)
		}
	}
}

// gradientSums is the pass that sums dy and dy*(x-mean), masked by y where there
// is one, and keeps the masked dy in dresidual where there is one.
func (c *channelwise[T]) gradientSums(dresidual, dy, x, y []T, mean []float32) func(chunk) {
	return func(k chunk) {
		clear(k.sums)
		clear(k.centre)
		copy(k.centre, mean[k.block*Block:][:c.lanes(k.block)])
		dy, x := dy[k.from:k.to], x[k.from:k.to]
		switch {
		case y == nil:
			c.gradSums(k.sums, dy, x, k.centre)
			if dresidual != nil {
				copy(dresidual[k.from:k.to], dy)
			}
		case dresidual == nil:
			c.gradSumsMask(k.sums, dy, x, y[k.from:k.to], k.centre)
		default:
			c.gradSumsKeep(k.sums, dresidual[k.from:k.to], dy, x, y[k.from:k.to], k.centre)
		}
	}
}
