package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// ToBlocked copies a planar tensor into the blocked layout.
func ToBlocked[T Element](_ *Env, s op.Shape, dst []T, src []float32) []Phase {
	size := s.H * s.W
	return []Phase{{Tasks: Blocks(s.C) * s.N, Run: func(task, _ int) {
		block, n := task/s.N, task%s.N
		to := dst[task*size*Block : (task+1)*size*Block]
		lanes := min(Block, s.C-block*Block)
		if lanes < Block {
			clear(to)
		}
		for lane := range lanes {
			c := block*Block + lane
			for p, v := range src[(n*s.C+c)*size : (n*s.C+c+1)*size] {
				to[p*Block+lane] = element[T](v)
			}
		}
	}}}
}

// ToPlanar copies a blocked tensor into the planar layout.
func ToPlanar[T Element](_ *Env, s op.Shape, dst []float32, src []T) []Phase {
	size := s.H * s.W
	return []Phase{{Tasks: Blocks(s.C) * s.N, Run: func(task, _ int) {
		block, n := task/s.N, task%s.N
		from := src[task*size*Block : (task+1)*size*Block]
		for lane := range min(Block, s.C-block*Block) {
			to := dst[(n*s.C+block*Block+lane)*size:][:size]
			for p := range to {
				to[p] = value(from[p*Block+lane])
			}
		}
	}}}
}

// Widen makes float32 of a blocked tensor.
func Widen(e *Env, dst []float32, src []BF16) []Phase {
	v := e.vectors
	return []Phase{ranges(len(src)/Block, Block, func(from, to, _ int) {
		v.widen(dst[from*Block:to*Block], src[from*Block:to*Block])
	})}
}

// Narrow is its inverse.
func Narrow(e *Env, dst []BF16, src []float32) []Phase {
	v := e.vectors
	return []Phase{ranges(len(src)/Block, Block, func(from, to, _ int) {
		v.narrow(dst[from*Block:to*Block], src[from*Block:to*Block], Block)
	})}
}
