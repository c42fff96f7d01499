package kernel

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/op"
)

// ReLU is y = max(x, 0), blocked; NaN passes. y may be x.
func ReLU[T Element](e *Env, y, x []T) []Phase {
	v := blockwiseOf[T](e.ISA)
	return []Phase{ranges(len(y)/Block, Block, func(from, to, _ int) {
		v.relu(y[from*Block:to*Block], x[from*Block:to*Block])
	})}
}

// ReLUBackward is dx = dy where the result y of ReLU is above zero, blocked. dx may be dy.
func ReLUBackward[T Element](e *Env, dx, dy, y []T) []Phase {
	v := blockwiseOf[T](e.ISA)
	return []Phase{ranges(len(dx)/Block, Block, func(from, to, _ int) {
		v.reluBackward(dx[from*Block:to*Block], dy[from*Block:to*Block], y[from*Block:to*Block])
	})}
}

// Add is y = a + b, blocked. y may be a or b.
func Add[T Element](e *Env, y, a, b []T) []Phase {
	v := blockwiseOf[T](e.ISA)
	return []Phase{ranges(len(y)/Block, Block, func(from, to, _ int) {
		v.add(y[from*Block:to*Block], a[from*Block:to*Block], b[from*Block:to*Block])
	})}
}

// AddPlanar is [Add] of planar tensors.
func AddPlanar(e *Env, y, a, b []float32) []Phase {
	v := e.vectors
	return elementwise(len(y), func(from, to, _ int) { v.add(y[from:to], a[from:to], b[from:to]) }, func(from, to, _ int) {
		for i := from; i < to; i++ {
			y[i] = a[i] + b[i]
		}
	})
}

// elementwise runs whole pixels by vectors and what is left of n by tail.
func elementwise(n int, vector, tail func(from, to, worker int)) []Phase {
	if n == 0 {
		return nil
	}
	whole := n / Block * Block
	return []Phase{ranges(n, 1, func(from, to, worker int) {
		if end := min(to, whole); from < end {
			vector(from, end, worker)
		}
		if to > whole {
			tail(max(from, whole), to, worker)
		}
	})}
}

// Sigmoid is y = 1/(1+exp(-x)) of the shape s, planar. y may be x.
func Sigmoid(_ *Env, s op.Shape, y, x []float32) []Phase {
	return []Phase{ranges(s.Len(), expCost, func(from, to, _ int) {
		for i := from; i < to; i++ {
			y[i] = float32(sigmoid(float64(x[i])))
		}
	})}
}

// expCost is what an exponential costs, in float32 moved.
const expCost = 16

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// SigmoidBackward is dx = dy*y*(1-y) with y the result of Sigmoid, planar. dx
// may be dy.
func SigmoidBackward(_ *Env, s op.Shape, dx, dy, y []float32) []Phase {
	return []Phase{ranges(s.Len(), 1, func(from, to, _ int) {
		for i := from; i < to; i++ {
			dx[i] = dy[i] * y[i] * (1 - y[i])
		}
	})}
}

// Dropout zeroes elements of a blocked tensor at a rate in [0, 1) and scales the
// others by 1/(1-rate). Whether an element is kept depends on *seed, read when
// the phase runs, and on its planar index alone. y may be x.
func Dropout[T Element](_ *Env, s op.Shape, y, x []T, rate float32, seed *uint64) []Phase {
	scale, threshold := 1/(1-rate), uint64(math.Ceil(float64(rate)*(1<<24)))
	plane := s.H * s.W
	return []Phase{ranges(s.N*Blocks(s.C)*plane, Block*4, func(from, to, _ int) {
		for i := from; i < to; i++ {
			p, n, channel := i%plane, i/plane%s.N, i/plane/s.N*Block
			for l := range min(Block, s.C-channel) {
				keep := float32(0)
				if hash(*seed, uint64((n*s.C+channel+l)*plane+p))>>40 >= threshold {
					keep = value(x[i*Block+l]) * scale
				}
				y[i*Block+l] = element[T](keep)
			}
			clear(y[i*Block+min(Block, s.C-channel) : (i+1)*Block])
		}
	})}
}

// DropoutBackward is the gradient of [Dropout] with the same rate and seed.
func DropoutBackward[T Element](e *Env, s op.Shape, dx, dy []T, rate float32, seed *uint64) []Phase {
	return Dropout(e, s, dx, dy, rate, seed)
}

// hash is SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014.
func hash(seed, index uint64) uint64 {
	z := seed + (index+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
