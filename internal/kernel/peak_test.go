package kernel

import "testing"

func TestEveryInstructionSetHasAPeak(t *testing.T) {
	for _, isa := range isas() {
		if flops := MeasureFMA(isa); flops < 1e6 {
			t.Errorf("%v: %v operations per second", isa, flops)
		}
	}
}
