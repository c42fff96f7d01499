package kernels

import (
	"encoding/binary"
	"math"
)

// Parameter is what a step of the optimiser moves, n elements in device memory.
type Parameter struct {
	Weight   Pointer // float32
	Grad     Pointer // of GradType
	First    Pointer // float32: SGD's velocity, 0 without momentum; Adam's first moment
	Second   Pointer // float32: Adam's second moment
	Copy     Pointer // bf16: takes the new weight too, where it is not 0
	Len      int
	GradType Type
}

// chunk is the largest number of a parameter's elements that one block moves.
const chunk = 1 << 14

// Table lists parameters, cut into chunks that make blocks of about the same work.
type Table struct{ chunks []Parameter }

// Add puts a parameter into the table.
func (t *Table) Add(p Parameter) {
	for from := 0; from < p.Len; from += chunk {
		part := p
		part.Weight, part.Grad = elementAt(p.Weight, from, 4), elementAt(p.Grad, from, p.GradType.Size())
		part.First, part.Second = elementAt(p.First, from, 4), elementAt(p.Second, from, 4)
		part.Copy = elementAt(p.Copy, from, BF16.Size())
		part.Len = min(chunk, p.Len-from)
		t.chunks = append(t.chunks, part)
	}
}

// elementAt is where an element lies, and 0 where nothing does.
func elementAt(p Pointer, i, size int) Pointer {
	if p == 0 {
		return 0
	}
	return p.Offset(int64(i) * int64(size))
}

// Chunks is the number of chunks.
func (t *Table) Chunks() int { return len(t.chunks) }

// Bytes is the table as the kernels read it in device memory.
func (t *Table) Bytes() []byte {
	var b []byte
	for _, c := range t.chunks {
		for _, p := range []Pointer{c.Weight, c.Grad, c.First, c.Second, c.Copy} {
			b = binary.LittleEndian.AppendUint64(b, uint64(p))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(c.Len))
		b = binary.LittleEndian.AppendUint32(b, uint32(flag(c.GradType == BF16)))
	}
	return b
}

// StepState is what changes from step to step.
type StepState struct{ rate, keep, shrink, root float32 }

// StepStateSize is the number of bytes of a state.
const StepStateSize = 16

// Bytes is the state as the kernels read it in device memory.
func (s StepState) Bytes() []byte {
	var b []byte
	for _, v := range []float32{s.rate, s.keep, s.shrink, s.root} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// SGD is the hyperparameters of torch.optim.SGD without dampening that stay the same.
type SGD struct {
	Momentum    float32
	WeightDecay float32 // added to the gradient, times the parameter
	Nesterov    bool
}

// State is that of a step. In the first the velocity begins as the gradient.
func (h SGD) State(rate float32, first bool) StepState {
	s := StepState{rate: rate, keep: h.Momentum}
	if first {
		s.keep = 0
	}
	return s
}

// SGDStep moves the parameters of a table against their gradients:
//
//	g = grad + WeightDecay*weight; velocity = Momentum*velocity + g
//	weight -= rate*(Nesterov ? g + Momentum*velocity : velocity)
//
// The table's chunks and the state lie in device memory. Where loss, one number, is not
// finite, nothing changes; it may be 0.
func SGDStep(h SGD, table Pointer, chunks int, state, loss Pointer) []Launch {
	ofGradient, ofVelocity := float32(0), float32(1)
	if h.Nesterov {
		ofGradient, ofVelocity = 1, h.Momentum
	}
	return one(step("sgd", chunks, table, state, loss, h.WeightDecay, ofGradient, ofVelocity))
}

// Adam is the hyperparameters of torch.optim.Adam, or of AdamW where the weight decay is
// decoupled from the gradient, that stay the same.
type Adam struct {
	Beta1, Beta2, Eps float64
	WeightDecay       float64
	Decoupled         bool
}

// State is that of a step, counted from 1.
func (h Adam) State(rate float64, step int) StepState {
	n, shrink := float64(step), 1.0
	if h.Decoupled {
		shrink = 1 - rate*h.WeightDecay
	}
	return StepState{
		rate:   float32(rate / (1 - math.Pow(h.Beta1, n))),
		shrink: float32(shrink),
		root:   float32(1 / math.Sqrt(1-math.Pow(h.Beta2, n))),
	}
}

// AdamStep moves the parameters of a table against their gradients:
//
//	first = Beta1*first + (1-Beta1)*g; second = Beta2*second + (1-Beta2)*g²
//	weight -= rate*(first/(1-Beta1^step)) / (sqrt(second/(1-Beta2^step)) + Eps)
//
// where g is grad + WeightDecay*weight, or grad where the decay is decoupled and weight
// has been multiplied by 1-rate*WeightDecay before. Moments start at zero. Table, state
// and loss are as for [SGDStep].
func AdamStep(h Adam, table Pointer, chunks int, state, loss Pointer) []Launch {
	decay := float32(h.WeightDecay)
	if h.Decoupled {
		decay = 0
	}
	return one(step("adam", chunks, table, state, loss, decay,
		float32(h.Beta1), float32(1-h.Beta1), float32(h.Beta2), float32(1-h.Beta2), float32(h.Eps)))
}

// step is a launch with a block for each chunk.
func step(kernel string, chunks int, args ...any) Launch {
	return Launch{Kernel: kernel, Grid: [3]int{chunks, 1, 1}, Block: [3]int{threads, 1, 1}, Args: args}
}
