// Package kernel computes the engine's operators on the CPU.
//
// # Layout
//
// Activations are channel-blocked: a tensor (N, C, H, W) is stored as
// [C/Block][N][H][W][Block] float32, so that one pixel of one channel block is
// a cache line, a pixel index runs through the whole batch, and a
// concatenation along channels is one buffer of which every part is a
// contiguous slice. Lanes beyond C in the last block are zero and every kernel
// keeps them zero. Images, logits, maps and per-image values are planar
// (plain NCHW); parameters keep the layout they have on disk.
//
// # Kernels
//
// A constructor binds an operator's geometry and its buffers once and returns
// the phases of its execution. Phases run one after another; the tasks of a
// phase are independent and may run on any worker in any order. How work is
// split into tasks depends on the geometry alone, and partial sums are added in
// a fixed order, so results do not depend on the number of workers.
package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// Block is the number of channels stored together: one cache line of float32.
const Block = 16

// Blocks is the number of channel blocks that c channels take.
func Blocks(c int) int { return (c + Block - 1) / Block }

// BlockedLen is the number of float32 that a tensor takes in the blocked
// layout, zero lanes included.
func BlockedLen(s op.Shape) int { return Blocks(s.C) * Block * s.Pixels() }

// Phase is a set of independent tasks. Run is called once for every task in
// [0, Tasks) with the index of the worker that runs it. It allocates nothing.
type Phase struct {
	Tasks int
	Run   func(task, worker int)
	// Constant says that the phase depends on parameters alone, and that what it leaves
	// is kept: while these stay as they are, it need not run again.
	Constant bool
}

// Env is what the kernels of one program share: the instruction set, the
// number of workers, each worker's scratch memory, and memory that a kernel's
// phases leave to one another.
type Env struct {
	ISA     ISA
	Workers int
	// Keep makes forward convolutions keep what they make of their weights, in memory
	// of their own. Set it before the first kernel.
	Keep    bool
	vectors *vector
	scratch [][]float32
	need    int
	shared  []float32
}

// NewEnv prepares for a number of workers, at least 1.
func NewEnv(isa ISA, workers int) *Env {
	return &Env{ISA: isa, Workers: workers, vectors: vectors(isa), scratch: make([][]float32, workers)}
}

// reserve makes sure that scratch holds at least n float32; constructors call it.
func (e *Env) reserve(n int) {
	if n <= e.need {
		return
	}
	e.need = n
	for i := range e.scratch {
		e.scratch[i] = Alloc(n)
	}
}

// share makes sure that shared holds at least n float32; constructors call it.
func (e *Env) share(n int) {
	if n > len(e.shared) {
		e.shared = Alloc(n)
	}
}

// memory is a part of what phases leave to one another, which others overwrite
// between runs unless it is kept.
type memory struct {
	env  *Env
	at   int
	kept []float32
}

// memory makes room for n float32, from an index of what is shared on.
func (e *Env) memory(at, n int) memory {
	if e.Keep {
		return memory{kept: Alloc(n)}
	}
	e.share(at + n)
	return memory{env: e, at: at}
}

// from is the memory from an index on. Shared memory may move until all kernels are
// made.
func (m memory) from(i int) []float32 {
	if m.kept != nil {
		return m.kept[i:]
	}
	return m.env.shared[m.at+i:]
}
