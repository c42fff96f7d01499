package kernels

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestATableCutsParametersIntoChunks(t *testing.T) {
	var table Table
	table.Add(Parameter{Weight: 1 << 20, Grad: 2 << 20, First: 3 << 20, Second: 4 << 20, Copy: 5 << 20, Len: 2*chunk + 5, GradType: BF16})
	table.Add(Parameter{Weight: 6 << 20, Grad: 7 << 20, Len: 1})
	if got := table.Chunks(); got != 4 {
		t.Fatalf("%d chunks, want 4", got)
	}
	const size = 48 // of a Chunk in optimizer.cu
	b := table.Bytes()
	if len(b) != 4*size {
		t.Fatalf("%d bytes, want %d", len(b), 4*size)
	}
	for i, want := range [][7]uint64{
		{1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20, chunk, 1},
		{1<<20 + 4*chunk, 2<<20 + 2*chunk, 3<<20 + 4*chunk, 4<<20 + 4*chunk, 5<<20 + 2*chunk, chunk, 1},
		{1<<20 + 8*chunk, 2<<20 + 4*chunk, 3<<20 + 8*chunk, 4<<20 + 8*chunk, 5<<20 + 4*chunk, 5, 1},
		{6 << 20, 7 << 20, 0, 0, 0, 1, 0},
	} {
		c := b[i*size:]
		for k, w := range want[:5] {
			if got := binary.LittleEndian.Uint64(c[8*k:]); got != w {
				t.Errorf("chunk %d: pointer %d is %#x, want %#x", i, k, got, w)
			}
		}
		if n, typ := binary.LittleEndian.Uint32(c[40:]), binary.LittleEndian.Uint32(c[44:]); uint64(n) != want[5] || uint64(typ) != want[6] {
			t.Errorf("chunk %d: %d elements of type %d, want %d of %d", i, n, typ, want[5], want[6])
		}
	}
}

func TestTheStateOfAStepHasItsBiasCorrections(t *testing.T) {
	h := Adam{Beta1: 0.9, Beta2: 0.999, WeightDecay: 0.1, Decoupled: true}
	b := h.State(0.01, 2).Bytes()
	if len(b) != StepStateSize {
		t.Fatalf("%d bytes, want %d", len(b), StepStateSize)
	}
	for at, want := range map[int]float64{0: 0.01 / (1 - 0.81), 8: 1 - 0.01*0.1, 12: 1 / math.Sqrt(1-0.999*0.999)} {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(b[at:])); got != float32(want) {
			t.Errorf("number at byte %d is %v, want %v", at, got, float32(want))
		}
	}
}
