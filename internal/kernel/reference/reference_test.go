package reference_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

func random(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.Float64()*2 - 1
	}
	return x
}

// checkGradient compares a gradient by x of sum(dy*forward(x)) with central
// differences. Steps of 1e-6 leave a relative error of about 1e-10 from float64
// and 1e-12 from the curvature; 1e-6 is asked.
func checkGradient(t *testing.T, name string, x, dy, gradient []float64, forward func() []float64) {
	t.Helper()
	dot := func() float64 {
		var sum float64
		for i, v := range forward() {
			sum += v * dy[i]
		}
		return sum
	}
	const step = 1e-6
	for i, v := range x {
		x[i] = v + step
		above := dot()
		x[i] = v - step
		below := dot()
		x[i] = v
		if want := (above - below) / (2 * step); math.Abs(gradient[i]-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("%s: gradient[%d] = %v, finite difference %v", name, i, gradient[i], want)
		}
	}
}

func TestConvGradientsAreFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	g := op.Conv{In: op.Shape{N: 2, C: 4, H: 5, W: 4}, Out: 6, KernelH: 3, KernelW: 2, StrideH: 2, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 2, Groups: 2}
	x, w, dy := random(rng, g.In.Len()), random(rng, g.Weight().Len()), random(rng, g.OutShape().Len())
	y, dx, dw := make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))
	forward := func() []float64 { reference.Conv(g, y, x, w, nil); return y }
	reference.ConvBackwardData(g, dx, dy, w)
	reference.ConvBackwardWeights(g, dw, x, dy)
	checkGradient(t, "data", x, dy, dx, forward)
	checkGradient(t, "weights", w, dy, dw, forward)
}

func TestBatchNormGradientsAreFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := op.BatchNorm{In: op.Shape{N: 2, C: 3, H: 2, W: 3}, Eps: 1e-5, Momentum: 0.1}
	n, c := g.In.Len(), g.In.C
	x, residual, gamma, beta, dy := random(rng, n), random(rng, n), random(rng, c), random(rng, c), random(rng, n)
	for _, frozen := range []bool{false, true} {
		runningMean, runningVar := random(rng, c), []float64{0.5, 1, 2}
		y, mean, rstd := make([]float64, n), make([]float64, c), make([]float64, c)
		forward := func() []float64 {
			if frozen {
				reference.BatchNormEval(g, y, x, residual, true, gamma, beta, runningMean, runningVar)
			} else {
				reference.BatchNormTrain(g, y, x, residual, true, gamma, beta, make([]float64, c), make([]float64, c), mean, rstd)
			}
			return y
		}
		forward()
		dx, dresidual, dgamma, dbeta := make([]float64, n), make([]float64, n), make([]float64, c), make([]float64, c)
		if frozen {
			reference.BatchNormFrozenBackward(g, dx, dresidual, dgamma, dbeta, dy, x, y, gamma, runningMean, runningVar)
		} else {
			reference.BatchNormBackward(g, dx, dresidual, dgamma, dbeta, dy, x, y, gamma, mean, rstd)
		}
		checkGradient(t, "x", x, dy, dx, forward)
		checkGradient(t, "residual", residual, dy, dresidual, forward)
		checkGradient(t, "gamma", gamma, dy, dgamma, forward)
		checkGradient(t, "beta", beta, dy, dbeta, forward)
	}
}

func TestCAMGradientsAreFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	g := op.CAM{Features: op.Shape{N: 3, C: 5, H: 3, W: 4}, Classes: 3}
	f, w, dy := random(rng, g.Features.Len()), random(rng, g.Classes*g.Features.C), random(rng, g.OutShape().Len())
	class := []float64{2, 0, 2}
	cam, df, dw := make([]float64, len(dy)), make([]float64, len(f)), make([]float64, len(w))
	forward := func() []float64 { reference.CAM(g, cam, f, w, class); return cam }
	reference.CAMBackwardFeatures(g, df, dy, f, w, class)
	reference.CAMBackwardWeights(g, dw, dy, f, w, class)
	checkGradient(t, "features", f, dy, df, forward)
	checkGradient(t, "weights", w, dy, dw, forward)
}

func TestMapLossGradientsAreFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
		for _, logits := range []bool{false, true} {
			g := op.MapLoss{Kind: kind, N: 2, H: 3, W: 4, Logits: logits}
			p, target, dy := random(rng, 24), random(rng, 24), random(rng, 2)
			for i := range target {
				target[i] = math.Abs(target[i])
				if !logits {
					p[i] = 0.05 + 0.9*math.Abs(p[i])
				}
			}
			loss, dp := make([]float64, 2), make([]float64, 24)
			reference.MapLossBackward(g, dp, dy, p, target)
			checkGradient(t, fmt.Sprintf("%v, logits %v", kind, logits), p, dy, dp, func() []float64 {
				reference.MapLoss(g, loss, p, target)
				return loss
			})
		}
	}
}

func TestSoftmaxCrossEntropyGradientIsFiniteDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	logits, dy, labels := random(rng, 12), random(rng, 3), []float64{3, -1, 0}
	loss, d := make([]float64, 3), make([]float64, 12)
	reference.SoftmaxCrossEntropyBackward(3, 4, d, dy, logits, labels)
	checkGradient(t, "logits", logits, dy, d, func() []float64 {
		reference.SoftmaxCrossEntropy(3, 4, loss, logits, labels)
		return loss
	})
	if loss[1] != 0 {
		t.Errorf("loss of an unlabelled row = %v, want 0", loss[1])
	}
}

func TestUpsampleAndPoolingGradientsAreFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	s := op.Shape{N: 2, C: 2, H: 4, W: 5}
	x := random(rng, s.Len())
	check := func(name string, out int, forward func(y, x []float64), backward func(dx, dy, y []float64)) {
		y, dy, dx := make([]float64, out), random(rng, out), make([]float64, len(x))
		forward(y, x)
		backward(dx, dy, y)
		checkGradient(t, name, x, dy, dx, func() []float64 { forward(y, x); return y })
	}
	for _, bilinear := range []bool{false, true} {
		u := op.Upsample{In: s, Scale: 3, Bilinear: bilinear}
		check("upsample", u.OutShape().Len(), func(y, x []float64) { reference.Upsample(u, y, x) },
			func(dx, dy, _ []float64) { reference.UpsampleBackward(u, dx, dy) })
	}
	for _, countPad := range []bool{false, true} {
		p := op.Pool{In: s, Kernel: 3, Stride: 2, Pad: 1, CountPad: countPad}
		check("average", p.OutShape().Len(), func(y, x []float64) { reference.AvgPool(p, y, x) },
			func(dx, dy, _ []float64) { reference.AvgPoolBackward(p, dx, dy) })
		check("maximum", p.OutShape().Len(), func(y, x []float64) { reference.MaxPool(p, y, x) },
			func(dx, dy, y []float64) { reference.MaxPoolBackward(p, dx, dy, x, y) })
	}
	check("global", s.N*s.C, func(y, x []float64) { reference.GlobalAvgPool(s, y, x) },
		func(dx, dy, _ []float64) { reference.GlobalAvgPoolBackward(s, dx, dy) })
}

func TestDropoutKeepsTheExpectedShareAndItsGradientHasTheSameMask(t *testing.T) {
	s := op.Shape{N: 4, C: 10, H: 50, W: 50}
	const rate = 0.3
	y, dx, ones := make([]float32, s.Len()), make([]float32, s.Len()), make([]float32, s.Len())
	for i := range ones {
		ones[i] = 1
	}
	reference.Dropout(s, y, ones, rate, 7)
	reference.DropoutBackward(s, dx, ones, rate, 7)
	kept := 0
	for i, v := range y {
		if v != dx[i] {
			t.Fatalf("element %d: forward %v, backward %v", i, v, dx[i])
		}
		if v != 0 {
			kept++
		}
	}
	// Binomial(100000, 0.7) has a standard deviation of 145; five of them.
	if math.Abs(float64(kept)-70000) > 725 {
		t.Errorf("kept %d of %d elements, want about 70000", kept, s.Len())
	}
}

func TestConcatIsUndoneByChannels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	parts := []op.Shape{{N: 2, C: 3, H: 2, W: 2}, {N: 2, C: 1, H: 2, W: 2}}
	x := [][]float64{random(rng, 24), random(rng, 8)}
	whole := make([]float64, 32)
	reference.Concat(parts, whole, x)
	from := 0
	for i, p := range parts {
		got := make([]float64, p.Len())
		reference.Channels(op.Shape{N: 2, C: 4, H: 2, W: 2}, from, p.C, got, whole)
		for j := range got {
			if got[j] != x[i][j] {
				t.Fatalf("part %d, element %d: %v, want %v", i, j, got[j], x[i][j])
			}
		}
		from += p.C
	}
}

func TestConstantMapsGiveFiniteLossesAndNoGradient(t *testing.T) {
	g := op.CAM{Features: op.Shape{N: 1, C: 1, H: 2, W: 2}, Classes: 1}
	cam, df := make([]float64, 4), make([]float64, 4)
	reference.CAM(g, cam, []float64{2, 2, 2, 2}, []float64{3}, []float64{0})
	reference.CAMBackwardFeatures(g, df, []float64{1, 2, 3, 4}, []float64{2, 2, 2, 2}, []float64{3}, []float64{0})
	blank, target := make([]float64, 4), []float64{0, 0, 1, 1}
	for _, kind := range []op.MapLossKind{op.KL, op.CC} {
		m, loss, dp := op.MapLoss{Kind: kind, N: 1, H: 2, W: 2}, make([]float64, 1), make([]float64, 4)
		reference.MapLoss(m, loss, blank, target)
		reference.MapLossBackward(m, dp, []float64{1}, blank, target)
		if math.IsNaN(loss[0]) || math.IsInf(loss[0], 0) {
			t.Errorf("%v of a blank map = %v", kind, loss[0])
		}
		df = append(df, dp...)
	}
	for i, v := range append(cam, df...) {
		if v != 0 {
			t.Errorf("value %d = %v, want 0", i, v)
		}
	}
}

func TestBatchNormOfASingleValueKeepsTheRunningVariance(t *testing.T) {
	g := op.BatchNorm{In: op.Shape{N: 1, C: 1, H: 1, W: 1}, Eps: 1e-5, Momentum: 0.5}
	y, runningMean, runningVar, saved := make([]float64, 1), []float64{0}, []float64{3}, make([]float64, 1)
	reference.BatchNormTrain(g, y, []float64{8}, nil, false, []float64{1}, []float64{2}, runningMean, runningVar, saved, make([]float64, 1))
	if y[0] != 2 || runningMean[0] != 4 || runningVar[0] != 3 {
		t.Errorf("y, running mean, running variance = %v, %v, %v, want 2, 4, 3", y[0], runningMean[0], runningVar[0])
	}
}
