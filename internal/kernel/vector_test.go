package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
	"pgregory.net/rapid"
)

// trial is one operator on one geometry with given operands.
type trial struct {
	name string
	// bind makes new destinations and the phases that fill them.
	bind func(e *Env) ([]Phase, []result)
	// want is what the float64 reference says of each, planar.
	want [][]float64
	// scale is the size of what cancels out in the results, if anything does.
	scale float64
}

// result is a destination: blocked of a shape, or planar.
type result struct {
	data    []float32
	shape   op.Shape
	blocked bool
}

// Destinations start as NaN, so that what is not written is seen.
func newResult(s op.Shape, blocked bool) result {
	n := s.Len()
	if blocked {
		n = BlockedLen(s)
	}
	r := result{data: Alloc(n), shape: s, blocked: blocked}
	for i := range r.data {
		r.data[i] = float32(math.NaN())
	}
	return r
}

func vec(n int) op.Shape { return op.Shape{N: 1, C: n, H: 1, W: 1} }

// planar is the result in planar layout; ok reports that the lanes behind the
// last channel are zero.
func (r result) planar() (x []float32, ok bool) {
	if !r.blocked {
		return r.data, true
	}
	x, ok = make([]float32, r.shape.Len()), true
	for i, v := range r.data {
		if n, c, p := blockedIndex(r.shape, i); c < r.shape.C {
			x[(n*r.shape.C+c)*r.shape.H*r.shape.W+p] = v
		} else if v != 0 {
			ok = false
		}
	}
	return x, ok
}

func blockedIndex(s op.Shape, i int) (n, c, p int) {
	plane := s.H * s.W
	return i / Block / plane % s.N, i/Block/plane/s.N*Block + i%Block, i / Block % plane
}

// blocked lays planar x out in channel blocks.
func blocked(s op.Shape, x []float32) []float32 {
	y := Alloc(BlockedLen(s))
	for i := range y {
		if n, c, p := blockedIndex(s, i); c < s.C {
			y[i] = x[(n*s.C+c)*s.H*s.W+p]
		}
	}
	return y
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// isas are the instruction sets that run on this machine, AMX among them, for which
// Go's loops may stand in.
func isas() []ISA {
	list := []ISA{AMX}
	for isa := Generic; isa <= Detect() && isa < AMX; isa++ {
		list = append(list, isa)
	}
	return list
}

// run runs phases on e's workers.
func run(e *Env, phases []Phase) {
	for _, p := range phases {
		var next atomic.Int64
		var done sync.WaitGroup
		for w := range e.Workers {
			done.Go(func() {
				for t := next.Add(1) - 1; t < int64(p.Tasks); t = next.Add(1) - 1 {
					p.Run(int(t), w)
				}
			})
		}
		done.Wait()
	}
}

// tolerance is the error allowed, as a share of one plus the largest value of a
// result or of what cancels out in it: 32 roundings to float32, which the longest float32 sums here may add up.
const tolerance = 32.0 / (1 << 24)

func (tr trial) check(t interface {
	Helper()
	Fatalf(string, ...any)
}, isa ISA) {
	t.Helper()
	var first [][]float32
	for workers := 1; workers <= 3; workers++ {
		e := NewEnv(isa, workers)
		phases, results := tr.bind(e)
		run(e, phases)
		for i, r := range results {
			got, zero := r.planar()
			if !zero {
				t.Fatalf("%s, instruction set %d: result %d: lanes behind the last channel are not zero", tr.name, isa, i)
			}
			if workers > 1 {
				if !slices.EqualFunc(got, first[i], sameBits) {
					t.Fatalf("%s, instruction set %d: result %d differs between 1 and %d workers", tr.name, isa, i, workers)
				}
				continue
			}
			first = append(first, got)
			if at, ok := near(got, tr.want[i], tr.scale); !ok {
				t.Fatalf("%s, instruction set %d: result %d[%d] = %v, want %v", tr.name, isa, i, at, got[at], tr.want[i][at])
			}
		}
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// near compares within the tolerance; NaN equals NaN.
func near(got []float32, want []float64, largest float64) (at int, ok bool) {
	for _, v := range want {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			largest = max(largest, math.Abs(v))
		}
	}
	for i, w := range want {
		g := float64(got[i])
		if math.IsNaN(w) != math.IsNaN(g) || math.IsInf(w, 0) && w != g {
			return i, false
		}
		if math.Abs(g-w) > tolerance*(1+largest) {
			return i, false
		}
	}
	return 0, true
}

// draw is where a trial gets its numbers from.
type draw struct{ *rand.Rand }

func newDraw(seed uint64) draw { return draw{rand.New(rand.NewPCG(seed, 1))} }

// values are in [-1, 1).
func (d draw) values(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = d.Float32()*2 - 1
	}
	return x
}

// positives are in [low, low+1).
func (d draw) positives(n int, low float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = d.Float32() + low
	}
	return x
}

// steps are whole numbers, so that there are ties.
func (d draw) steps(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(d.IntN(7) - 3)
	}
	return x
}

// trials are all operators on tensors of a shape; k, stride and pad are of the
// pooling, stride is also the scale of the enlargement.
func trials(d draw, s op.Shape, k, stride, pad int) []trial {
	return slices.Concat(elementwiseTrials(d, s), normTrials(d, s), poolTrials(d, s, k, stride, pad),
		upsampleTrials(d, s, stride), camTrials(d, s), lossTrials(d, s), optimizerTrials(d, s.Len()))
}

func elementwiseTrials(d draw, s op.Shape) []trial {
	n := s.Len()
	x, dy := d.values(n), d.values(n)
	xb, dyb := blocked(s, x), blocked(s, dy)
	y := make([]float32, n)
	reference.ReLU(y, x)
	yb := blocked(s, y)
	one := func(name string, want func(dst []float64), bind func(e *Env, dst []float32) []Phase, inBlocks bool) trial {
		w := make([]float64, n)
		want(w)
		return trial{fmt.Sprintf("%s of %v", name, s), func(e *Env) ([]Phase, []result) {
			r := newResult(s, inBlocks)
			return bind(e, r.data), []result{r}
		}, [][]float64{w}, 0}
	}
	seed := d.Uint64()
	return []trial{
		one("relu", func(w []float64) { reference.ReLU(w, wide(x)) }, func(e *Env, dst []float32) []Phase { return ReLU(e, dst, xb) }, true),
		one("relu backward", func(w []float64) { reference.ReLUBackward(w, wide(dy), wide(y)) },
			func(e *Env, dst []float32) []Phase { return ReLUBackward(e, dst, dyb, yb) }, true),
		one("add", func(w []float64) { reference.Add(w, wide(x), wide(dy)) }, func(e *Env, dst []float32) []Phase { return Add(e, dst, xb, dyb) }, true),
		one("planar add", func(w []float64) { reference.Add(w, wide(x), wide(dy)) }, func(e *Env, dst []float32) []Phase { return AddPlanar(e, dst, x, dy) }, false),
		one("sigmoid", func(w []float64) { reference.Sigmoid(w, wide(x)) }, func(e *Env, dst []float32) []Phase { return Sigmoid(e, s, dst, x) }, false),
		one("sigmoid backward", func(w []float64) { reference.SigmoidBackward(w, wide(dy), wide(y)) },
			func(e *Env, dst []float32) []Phase { return SigmoidBackward(e, s, dst, dy, y) }, false),
		one("dropout", func(w []float64) { reference.Dropout(s, w, wide(x), 0.3, seed) },
			func(e *Env, dst []float32) []Phase { return Dropout(e, s, dst, xb, 0.3, &seed) }, true),
		one("dropout backward", func(w []float64) { reference.DropoutBackward(s, w, wide(dy), 0.3, seed) },
			func(e *Env, dst []float32) []Phase { return DropoutBackward(e, s, dst, dyb, 0.3, &seed) }, true),
	}
}

func normTrials(d draw, s op.Shape) []trial {
	g := op.BatchNorm{In: s, Eps: 1e-3, Momentum: 0.1}
	n, c := s.Len(), s.C
	x, residual, dy, gamma, beta := d.values(n), d.values(n), d.values(n), d.values(c), d.values(c)
	for i := range x {
		x[i] += float32(i/(s.H*s.W)%c%5) - 2 // channels of different means
	}
	runningMean, runningVar := d.values(c), d.positives(c, 0.5)
	xb, rb, dyb := blocked(s, x), blocked(s, residual), blocked(s, dy)
	var list []trial
	for _, relu := range []bool{false, true} {
		for _, add := range []bool{false, true} {
			name := fmt.Sprintf("batch norm of %v, relu %v, residual %v", s, relu, add)
			res, resb := residual, rb
			if !add {
				res, resb = nil, nil
			}
			var wideRes []float64
			if add {
				wideRes = wide(res)
			}
			y, rm, rv, mean, rstd := make([]float64, n), wide(runningMean), wide(runningVar), make([]float64, c), make([]float64, c)
			reference.BatchNormTrain(g, y, wide(x), wideRes, relu, wide(gamma), wide(beta), rm, rv, mean, rstd)
			list = append(list, trial{name, func(e *Env) ([]Phase, []result) {
				r := []result{newResult(s, true), newResult(vec(c), false), newResult(vec(c), false), newResult(vec(c), false), newResult(vec(c), false)}
				copy(r[1].data, runningMean)
				copy(r[2].data, runningVar)
				return BatchNormTrain(e, g, r[0].data, xb, resb, relu, gamma, beta, r[1].data, r[2].data, r[3].data, r[4].data), r
			}, [][]float64{y, rm, rv, mean, rstd}, 0})

			eval := make([]float64, n)
			reference.BatchNormEval(g, eval, wide(x), wideRes, relu, wide(gamma), wide(beta), wide(runningMean), wide(runningVar))
			list = append(list, trial{name + " by running statistics", func(e *Env) ([]Phase, []result) {
				r := newResult(s, true)
				return BatchNormEval(e, g, r.data, xb, resb, relu, gamma, beta, runningMean, runningVar), []result{r}
			}, [][]float64{eval}, 0})

			list = append(list, normBackwardTrials(name, g, relu, add, x, dy, dyb, xb, gamma, runningMean, runningVar, y, mean, rstd)...)
		}
	}
	return list
}

func normBackwardTrials(name string, g op.BatchNorm, relu, keep bool, x, dy, dyb, xb, gamma, runningMean, runningVar []float32, y, mean, rstd []float64) []trial {
	n, c := g.In.Len(), g.In.C
	narrow := func(x []float64) []float32 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(v)
		}
		return y
	}
	frozen := make([]float64, c)
	for i, v := range runningVar {
		frozen[i] = 1 / math.Sqrt(float64(v+g.Eps))
	}
	y32, mean32, rstd32, frozen32 := narrow(y), narrow(mean), narrow(rstd), narrow(frozen)
	var yb []float32
	var wideY []float64
	if relu {
		yb, wideY = blocked(g.In, y32), wide(y32)
	}
	destinations := func() ([]result, []float32) {
		r := []result{newResult(g.In, true), newResult(vec(c), false), newResult(vec(c), false)}
		if !keep {
			return r, nil
		}
		r = append(r, newResult(g.In, true))
		return r, r[3].data
	}
	want := func(backward func(dx, dresidual, dgamma, dbeta []float64)) [][]float64 {
		dx, dresidual, dgamma, dbeta := make([]float64, n), make([]float64, n), make([]float64, c), make([]float64, c)
		backward(dx, dresidual, dgamma, dbeta)
		return [][]float64{dx, dgamma, dbeta, dresidual}
	}
	return []trial{{name + ", backward", func(e *Env) ([]Phase, []result) {
		r, dresidual := destinations()
		return BatchNormBackward(e, g, r[0].data, dresidual, r[1].data, r[2].data, dyb, xb, yb, gamma, mean32, rstd32), r
	}, want(func(dx, dresidual, dgamma, dbeta []float64) {
		reference.BatchNormBackward(g, dx, dresidual, dgamma, dbeta, wide(dy), wide(x), wideY, wide(gamma), wide(mean32), wide(rstd32))
	}), largestTerm(g.In, dy, x, mean32, rstd32)}, {name + ", frozen backward", func(e *Env) ([]Phase, []result) {
		r, dresidual := destinations()
		return BatchNormFrozenBackward(e, g, r[0].data, dresidual, r[1].data, r[2].data, dyb, xb, yb, gamma, runningMean, runningVar), r
	}, want(func(dx, dresidual, dgamma, dbeta []float64) {
		reference.BatchNormFrozenBackward(g, dx, dresidual, dgamma, dbeta, wide(dy), wide(x), wideY, wide(gamma), wide(runningMean), wide(runningVar))
	}), largestTerm(g.In, dy, x, runningMean, frozen32)}}
}

// largestTerm is that of the sums that are gamma's gradient, which may nearly cancel.
func largestTerm(s op.Shape, dy, x, mean, rstd []float32) (largest float64) {
	for i := range x {
		c := i / (s.H * s.W) % s.C
		largest = max(largest, math.Abs(float64(dy[i]*(x[i]-mean[c])*rstd[c])))
	}
	return largest
}

func poolTrials(d draw, s op.Shape, k, stride, pad int) []trial {
	var list []trial
	both := func(name string, out op.Shape, forward, backward func(dst []float64), bindForward, bindBackward func(e *Env, dst []float32) []Phase, planar bool) {
		y, dx := make([]float64, out.Len()), make([]float64, s.Len())
		forward(y)
		backward(dx)
		list = append(list, trial{fmt.Sprintf("%s of %v", name, s), func(e *Env) ([]Phase, []result) {
			r := []result{newResult(out, !planar), newResult(s, true)}
			return append(bindForward(e, r[0].data), bindBackward(e, r[1].data)...), r
		}, [][]float64{y, dx}, 0})
	}
	for _, countPad := range []bool{false, true} {
		g := op.Pool{In: s, Kernel: k, Stride: stride, Pad: pad, CountPad: countPad}
		if g.Validate() != nil {
			continue
		}
		out := g.OutShape()
		x, dy := d.steps(s.Len()), d.values(out.Len())
		y := make([]float32, out.Len())
		reference.MaxPool(g, y, x)
		xb, dyb, yb := blocked(s, x), blocked(out, dy), blocked(out, y)
		both(fmt.Sprintf("max pool %d/%d+%d", k, stride, pad), out,
			func(w []float64) { reference.MaxPool(g, w, wide(x)) },
			func(w []float64) { reference.MaxPoolBackward(g, w, wide(dy), wide(x), wide(y)) },
			func(e *Env, dst []float32) []Phase { return MaxPool(e, g, dst, xb) },
			func(e *Env, dst []float32) []Phase { return MaxPoolBackward(e, g, dst, dyb, xb, yb) }, false)
		both(fmt.Sprintf("average pool %d/%d+%d, padding counts %v", k, stride, pad, countPad), out,
			func(w []float64) { reference.AvgPool(g, w, wide(x)) },
			func(w []float64) { reference.AvgPoolBackward(g, w, wide(dy)) },
			func(e *Env, dst []float32) []Phase { return AvgPool(e, g, dst, xb) },
			func(e *Env, dst []float32) []Phase { return AvgPoolBackward(e, g, dst, dyb) }, false)
	}
	x, dy := d.values(s.Len()), d.values(s.N*s.C)
	xb := blocked(s, x)
	both("global average pool", op.Shape{N: s.N, C: s.C, H: 1, W: 1},
		func(w []float64) { reference.GlobalAvgPool(s, w, wide(x)) },
		func(w []float64) { reference.GlobalAvgPoolBackward(s, w, wide(dy)) },
		func(e *Env, dst []float32) []Phase { return GlobalAvgPool(e, s, dst, xb) },
		func(e *Env, dst []float32) []Phase { return GlobalAvgPoolBackward(e, s, dst, dy) }, true)
	return list
}

func upsampleTrials(d draw, s op.Shape, scale int) []trial {
	var list []trial
	for _, bilinear := range []bool{false, true} {
		g := op.Upsample{In: s, Scale: scale, Bilinear: bilinear}
		out := g.OutShape()
		x, dy := d.values(s.Len()), d.values(out.Len())
		xb, dyb := blocked(s, x), blocked(out, dy)
		y, dx := make([]float64, out.Len()), make([]float64, s.Len())
		reference.Upsample(g, y, wide(x))
		reference.UpsampleBackward(g, dx, wide(dy))
		list = append(list, trial{fmt.Sprintf("upsample of %v by %d, bilinear %v", s, scale, bilinear), func(e *Env) ([]Phase, []result) {
			r := []result{newResult(out, true), newResult(s, true)}
			return append(Upsample(e, g, r[0].data, xb), UpsampleBackward(e, g, r[1].data, dyb)...), r
		}, [][]float64{y, dx}, 0})
	}
	return list
}

func camTrials(d draw, s op.Shape) []trial {
	g := op.CAM{Features: s, Classes: 3}
	f, w, dcam, class := d.values(s.Len()), d.values(3*s.C), d.values(g.OutShape().Len()), make([]float32, s.N)
	for i := range class {
		class[i] = float32(d.IntN(4) - 1)
	}
	fb := blocked(s, f)
	cam, df, dw := make([]float64, len(dcam)), make([]float64, len(f)), make([]float64, len(w))
	reference.CAM(g, cam, wide(f), wide(w), wide(class))
	reference.CAMBackwardFeatures(g, df, wide(dcam), wide(f), wide(w), wide(class))
	reference.CAMBackwardWeights(g, dw, wide(dcam), wide(f), wide(w), wide(class))
	contrast := make([]float64, len(w))
	reference.Contrast(3, s.C, contrast, wide(w))
	return []trial{{fmt.Sprintf("contrast of 3 rows of %d", s.C), func(e *Env) ([]Phase, []result) {
		r := newResult(vec(len(w)), false)
		return Contrast(e, 3, s.C, r.data, w), []result{r}
	}, [][]float64{contrast}, 0}, {fmt.Sprintf("cam of %v", s), func(e *Env) ([]Phase, []result) {
		r := []result{newResult(g.OutShape(), false), newResult(s, true), newResult(vec(len(w)), false)}
		return slices.Concat(CAM(e, g, r[0].data, fb, w, class), CAMBackwardFeatures(e, g, r[1].data, dcam, fb, w, class),
			CAMBackwardWeights(e, g, r[2].data, dcam, fb, w, class)), r
	}, [][]float64{cam, df, dw}, camScale(s, f, w, class)}}
}

// camScale is how large the gradients of the extremes may be, which nearly cancel
// the others': the number of pixels over the range of the map before scaling.
func camScale(s op.Shape, f, w, class []float32) float64 {
	scale, plane := 0.0, s.H*s.W
	for n := range s.N {
		low, high := math.Inf(1), math.Inf(-1)
		for p := range plane {
			raw := 0.0
			for c := range s.C {
				raw += float64(f[(n*s.C+c)*plane+p]) * float64(w[max(0, int(class[n]))*s.C+c])
			}
			low, high = min(low, raw), max(high, raw)
		}
		if high > low {
			scale = max(scale, float64(plane)/(high-low))
		}
	}
	return scale
}

func lossTrials(d draw, s op.Shape) []trial {
	n, classes := s.N, s.C
	logits, labels, dloss := d.values(n*classes), make([]float32, n), d.values(n)
	for i := range labels {
		labels[i] = float32(d.IntN(classes+1) - 1)
	}
	class, loss, dlogits := make([]float64, n), make([]float64, n), make([]float64, n*classes)
	mean, dvalues := make([]float64, 1), make([]float64, n)
	reference.ArgMax(n, classes, class, wide(logits))
	reference.SoftmaxCrossEntropy(n, classes, loss, wide(logits), wide(labels))
	reference.SoftmaxCrossEntropyBackward(n, classes, dlogits, wide(dloss), wide(logits), wide(labels))
	reference.WeightedMean(n, mean, wide(dloss), wide(labels))
	reference.WeightedMeanBackward(n, dvalues, []float64{0.75}, wide(labels))
	list := []trial{{fmt.Sprintf("cross entropy of %d rows, %d classes", n, classes), func(e *Env) ([]Phase, []result) {
		r := []result{newResult(vec(n), false), newResult(vec(n), false), newResult(vec(n*classes), false), newResult(vec(1), false), newResult(vec(n), false)}
		return slices.Concat(ArgMax(e, n, classes, r[0].data, logits), SoftmaxCrossEntropy(e, n, classes, r[1].data, logits, labels),
			SoftmaxCrossEntropyBackward(e, n, classes, r[2].data, dloss, logits, labels), WeightedMean(e, n, r[3].data, dloss, labels),
			WeightedMeanBackward(e, n, r[4].data, []float32{0.75}, labels)), r
	}, [][]float64{class, loss, dlogits, mean, dvalues}, 0}}
	list = append(list, entropyTrial(d, s), balanceTrial(d, n))
	for _, kind := range []op.MapLossKind{op.MSE, op.BCE, op.KL, op.CC} {
		for _, isLogits := range []bool{false, true} {
			g := op.MapLoss{Kind: kind, N: n, H: s.H, W: s.W, Logits: isLogits}
			p, target := d.values(n*s.H*s.W), d.positives(n*s.H*s.W, 0)
			if !isLogits {
				p = d.positives(len(p), 0)
				for i := range p {
					p[i] = 0.05 + 0.9*p[i]
				}
			}
			loss, dp := make([]float64, n), make([]float64, len(p))
			reference.MapLoss(g, loss, wide(p), wide(target))
			reference.MapLossBackward(g, dp, wide(dloss), wide(p), wide(target))
			list = append(list, trial{fmt.Sprintf("%v of %v, logits %v", kind, s, isLogits), func(e *Env) ([]Phase, []result) {
				r := []result{newResult(vec(n), false), newResult(vec(len(p)), false)}
				return append(MapLoss(e, g, r[0].data, p, target), MapLossBackward(e, g, r[1].data, dloss, p, target)...), r
			}, [][]float64{loss, dp}, 0})
		}
	}
	return list
}

// entropyTrial has a map of zeros, and one with a zero.
func entropyTrial(d draw, s op.Shape) trial {
	s.C = 1
	maps, dentropy := d.positives(s.Len(), 0.05), d.values(s.N)
	maps[0] = 0
	clear(maps[(s.N-1)*s.H*s.W:])
	entropy, dmaps := make([]float64, s.N), make([]float64, len(maps))
	reference.Entropy(s, entropy, wide(maps))
	reference.EntropyBackward(s, dmaps, wide(dentropy), wide(maps))
	return trial{fmt.Sprintf("entropy of %v", s), func(e *Env) ([]Phase, []result) {
		r := []result{newResult(vec(s.N), false), newResult(s, false)}
		return append(Entropy(e, s, r[0].data, maps), EntropyBackward(e, s, r[1].data, dentropy, maps)...), r
	}, [][]float64{entropy, dmaps}, 0}
}

func balanceTrial(d draw, n int) trial {
	first, second, weight := d.positives(n, 0), d.positives(n, 0), make([]float32, n)
	for i := range weight {
		weight[i] = float32(d.IntN(4))
	}
	ofFirst, ofSecond := make([]float64, n), make([]float64, n)
	reference.Balance(n, false, ofFirst, wide(first), wide(second), wide(weight))
	reference.Balance(n, true, ofSecond, wide(first), wide(second), wide(weight))
	return trial{fmt.Sprintf("balance of %d", n), func(e *Env) ([]Phase, []result) {
		r := []result{newResult(vec(n), false), newResult(vec(n), false)}
		return append(Balance(e, n, false, r[0].data, first, second, weight), Balance(e, n, true, r[1].data, first, second, weight)...), r
	}, [][]float64{ofFirst, ofSecond}, 0}
}

func optimizerTrials(d draw, n int) []trial {
	param, grad, first, second := d.values(n), d.values(n), d.values(n), d.positives(n, 0)
	copies := func(list ...[]float32) []result {
		var r []result
		for _, x := range list {
			r = append(r, newResult(vec(n), false))
			copy(r[len(r)-1].data, x)
		}
		return r
	}
	var list []trial
	for _, nesterov := range []bool{false, true} {
		p, v := wide(param), wide(first)
		reference.SGD(p, wide(grad), v, 0.1, 0.9, 0.01, nesterov)
		list = append(list, trial{fmt.Sprintf("sgd of %d, Nesterov %v", n, nesterov), func(e *Env) ([]Phase, []result) {
			r := copies(param, first)
			return SGDStep(e, &SGD{LR: 0.1, Momentum: 0.9, WeightDecay: 0.01, Nesterov: nesterov}, r[0].data, grad, r[1].data), r
		}, [][]float64{p, v}, 0})
	}
	for _, decoupled := range []bool{false, true} {
		p, m, v := wide(param), wide(first), wide(second)
		reference.Adam(p, wide(grad), m, v, 3, 0.01, 0.9, 0.99, 1e-8, 0.1, decoupled)
		list = append(list, trial{fmt.Sprintf("adam of %d, decoupled %v", n, decoupled), func(e *Env) ([]Phase, []result) {
			r := copies(param, first, second)
			h := &Adam{LR: 0.01, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Decoupled: decoupled, Step: 3}
			return AdamStep(e, h, r[0].data, grad, r[1].data, r[2].data), r
		}, [][]float64{p, m, v}, 0})
	}
	return list
}

// oddShapes have channels around the block, single pixels, odd sizes, and more
// pixels than a chunk of batch norm.
var oddShapes = []op.Shape{
	{N: 2, C: 1, H: 5, W: 7}, {N: 1, C: 3, H: 4, W: 4}, {N: 3, C: 16, H: 3, W: 9}, {N: 2, C: 17, H: 6, W: 5}, {N: 1, C: 33, H: 7, W: 7},
	{N: 1, C: 5, H: 1, W: 1}, {N: 4, C: 16, H: 1, W: 1}, {N: 2, C: 33, H: 1, W: 3}, {N: 1, C: 2, H: 9, W: 1}, {N: 3, C: 20, H: 37, W: 41},
}

func TestKernelsAgreeWithTheReferenceForAnyNumberOfWorkers(t *testing.T) {
	for i, s := range oddShapes {
		for _, tr := range trials(newDraw(uint64(i)), s, 3, 2, 1) {
			for _, isa := range isas() {
				tr.check(t, isa)
			}
		}
	}
}

func TestKernelsAgreeWithTheReferenceOnRandomGeometries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := op.Shape{
			N: rapid.IntRange(1, 3).Draw(t, "N"), C: rapid.IntRange(1, 40).Draw(t, "C"),
			H: rapid.IntRange(1, 9).Draw(t, "H"), W: rapid.IntRange(1, 9).Draw(t, "W"),
		}
		k := rapid.IntRange(1, 5).Draw(t, "kernel")
		stride, pad := rapid.IntRange(1, 4).Draw(t, "stride"), rapid.IntRange(0, k/2).Draw(t, "pad")
		for _, tr := range trials(newDraw(rapid.Uint64().Draw(t, "seed")), s, k, stride, pad) {
			for _, isa := range isas() {
				tr.check(t, isa)
			}
		}
	})
}

func TestRunningAKernelAllocatesNothing(t *testing.T) {
	e := NewEnv(Detect(), 1)
	for _, tr := range trials(newDraw(1), op.Shape{N: 2, C: 17, H: 6, W: 5}, 3, 2, 1) {
		phases, _ := tr.bind(e)
		allocated := testing.AllocsPerRun(3, func() {
			for _, p := range phases {
				for task := range p.Tasks {
					p.Run(task, 0)
				}
			}
		})
		if allocated != 0 {
			t.Errorf("%s: %v allocations a run, want none", tr.name, allocated)
		}
	}
}
