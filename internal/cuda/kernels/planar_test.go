package kernels

import (
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

func TestLaunchesOnPlanarTensorsFitTheirKernels(t *testing.T) {
	const p = Pointer(256)
	check := func(what string, all []Launch) {
		t.Helper()
		for _, l := range all {
			if err := Check(l); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for _, g := range []op.Linear{{N: 1, In: 1, Out: 1}, {N: 128, In: 2048, Out: 2}, {N: 512, In: 4096, Out: 1000}, {N: 7, In: 33, Out: 65}} {
		check("Linear", Linear(g, p, p, p, p))
		check("LinearBackwardData", LinearBackwardData(g, p, p, p))
		check("LinearBackwardWeights", LinearBackwardWeights(g, p, p, p))
		check("LinearBackwardBias", LinearBackwardBias(g, p, p))
		s := op.Shape{N: g.N, C: g.Out, H: 1, W: 1}
		check("ArgMax", ArgMax(s, p, p))
		check("SoftmaxCrossEntropy", SoftmaxCrossEntropy(s.N, s.C, p, p, p))
		check("SoftmaxCrossEntropyBackward", SoftmaxCrossEntropyBackward(s.N, s.C, p, p, p, p))
		check("Contrast", Contrast(g.Out, g.In, p, p))
		check("Balance", Balance(g.N, true, p, p, p, p))
		for _, terms := range []int{1, 8, 9} {
			pointers := make([]Pointer, terms)
			check("WeightedMean", WeightedMean(g.N, p, pointers, pointers))
		}
		check("WeightedMeanBackward", WeightedMeanBackward(g.N, p, p, p))
	}
	for _, s := range []op.Shape{{N: 1, C: 1, H: 1, W: 1}, {N: 64, C: 1, H: 256, W: 256}, {N: 512, C: 1, H: 7, W: 7}} {
		check("Sigmoid", Sigmoid(s, p, p))
		check("SigmoidBackward", SigmoidBackward(s, p, p, p))
		check("AddPlanar", AddPlanar(int64(s.Len()), p, p, p))
		check("Entropy", Entropy(s, p, p))
		check("EntropyBackward", EntropyBackward(s, p, p, p))
		for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
			for _, logits := range []bool{false, true} {
				g := op.MapLoss{Kind: kind, N: s.N, H: s.H, W: s.W, Logits: logits}
				check("MapLoss", MapLoss(g, p, p, p))
				check("MapLossBackward", MapLossBackward(g, p, p, p, p))
			}
		}
	}
	for _, typ := range []Type{F32, BF16} {
		for _, s := range []op.Shape{{N: 1, C: 1, H: 1, W: 1}, {N: 128, C: 2048, H: 32, W: 32}, {N: 512, C: 2048, H: 7, W: 7}, {N: 3, C: 33, H: 5, W: 5}} {
			g := op.CAM{Features: s, Classes: 1000}
			check("CAM", CAM(g, typ, p, p, p, p))
			check("CAMBackwardFeatures", CAMBackwardFeatures(g, typ, p, p, p, p, p, p))
			check("CAMBackwardWeights", CAMBackwardWeights(g, typ, p, p, p, p, p, p))
			if bytes := int(imageParts(g, 0)) + 4*s.N*s.C; bytes > Scratch {
				t.Errorf("CAMBackwardWeights of %v: %d bytes of scratch", s, bytes)
			}
		}
	}
	check("SGDStep", SGDStep(SGD{}, p, 1, p, p))
	check("AdamStep", AdamStep(Adam{}, p, 2000, p, 0))
}
