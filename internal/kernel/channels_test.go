package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
	"pgregory.net/rapid"
)

func TestChannelsAreCopiedAcrossBlockBorders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := op.Shape{N: 2, C: rapid.IntRange(1, 50).Draw(t, "channels"), H: 2, W: 3}
		from := op.Shape{N: 2, C: rapid.IntRange(1, 50).Draw(t, "source's channels"), H: 2, W: 3}
		n := rapid.IntRange(1, min(s.C, from.C)).Draw(t, "copied")
		dstFrom := rapid.IntRange(0, s.C-n).Draw(t, "to")
		srcFrom := rapid.IntRange(0, from.C-n).Draw(t, "from")
		rng := rand.New(rand.NewPCG(1, 2))
		src, old := make([]float32, from.Len()), make([]float32, s.Len())
		for i := range src {
			src[i] = rng.Float32()
		}
		for i := range old {
			old[i] = -rng.Float32()
		}
		dst := result{data: blocked(s, old), shape: s, blocked: true}
		if dstFrom+n == s.C { // lanes that are no channels may hold anything before
			for i := range dst.data {
				if _, c, _ := blockedIndex(s, i); c >= s.C {
					dst.data[i] = float32(math.NaN())
				}
			}
		}
		e := NewEnv(Generic, 2)
		run(e, CopyChannels(e, s, dst.data, dstFrom, blocked(from, src), srcFrom, n))
		got, zero := dst.planar()
		if !zero {
			t.Error("lanes behind the last channel are not zero")
		}
		plane := s.H * s.W
		for image := range s.N {
			want := slices.Clone(old[image*s.C*plane : (image+1)*s.C*plane])
			copy(want[dstFrom*plane:(dstFrom+n)*plane], src[(image*from.C+srcFrom)*plane:])
			if !slices.Equal(got[image*s.C*plane:(image+1)*s.C*plane], want) {
				t.Fatalf("image %d: %v, want %v", image, got, want)
			}
		}
	})
}

func TestFoldedBatchNormsComputeTheSame(t *testing.T) {
	g := op.Conv{In: op.Shape{N: 2, C: 5, H: 4, W: 3}, Out: 70, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 1}
	norm := op.BatchNorm{In: g.OutShape(), Eps: 1e-5}
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, low float32) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = low + rng.Float32()
		}
		return x
	}
	x, w := draw(g.In.Len(), -0.5), draw(g.Weight().Len(), -0.5)
	gamma, beta, mean, variance := draw(g.Out, 0.5), draw(g.Out, -0.5), draw(g.Out, -0.5), draw(g.Out, 0.1)
	weight, bias := make([]float32, len(w)), make([]float32, g.Out)
	e := NewEnv(Generic, 2)
	run(e, FoldBatchNorm(e, g, norm, weight, bias, w, gamma, beta, mean, variance))

	plain, want, got := make([]float64, norm.In.Len()), make([]float64, norm.In.Len()), make([]float64, norm.In.Len())
	reference.Conv(g, plain, wide(x), wide(w), nil)
	reference.BatchNormEval(norm, want, plain, nil, false, wide(gamma), wide(beta), wide(mean), wide(variance))
	reference.Conv(g, got, wide(x), wide(weight), wide(bias))
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-5 {
			t.Fatalf("y[%d] = %v, want %v", i, got[i], want[i])
		}
	}
}
