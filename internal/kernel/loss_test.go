package kernel

import (
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestTheCorrelationWithAConstantMapHasNoGradient(t *testing.T) {
	const side = 14 // whose square's mean of equal numbers is rounded
	target := make([]float32, side*side)
	for i := range target {
		target[i] = float32(i%5) / 4
	}
	e := NewEnv(Detect(), 1)
	for _, logit := range []float32{-6, 0.3, 1.3} {
		g := op.MapLoss{Kind: op.CC, N: 1, H: side, W: side, Logits: true}
		p := slices.Repeat([]float32{logit}, side*side)
		loss, got, want := make([]float32, 1), make([]float32, side*side), make([]float32, side*side)
		run(e, append(MapLoss(e, g, loss, p, target), MapLossBackward(e, g, got, []float32{1}, p, target)...))
		reference.MapLossBackward(g, want, []float32{1}, p, target)
		if zeros := make([]float32, side*side); loss[0] != 1 || !slices.Equal(got, zeros) || !slices.Equal(want, zeros) {
			t.Errorf("logits %v: loss %v, gradients %v and %v, want 1 and zeros", logit, loss[0], got[0], want[0])
		}
	}
}
