//go:build gpu

package cudnn

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Identities of the tensors of a convolution, in the order of [Plan.Run]'s.
const (
	idX int64 = 1 + iota
	idW
	idY
)

// graph is a convolution as the library knows it: an operation, alone in its graph, and
// the engines' configurations that compute it, the best first.
type graph struct {
	builder
	configs []config
}

// config is an engine with its knobs.
type config struct {
	descriptor descriptor
	name       string
	tier       tier
}

// tier says how willingly a configuration is taken.
type tier int

const (
	wanted    tier = iota
	compiled       // its kernels are compiled when a plan is made
	unwanted       // results that differ from run to run, or more rounding than need be
	forbidden      // less precise than was asked for
)

// newGraph makes the graph of a convolution and asks for its configurations.
func newGraph(b builder, handle unsafe.Pointer, c Convolution) (*graph, error) {
	g := &graph{builder: b}
	root := g.create(graphKind)
	operation := g.operation(c)
	set(&g.builder, root, graphHandle, handle)
	set(&g.builder, root, graphOperations, operation)
	g.finalize(root, "graph")
	if g.err != nil {
		g.close()
		return nil, g.err
	}
	var missed error
	for _, h := range []heuristic{heuristicA, heuristicB, heuristicFallback} {
		if err := g.ask(root, h, c); err != nil {
			missed = fmt.Errorf("heuristic %d: %w", h, err)
		}
	}
	if len(g.configs) == 0 {
		g.close()
		return nil, unsupported(missed)
	}
	slices.SortStableFunc(g.configs, func(a, b config) int { return int(a.tier - b.tier) })
	return g, nil
}

// unsupported is ErrUnsupported, with the last reason that the library gave, if any.
func unsupported(cause error) error {
	if cause == nil {
		return ErrUnsupported
	}
	return fmt.Errorf("%w: %w", ErrUnsupported, cause)
}

// operation makes the operation of a convolution.
func (g *graph) operation(c Convolution) descriptor {
	geometry := g.geometry(c.Geometry)
	weights := c.Type
	if c.Direction == BackwardWeights {
		weights = c.WeightGradient
	}
	x := g.tensor(idX, c.Geometry.In, c.Type)
	w := g.tensor(idW, c.Geometry.Weight(), weights)
	y := g.tensor(idY, c.Geometry.OutShape(), c.Type)
	b, names := &g.builder, operations[c.Direction]
	o := g.create(names.kind)
	set(b, o, names.convolution, geometry)
	set(b, o, names.x, x)
	set(b, o, names.w, w)
	set(b, o, names.y, y)
	set[float32](b, o, names.alpha, 1)
	set[float32](b, o, names.beta, 0)
	g.finalize(o, c.Direction.String()+" operation")
	return o
}

// geometry describes the window. Its padding behind the image is that before it; what
// the stride leaves over is left out, as in [op.Conv].
func (g *graph) geometry(c op.Conv) descriptor {
	b, d := &g.builder, g.create(convolutionKind)
	set(b, d, convolutionComputeType, float32Data)
	set(b, d, convolutionMode, crossCorrelation)
	set[int64](b, d, convolutionDimensions, 2)
	set(b, d, convolutionDilations, int64(c.DilationH), int64(c.DilationW))
	set(b, d, convolutionStrides, int64(c.StrideH), int64(c.StrideW))
	set(b, d, convolutionPrePadding, int64(c.PadH), int64(c.PadW))
	set(b, d, convolutionPostPadding, int64(c.PadH), int64(c.PadW))
	g.finalize(d, "convolution")
	return d
}

// tensor describes one with its channels last; the library names dimensions in the
// order of [op.Shape] whatever their order in memory.
func (g *graph) tensor(id int64, s op.Shape, t kernels.Type) descriptor {
	data := float32Data
	if t == kernels.BF16 {
		data = bfloat16Data
	}
	n, c, h, w := int64(s.N), int64(s.C), int64(s.H), int64(s.W)
	b, d := &g.builder, g.create(tensorKind)
	set(b, d, tensorType, data)
	set(b, d, tensorDimensions, n, c, h, w)
	set(b, d, tensorStrides, h*w*c, 1, w*c, c)
	set(b, d, tensorID, id)
	set[int64](b, d, tensorAlignment, 16)
	g.finalize(d, "tensor")
	return d
}

// ask adds the configurations that a heuristic proposes and that are not there yet.
func (g *graph) ask(root descriptor, h heuristic, c Convolution) error {
	b := builder{api: g.api}
	defer b.close()
	return g.take(&b, question(&b, root, h), c)
}

// question is what a heuristic proposes for a graph; it is not finalized yet.
func question(b *builder, root descriptor, h heuristic) descriptor {
	d := b.create(heuristicsKind)
	set(b, d, heuristicsGraph, root)
	set(b, d, heuristicsMode, h)
	return d
}

// take adds the configurations that answer a question and that are not there yet.
func (g *graph) take(b *builder, question descriptor, c Convolution) error {
	b.finalize(question, "heuristics")
	count := get[descriptor](b, question, heuristicsResults, descriptorType, nil)
	if b.err != nil || count == 0 {
		return b.err
	}
	results := make([]descriptor, count)
	for i := range results {
		results[i] = g.create(configKind)
	}
	if g.err != nil {
		return g.err
	}
	count = get(b, question, heuristicsResults, descriptorType, results)
	if b.err != nil {
		return b.err
	}
	for _, result := range results[:min(count, len(results))] {
		found, err := describe(builder{api: g.api}, result, c)
		if err != nil {
			return err
		}
		known := slices.ContainsFunc(g.configs, func(k config) bool { return k.name == found.name })
		if !known && found.tier != forbidden {
			g.configs = append(g.configs, found)
		}
	}
	return nil
}

// maxKnobs is more than any engine has.
const maxKnobs = 64

// describe reads what a configuration is.
func describe(b builder, d descriptor, c Convolution) (config, error) {
	defer b.close()
	engine := []descriptor{b.create(engineKind)}
	get(&b, d, configEngine, descriptorType, engine)
	index := make([]int64, 1)
	get(&b, engine[0], engineIndex, int64Type, index)
	numerical := notes(&b, engine[0], engineNumericalNotes, numericalNotesType)
	behavior := notes(&b, engine[0], engineBehaviorNotes, behaviorNotesType)

	knobs := make([]descriptor, maxKnobs)
	for i := range knobs {
		knobs[i] = b.create(knobKind)
	}
	knobs = knobs[:min(get(&b, d, configKnobs, descriptorType, knobs), maxKnobs)]
	choices := make([]string, len(knobs))
	for i, knob := range knobs {
		which, value := make([]int32, 1), make([]int64, 1)
		get(&b, knob, knobType, knobTypeType, which)
		get(&b, knob, knobValue, int64Type, value)
		choices[i] = fmt.Sprintf(" %d=%d", which[0], value[0])
	}
	slices.Sort(choices)
	name := fmt.Sprintf("engine %d%s", index[0], strings.Join(choices, ""))
	return config{descriptor: d, name: name, tier: judge(c, numerical, behavior)}, b.err
}

// judge says how willingly an engine is taken, by the library's notes of it.
func judge(c Convolution, numerical, behavior uint32) tier {
	const imprecise = downConvertNote | reducedPrecisionNote | winogradNote
	switch {
	case c.Type == kernels.F32 && numerical&imprecise != 0,
		c.Type == kernels.F32 && !c.TF32 && numerical&tensorCoreNote != 0:
		return forbidden
	case numerical&(imprecise|nondeterministicNote) != 0:
		return unwanted
	case behavior&compilationNote != 0:
		return compiled
	}
	return wanted
}
