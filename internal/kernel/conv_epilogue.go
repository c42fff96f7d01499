package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// Epilogue is what a convolution does to its result before it is stored:
// y = relu(conv + bias + residual). Nil slices are left out.
type Epilogue[T Element] struct {
	Bias     []float32 // (Out)
	Residual []T       // blocked, of the result's shape; may be the result
	ReLU     bool
}

// blockEpilogue is what is done to the sums of a channel block.
type blockEpilogue[T Element] struct {
	vectors  *vector
	residual []T       // of the block
	norm     []float32 // adds the bias; nil if nothing is added
	spare    []float32 // for the residual as float32
	relu     bool
	lanes    int // channels
}

// epilogueLen is the number of float32 that the epilogue of so many sums needs in
// scratch.
func epilogueLen[T Element](sums int) int {
	if _, direct := any(T(0)).(float32); direct {
		return normParams
	}
	return normParams + sums
}

// newBlockEpilogue keeps what it needs in scratch (epilogueLen).
func newBlockEpilogue[T Element](v *vector, ep Epilogue[T], s op.Shape, block int, scratch []float32) blockEpilogue[T] {
	b := blockEpilogue[T]{vectors: v, relu: ep.ReLU, lanes: min(Block, s.C-block*Block)}
	if ep.Residual != nil {
		b.residual = ep.Residual[block*s.Pixels()*Block:]
	}
	if ep.Bias == nil && ep.Residual == nil && !ep.ReLU {
		return b
	}
	b.norm, b.spare = scratch[:normParams], scratch[normParams:]
	clear(b.norm)
	for lane := range b.lanes {
		b.norm[Block+lane] = 1
		if ep.Bias != nil {
			b.norm[2*Block+lane] = ep.Bias[block*Block+lane]
		}
	}
	return b
}

// in is where sums are results as they are: in the plane itself, if there is nothing
// to do to them, and nowhere otherwise.
func (b *blockEpilogue[T]) in(plane []T) ([]float32, bool) {
	floats, ok := any(plane).([]float32)
	return floats, ok && b.norm == nil && b.lanes == Block
}

// write turns the sums of some pixels in a row, which it may change, into results,
// from an index of the block's plane on.
func (b *blockEpilogue[T]) write(plane []T, sums []float32, at int) {
	if dst, ok := any(plane).([]float32); ok {
		b.finish(dst[at:][:len(sums)], sums, at)
		return
	}
	b.finish(sums, sums, at)
	b.vectors.narrow(any(plane).([]BF16)[at:], sums, Block)
}

func (b *blockEpilogue[T]) finish(dst, sums []float32, at int) {
	switch v := b.vectors; {
	case b.norm == nil:
		copy(dst, sums)
	case b.residual != nil && b.relu:
		v.normAddReLU(dst, sums, b.widened(at, len(sums)), b.norm)
	case b.residual != nil:
		v.normAdd(dst, sums, b.widened(at, len(sums)), b.norm)
	case b.relu:
		v.normReLU(dst, sums, b.norm)
	default:
		v.normalise(dst, sums, b.norm)
	}
	if b.lanes < Block { // zero, whatever the operands hold
		clearLanes(dst, b.lanes)
	}
}

// clearLanes clears those from one on in every pixel.
func clearLanes[T Element](x []T, from int) {
	for i := 0; i < len(x); i += Block {
		clear(x[i+from:][:Block-from])
	}
}

// widened is a part of the residual as float32.
func (b *blockEpilogue[T]) widened(at, n int) []float32 {
	return floats(b.vectors, b.spare, b.residual[at:][:n])
}

// floats are the elements of x: x itself or its values in scratch.
func floats[T Element](v *vector, scratch []float32, x []T) []float32 {
	if f, ok := any(x).([]float32); ok {
		return f
	}
	scratch = scratch[:len(x)]
	v.widen(scratch, any(x).([]BF16))
	return scratch
}
