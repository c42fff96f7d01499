package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// Epilogue is what a convolution does to its result before it is stored:
// y = relu(conv + bias + residual). Nil slices are left out.
type Epilogue struct {
	Bias     []float32 // (Out)
	Residual []float32 // blocked, of the result's shape; may be the result
	ReLU     bool
}

// blockEpilogue is what is done to the sums of a channel block.
type blockEpilogue struct {
	vectors  *vector
	residual []float32 // of the block
	norm     []float32 // adds the bias; nil if there is nothing to do
	relu     bool
	lanes    int // channels
}

// newBlockEpilogue keeps what it needs in scratch (normParams).
func newBlockEpilogue(v *vector, ep Epilogue, s op.Shape, block int, scratch []float32) blockEpilogue {
	b := blockEpilogue{vectors: v, relu: ep.ReLU, lanes: min(Block, s.C-block*Block)}
	if ep.Residual != nil {
		b.residual = ep.Residual[block*s.Pixels()*Block:]
	}
	if ep.Bias == nil && ep.Residual == nil && !ep.ReLU {
		return b
	}
	b.norm = scratch[:normParams]
	clear(b.norm)
	for lane := range b.lanes {
		b.norm[Block+lane] = 1
		if ep.Bias != nil {
			b.norm[2*Block+lane] = ep.Bias[block*Block+lane]
		}
	}
	return b
}

// none reports that sums are results as they are.
func (b *blockEpilogue) none() bool { return b.norm == nil && b.lanes == Block }

// write turns the sums of some pixels in a row into results, from an index of the
// block's plane on.
func (b *blockEpilogue) write(plane, sums []float32, at int) {
	dst := plane[at:][:len(sums)]
	switch v := b.vectors; {
	case b.norm == nil:
		copy(dst, sums)
	case b.residual != nil && b.relu:
		v.normAddReLU(dst, sums, b.residual[at:][:len(sums)], b.norm)
	case b.residual != nil:
		v.normAdd(dst, sums, b.residual[at:][:len(sums)], b.norm)
	case b.relu:
		v.normReLU(dst, sums, b.norm)
	default:
		v.normalise(dst, sums, b.norm)
	}
	if b.lanes < Block { // zero, whatever the operands hold
		for i := 0; i < len(dst); i += Block {
			clear(dst[i+b.lanes:][:Block-b.lanes])
		}
	}
}
