package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
	"pgregory.net/rapid"
)

// winogradError is the largest error that is allowed, as a share of a result's
// largest value.
const winogradError = 5e-5

func winogradOf[T Element]() algorithm[T] {
	return algorithm[T]{winogradForward[T], winogradBackwardData[T], winogradBackwardWeights[T]}
}

// directOf computes every geometry of one group as it is defined.
func directOf[T Element]() algorithm[T] {
	return algorithm[T]{directForward[T], directBackwardData[T], directBackwardWeights[T]}
}

// winogradPasses are those of a 3x3 convolution of stride 1, with Winograd's bound.
func winogradPasses[T Element](d draw, g op.Conv) []pass {
	list := slices.DeleteFunc(passesOf(winogradOf[T](), d, g), func(p pass) bool {
		return strings.HasSuffix(p.name, "planar image") || p.name == "bias gradient"
	})
	loosen(list)
	return list
}

// loosen sets Winograd's bound.
func loosen(list []pass) {
	for _, p := range list {
		most := 0.0
		for _, v := range p.want {
			most = max(most, math.Abs(v))
		}
		for i := range p.bound {
			p.bound[i] = max(p.bound[i], winogradError*most)
		}
	}
}

// TestWinogradTransformsAgreeWithTheirMatrices holds an instruction set's transforms
// against the Go reference, on arrays with strides of their own.
func TestWinogradTransformsAgreeWithTheirMatrices(t *testing.T) {
	want := generic.winograd
	for _, isa := range isas() {
		got := vectors(isa).winograd
		for name, pair := range map[string][2]transform{
			"image": {want.image, got.image}, "result": {want.result, got.result}, "gradient": {want.gradient, got.gradient},
			"filter": {want.filter, got.filter}, "filter gradient": {want.filterGradient, got.filterGradient},
		} {
			src := newDraw(1).values(6 * 7 * Block)
			a, b := make([]float32, 6*8*Block), make([]float32, 6*8*Block)
			pair[0](a, src, 8*Block, Block, 7*Block, Block)
			pair[1](b, src, 8*Block, Block, 7*Block, Block)
			for i := range a {
				if math.Abs(float64(a[i]-b[i])) > 2e-5 { // the factors of a sum add up to at most 400
					t.Errorf("%s, %v: value %d is %v, want %v", name, isa, i, b[i], a[i])
					break
				}
			}
		}
	}
}

// TestWinogradErrorsStayBelowTheirBound looks at many channels, where errors add up.
func TestWinogradErrorsStayBelowTheirBound(t *testing.T) {
	g := conv(1, 512, 8, 8, 32, 3, 1, 1)
	for _, p := range winogradPasses[float32](newDraw(3), g) {
		p.check(t, Detect(), fmt.Sprintf("%+v", g))
	}
}

var winogradConvs = []op.Conv{
	conv(1, 1, 3, 3, 1, 3, 1, 0), // one result
	conv(1, 3, 4, 4, 5, 3, 1, 1),
	conv(2, 16, 8, 12, 16, 3, 1, 1),
	conv(1, 17, 7, 5, 33, 3, 1, 1),
	conv(3, 20, 6, 9, 18, 3, 1, 2),
	conv(9, 33, 10, 10, 40, 3, 1, 1), // several groups
	conv(1, 330, 5, 5, 16, 3, 1, 1),  // more channels than go through at a time
}

func TestWinogradConvolutionsAgreeWithTheReferenceForAnyNumberOfWorkers(t *testing.T) {
	for i, g := range winogradConvs {
		checkAll(t, winogradPasses[float32](newDraw(uint64(i)), g), g)
		checkAll(t, winogradPasses[BF16](newDraw(uint64(i)), g), g)
	}
}

func TestWinogradConvolutionsAgreeWithTheReferenceOnRandomGeometries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := func(name string, most int) int { return rapid.IntRange(1, most).Draw(t, name) }
		g := conv(size("images", 3), size("channels", 40), size("height", 13)+2, size("width", 13)+2, size("results", 40), 3, 1, 0)
		g.PadH, g.PadW = size("padding down", 3)-1, size("padding right", 3)-1
		seed := rapid.Uint64().Draw(t, "seed")
		checkAll(t, winogradPasses[float32](newDraw(seed), g), g)
		checkAll(t, winogradPasses[BF16](newDraw(seed), g), g)
	})
}

// TestWinogradsErrorsAreAtMostFourTimesThoseOfDirectSums keeps what makes the
// gradients of deep networks as near to exact as PyTorch's: short sums of products.
func TestWinogradsErrorsAreAtMostFourTimesThoseOfDirectSums(t *testing.T) {
	for _, channels := range []int{64, 512} {
		ours, others := errorOf(winogradForward[float32], channels), errorOf(directForward[float32], channels)
		if ours > 4*others {
			t.Errorf("%d channels: %.2g of the result, direct sums %.2g", channels, ours, others)
		}
	}
}

// BenchmarkErrors reports the errors of Winograd's convolutions and of direct ones, in
// units of 1e-7 of the result.
func BenchmarkErrors(b *testing.B) {
	for _, channels := range []int{64, 128, 256, 512} {
		b.Run(fmt.Sprint(channels), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(1e7*errorOf(winogradForward[float32], channels), "winograd")
				b.ReportMetric(1e7*errorOf(directForward[float32], channels), "direct")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// errorOf is the root mean square of the errors of a 3x3 convolution of so many
// channels, as a share of the result's.
func errorOf(forward func(e *Env, g op.Conv, y, x []float32, w []float32, ep Epilogue[float32]) []Phase, channels int) float64 {
	g, d := conv(1, channels, 16, 16, 32, 3, 1, 1), newDraw(1)
	x, w := d.values(g.In.Len()), d.values(g.Weight().Len())
	want := make([]float64, g.OutShape().Len())
	reference.Conv(g, want, wide(x), wide(w), nil)

	e, y := NewEnv(Detect(), 1), newResult(g.OutShape(), true)
	run(e, forward(e, g, y.data, blocked(g.In, x), w, Epilogue[float32]{}))
	got, _ := y.planar()
	var difference, norm float64
	for i, v := range got {
		difference += (float64(v) - want[i]) * (float64(v) - want[i])
		norm += want[i] * want[i]
	}
	return math.Sqrt(difference / norm)
}
