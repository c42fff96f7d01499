package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

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
