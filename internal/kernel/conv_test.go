package kernel

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
	"pgregory.net/rapid"
)

// conv is a convolution of square geometry, one group.
func conv(n, c, h, w, out, kernel, stride, pad int) op.Conv {
	return op.Conv{
		In: op.Shape{N: n, C: c, H: h, W: w}, Out: out,
		KernelH: kernel, KernelW: kernel, StrideH: stride, StrideW: stride,
		PadH: pad, PadW: pad, DilationH: 1, DilationW: 1, Groups: 1,
	}
}

func with(g op.Conv, change func(*op.Conv)) op.Conv {
	change(&g)
	return g
}

var oddConvs = []op.Conv{
	conv(1, 1, 1, 1, 1, 1, 1, 0),
	conv(2, 3, 9, 7, 5, 3, 1, 1),
	conv(1, 17, 6, 6, 33, 3, 1, 1),
	conv(2, 16, 7, 7, 16, 3, 2, 1),
	conv(2, 16, 8, 8, 16, 3, 2, 1),
	conv(5, 33, 5, 5, 18, 1, 1, 0),
	conv(3, 20, 7, 5, 40, 1, 2, 0), // most pixels of dx meet no tap
	conv(1, 3, 23, 20, 16, 7, 2, 3),
	conv(2, 3, 12, 12, 16, 5, 2, 2),
	conv(1, 4, 1, 1, 20, 3, 1, 1),
	conv(3, 4, 2, 2, 4, 2, 3, 4), // padding larger than the kernel, stride larger than both
	conv(1, 8, 4, 4, 8, 4, 1, 0), // the kernel is the image
	conv(7, 16, 3, 3, 16, 3, 1, 1),
	conv(1, 40, 31, 37, 17, 3, 1, 1),
	conv(33, 80, 1, 1, 70, 1, 1, 0),
	conv(2, 33, 8, 9, 40, 3, 1, 1), // Winograd's
	with(conv(1, 5, 9, 8, 6, 3, 1, 2), func(g *op.Conv) { g.DilationH, g.DilationW = 2, 2 }),
	with(conv(2, 6, 11, 9, 7, 3, 2, 1), func(g *op.Conv) { g.DilationH, g.KernelW, g.PadW, g.StrideW = 3, 5, 2, 1 }),
	with(conv(1, 5, 4, 1, 6, 1, 1, 0), func(g *op.Conv) { g.StrideW = 3 }), // a column of single pixels
	with(conv(1, 37, 4, 1, 6, 1, 1, 0), func(g *op.Conv) { g.StrideW = 3 }),
	with(conv(1, 8, 10, 12, 9, 2, 1, 0), func(g *op.Conv) { g.KernelH, g.StrideW, g.StrideH, g.PadH = 1, 3, 2, 3 }),
	with(conv(1, 12, 5, 6, 6, 3, 1, 1), func(g *op.Conv) { g.Groups = 3 }),
	with(conv(2, 18, 4, 4, 18, 3, 2, 1), func(g *op.Conv) { g.Groups = 18 }),
	with(conv(2, 18, 7, 9, 18, 3, 1, 1), func(g *op.Conv) { g.Groups = 18 }), // depthwise
	with(conv(1, 16, 6, 5, 16, 3, 1, 0), func(g *op.Conv) { g.Groups = 16 }),
	with(conv(3, 5, 4, 6, 5, 5, 1, 6), func(g *op.Conv) { g.Groups, g.KernelW, g.PadW = 5, 2, 1 }),
	with(conv(2, 64, 4, 4, 32, 3, 1, 1), func(g *op.Conv) { g.Groups = 2 }),
}

// pass is one direction of a convolution with given operands.
type pass struct {
	name   string
	result func() result
	bind   func(e *Env, r result) []Phase
	want   []float64
	bound  []float64
}

// passes are all of a convolution. terms is the longest sum in each; as the
// kernels say, it is rounded at most terms+3 times.
func passes[T Element](d draw, g op.Conv) []pass {
	list := passesOf(chosen[T](), d, g)
	if winogradPays[T](Generic, g) {
		loosen(list)
	}
	return list
}

// algorithm is the passes of a way to compute convolutions of blocked images.
type algorithm[T Element] struct {
	forward func(e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase
	data    func(e *Env, g op.Conv, dx, dy []T, w []float32) []Phase
	weights func(e *Env, g op.Conv, dw []float32, x, dy []T) []Phase
}

// chosen is what a geometry's convolutions are computed by.
func chosen[T Element]() algorithm[T] {
	return algorithm[T]{ConvForward[T], ConvBackwardData[T], ConvBackwardWeights[T]}
}

// elements are the elements of a type nearest to values.
func elements[T Element](values []float32) []T {
	list := make([]T, len(values))
	for i, v := range values {
		list[i] = element[T](v)
	}
	return list
}

// as are values that are elements of a type.
func as[T Element](values []float32) []float32 {
	for i, v := range values {
		values[i] = value(element[T](v))
	}
	return values
}

// into binds what writes elements to r.
func into[T Element](e *Env, r result, bind func(y []T) []Phase) []Phase {
	if y, ok := any(r.data).([]T); ok {
		return bind(y)
	}
	y := elements[T](r.data)
	return append(bind(y), Widen(e, r.data, any(y).([]BF16))...)
}

// rounding is a bound and half the distance of neighbours of a type.
func rounding[T Element](want, bound []float64) []float64 {
	rounded := slices.Clone(bound)
	if _, exact := any(T(0)).(float32); !exact {
		for i, v := range want {
			rounded[i] += (math.Abs(v) + bound[i]) / (1 << 8)
		}
	}
	return rounded
}

func passesOf[T Element](a algorithm[T], d draw, g op.Conv) []pass {
	out, ws := g.OutShape(), g.Weight()
	x, w, dy := as[T](d.values(g.In.Len())), as[T](d.values(ws.Len())), as[T](d.values(out.Len()))
	bias, residual := d.values(g.Out), as[T](d.values(out.Len()))
	xb, dyb := elements[T](blocked(g.In, x)), elements[T](blocked(out, dy))
	taps := ws.H * ws.W

	sums := func(n, terms int, compute func(y, a, b []float64), a, b []float32) (want, bound []float64) {
		want, bound = make([]float64, n), make([]float64, n)
		compute(want, wide(a), wide(b))
		compute(bound, magnitudes(a), magnitudes(b))
		for i := range bound {
			bound[i] *= float64(terms+3) / (1 << 24)
		}
		return want, bound
	}
	forward, forwardBound := sums(out.Len(), ws.C*taps, func(y, a, b []float64) { reference.Conv(g, y, a, b, nil) }, x, w)
	data, dataBound := sums(g.In.Len(), g.Out*taps, func(y, a, b []float64) { reference.ConvBackwardData(g, y, a, b) }, dy, w)
	weights, weightsBound := sums(ws.Len(), out.Pixels(), func(y, a, b []float64) { reference.ConvBackwardWeights(g, y, a, b) }, x, dy)
	finished, finishedBound := make([]float64, out.Len()), make([]float64, out.Len())
	for i, v := range forward {
		b := bias[i/(out.H*out.W)%out.C]
		finished[i] = max(0, v+float64(b)+float64(residual[i]))
		finishedBound[i] = forwardBound[i] + 3.0/(1<<24)*(math.Abs(v)+2)
	}
	forwardBound, dataBound, finishedBound = rounding[T](forward, forwardBound), rounding[T](data, dataBound), rounding[T](finished, finishedBound)
	biasGradient, biasBound := make([]float64, out.C), make([]float64, out.C)
	reference.BiasGradient(out, biasGradient, wide(dy))
	reference.BiasGradient(out, biasBound, magnitudes(dy))
	for i := range biasBound {
		biasBound[i] *= 32.0 / (1 << 24)
	}

	to := func(s op.Shape, blocked bool) func() result { return func() result { return newResult(s, blocked) } }
	blockedResidual := blocked(out, residual)
	ep := Epilogue[T]{Bias: bias, Residual: elements[T](blockedResidual), ReLU: true}
	return []pass{
		{"forward", to(out, true), func(e *Env, r result) []Phase {
			return into(e, r, func(y []T) []Phase { return a.forward(e, g, y, xb, w, Epilogue[T]{}) })
		}, forward, forwardBound},
		{"forward of a planar image", to(out, true), func(e *Env, r result) []Phase {
			return into(e, r, func(y []T) []Phase { return ConvForwardPlanar(e, g, y, x, w, Epilogue[T]{}) })
		}, forward, forwardBound},
		{"forward with epilogue", to(out, true), func(e *Env, r result) []Phase {
			return into(e, r, func(y []T) []Phase { return a.forward(e, g, y, xb, w, ep) })
		}, finished, finishedBound},
		{"forward onto the residual", to(out, true), func(e *Env, r result) []Phase {
			copy(r.data, blockedResidual)
			return into(e, r, func(y []T) []Phase { return a.forward(e, g, y, xb, w, Epilogue[T]{bias, y, true}) })
		}, finished, finishedBound},
		{"backward data", to(g.In, true), func(e *Env, r result) []Phase {
			return into(e, r, func(dx []T) []Phase { return a.data(e, g, dx, dyb, w) })
		}, data, dataBound},
		{"backward weights", to(ws, false), func(e *Env, r result) []Phase { return a.weights(e, g, r.data, xb, dyb) }, weights, weightsBound},
		{"backward weights of a planar image", to(ws, false), func(e *Env, r result) []Phase { return ConvBackwardWeightsPlanar(e, g, r.data, x, dyb) }, weights, weightsBound},
		{"bias gradient", to(vec(g.Out), false), func(e *Env, r result) []Phase { return BiasGradient(e, out, r.data, dyb) }, biasGradient, biasBound},
	}
}

// checkAll runs passes with every instruction set.
func checkAll(t fatal, passes []pass, g op.Conv) {
	t.Helper()
	for _, p := range passes {
		for _, isa := range isas() {
			p.check(t, isa, fmt.Sprintf("%+v", g))
		}
	}
}

func magnitudes(x []float32) []float64 {
	y := wide(x)
	for i, v := range y {
		y[i] = math.Abs(v)
	}
	return y
}

// fatal is a testing.TB or a rapid.T.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check runs a pass with memory full of NaN.
func (p pass) check(t fatal, isa ISA, name string) {
	t.Helper()
	var first []float32
	for _, workers := range []int{1, 3} {
		e, r := NewEnv(isa, workers), p.result()
		phases := p.bind(e, r)
		for _, memory := range append(e.scratch, e.shared) {
			for i := range memory {
				memory[i] = float32(math.NaN())
			}
		}
		run(e, phases)
		got, zero := r.planar()
		if !zero {
			t.Fatalf("%s, %s, %v: lanes behind the last channel are not zero", name, p.name, isa)
		}
		if first == nil {
			first = got
		}
		if !slices.EqualFunc(got, first, sameBits) {
			t.Fatalf("%s, %s, %v: the result differs between 1 and %d workers", name, p.name, isa, workers)
		}
		for i, v := range got {
			if diff := math.Abs(float64(v) - p.want[i]); !(diff <= p.bound[i]) {
				t.Fatalf("%s, %s, %v: result[%d] = %v, want %v within %v", name, p.name, isa, i, v, p.want[i], p.bound[i])
			}
		}
	}
}

func TestConvolutionsAgreeWithTheReferenceForAnyNumberOfWorkers(t *testing.T) {
	for i, g := range oddConvs {
		checkAll(t, passes[float32](newDraw(uint64(i)), g), g)
		checkAll(t, passes[BF16](newDraw(uint64(i)), g), g)
	}
}

func TestConvolutionsAgreeWithTheReferenceOnRandomGeometries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := func(name string, most int) int { return rapid.IntRange(1, most).Draw(t, name) }
		g := op.Conv{
			In:      op.Shape{N: size("images", 3), C: size("channels", 35), H: size("height", 13), W: size("width", 13)},
			Out:     size("results", 35),
			KernelH: size("kernel height", 4), KernelW: size("kernel width", 4),
			StrideH: size("stride down", 3), StrideW: size("stride right", 3),
			PadH: size("padding down", 6) - 1, PadW: size("padding right", 6) - 1,
			DilationH: size("dilation down", 2), DilationW: size("dilation right", 2),
			Groups: 1,
		}
		switch size("grouped", 5) {
		case 4:
			g.Groups = size("groups", 3)
			g.In.C, g.Out = ceil(g.In.C, g.Groups)*g.Groups, ceil(g.Out, g.Groups)*g.Groups
		case 5:
			g.Groups, g.Out = g.In.C, g.In.C
		}
		if g.Validate() != nil {
			t.Skip("the kernel is larger than the image")
		}
		seed := rapid.Uint64().Draw(t, "seed")
		checkAll(t, passes[float32](newDraw(seed), g), g)
		checkAll(t, passes[BF16](newDraw(seed), g), g)
	})
}

func FuzzConvolution(f *testing.F) {
	f.Add(uint64(1), uint8(2), uint8(17), uint8(5), uint8(7), uint8(16), uint8(3), uint8(2), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, n, c, h, w, out, kernel, stride, pad, dilation uint8) {
		g := conv(int(n%4), int(c%70), int(h%20), int(w%20), int(out%70), int(kernel%5), int(stride%4), int(pad%8))
		g.DilationH = int(dilation % 3)
		g.DilationW = g.DilationH
		if g.Validate() != nil {
			t.Skip("no convolution")
		}
		checkAll(t, passes[float32](newDraw(seed), g), g)
		checkAll(t, passes[BF16](newDraw(seed), g), g)
	})
}

func TestLinearLayersAgreeWithTheReferenceForAnyNumberOfWorkers(t *testing.T) {
	for _, g := range []op.Linear{{N: 1, In: 1, Out: 1}, {N: 7, In: 33, Out: 3}, {N: 16, In: 500, Out: 17}} {
		d := newDraw(uint64(g.In))
		x, w, dy, b := d.values(g.N*g.In), d.values(g.Out*g.In), d.values(g.N*g.Out), d.values(g.Out)
		y, dx, dw, db := make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w)), make([]float64, len(b))
		reference.Linear(g, y, wide(x), wide(w), wide(b))
		reference.LinearBackwardData(g, dx, wide(dy), wide(w))
		reference.LinearBackwardWeights(g, dw, wide(x), wide(dy))
		reference.LinearBackwardBias(g, db, wide(dy))
		tr := trial{
			name: fmt.Sprintf("linear layer %+v", g),
			bind: func(e *Env) ([]Phase, []result) {
				r := []result{newResult(vec(len(y)), false), newResult(vec(len(dx)), false), newResult(vec(len(dw)), false), newResult(vec(len(db)), false)}
				phases := LinearForward(e, g, r[0].data, x, w, b)
				phases = append(phases, LinearBackwardData(e, g, r[1].data, dy, w)...)
				phases = append(phases, LinearBackwardWeights(e, g, r[2].data, x, dy)...)
				return append(phases, LinearBackwardBias(e, g, r[3].data, dy)...), r
			},
			want: [][]float64{y, dx, dw, db},
		}
		for _, isa := range isas() {
			tr.check(t, isa)
		}
	}
}

// A channel of the image that is not a number makes every channel of the
// results that see it not a number, and no lane behind the last; see PyTorch's.
func TestConvolutionsPassNaNAndInfinityOn(t *testing.T) {
	g := conv(1, 3, 5, 5, 5, 3, 1, 1)
	d := newDraw(1)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		x, w := d.values(g.In.Len()), d.positives(g.Weight().Len(), 0.5)
		x[12] = bad // the middle of the first channel, which all but the outermost pixels see
		for _, isa := range isas() {
			r := newResult(g.OutShape(), true)
			e := NewEnv(isa, 1)
			run(e, ConvForward(e, g, r.data, blocked(g.In, x), w, Epilogue[float32]{ReLU: true}))
			y, zero := r.planar()
			if !zero {
				t.Errorf("%v: lanes behind the last channel are not zero", isa)
			}
			for i, v := range y {
				row, col := i/5%5, i%5
				inside := row > 0 && row < 4 && col > 0 && col < 4
				if same := v == bad || v != v && bad != bad; same != inside {
					t.Errorf("%v, pixel (%d, %d) of a convolution of %v: %v", isa, row, col, bad, v)
				}
			}
		}
	}
}

func TestRunningAConvolutionAllocatesNothing(t *testing.T) {
	for _, g := range []op.Conv{
		conv(2, 17, 6, 7, 33, 3, 1, 1), conv(1, 6, 5, 5, 4, 3, 2, 1), conv(2, 32, 4, 4, 16, 1, 1, 0),
		conv(2, 33, 8, 9, 40, 3, 1, 1), // Winograd's
		with(conv(2, 18, 7, 9, 18, 3, 1, 1), func(g *op.Conv) { g.Groups = 18 }),
	} {
		for _, p := range slices.Concat(passes[float32](newDraw(1), g), passes[BF16](newDraw(1), g)) {
			e := NewEnv(Detect(), 1)
			phases := p.bind(e, p.result())
			allocs := testing.AllocsPerRun(3, func() {
				for _, p := range phases {
					for task := range p.Tasks {
						p.Run(task, 0)
					}
				}
			})
			if allocs != 0 {
				t.Errorf("%+v, %s: %v allocations a run", g, p.name, allocs)
			}
		}
	}
}

// Kernels for several channel blocks at a time run where instruction sets have
// the registers; what leads up to them runs everywhere.
func TestProductsOfSeveralChannelBlocksAreThoseOfEach(t *testing.T) {
	several := func(n int) span {
		return span{n, func(t *tiles) {
			u := *t
			for i := range n {
				if i > 0 {
					u.advance(1)
				}
				tilesGeneric(&u)
			}
		}}
	}
	const steps, blocks = 3, 7
	d := newDraw(1)
	x, w, add, bias := d.values(40), d.values(blocks*steps*Block), d.values(blocks*tileRows*Block), d.values(blocks*Block)
	product := func(spans ...span) []float32 {
		m := multiplier{depth: steps, spans: spans}
		y := make([]float32, len(add))
		m.run(&tiles{
			x: x, w: w, y: y, add: add, bias: bias,
			rows: []int32{0, 5, 10, 15, 20, 25}, outs: []int32{0, 80, 16, 64, 32, 48}, steps: []int32{0, 7, 3},
			wBlock: steps * Block, yBlock: tileRows * Block,
		}, blocks)
		return y
	}
	if want, got := product(span{1, tilesGeneric}), product(several(4), several(2), several(1)); !slices.Equal(got, want) {
		t.Errorf("7 blocks as 4, 2 and 1: %v, want %v", got, want)
	}
}

// Vector and matrix registers live only within calls of assembly, which are never
// preempted: other goroutines and the collector change no bit.
func TestConvolutionsGiveTheSameBitsWhileTheCollectorRuns(t *testing.T) {
	g := conv(2, 40, 12, 12, 70, 3, 1, 1)
	d := newDraw(1)
	x, w := d.values(BlockedLen(g.In)), d.values(g.Weight().Len())
	once := func() []BF16 {
		y, e := make([]BF16, BlockedLen(g.OutShape())), NewEnv(Detect(), 1)
		run(e, directForward(e, g, y, elements[BF16](x), w, Epilogue[BF16]{}))
		return y
	}
	want := once()
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	var stop atomic.Bool
	var others, collector sync.WaitGroup
	collector.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	for range 8 {
		others.Go(func() {
			for range 20 {
				if !slices.Equal(once(), want) {
					t.Error("a result differs")
				}
			}
		})
	}
	others.Wait()
	stop.Store(true)
	collector.Wait()
}
