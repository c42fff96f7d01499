//go:build gpu

package kernels

import (
	"math"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
)

// trained is parameters on the mock with what the reference makes of them.
type trained struct {
	*gpu
	table                 Table
	parameters            []Parameter
	weight, first, second [][]float64
}

// newTrained makes parameters of odd and of large sizes, with gradients of both types.
func newTrained(t *testing.T, moments int) *trained {
	m := &trained{gpu: open(t)}
	for i, n := range []int{3, 8, 31, 1000, chunk + 9} {
		p := Parameter{Len: n, GradType: Type(i % 2)}
		w := m.uniform(n, F32, -1, 1)
		p.Weight, p.Grad = m.planar(w), m.bytes(n*p.GradType.Size())
		if moments > 0 {
			p.First = m.planar(make([]float64, n))
		}
		if moments > 1 {
			p.Second = m.planar(make([]float64, n))
		}
		if i > 1 {
			p.Copy = m.bytes(n * BF16.Size())
		}
		m.table.Add(p)
		m.parameters = append(m.parameters, p)
		m.weight, m.first, m.second = append(m.weight, w), append(m.first, make([]float64, n)), append(m.second, make([]float64, n))
	}
	return m
}

// step brings new gradients, moves the parameters by launches and by the reference, and
// compares.
func (m *trained) step(state StepState, launches func(table Pointer, chunks int, state Pointer) []Launch, reference func(weight, grad, first, second []float64)) {
	m.t.Helper()
	for i, p := range m.parameters {
		grad := m.uniform(p.Len, p.GradType, -1, 1)
		m.must(m.stream.Copy(p.Grad, m.numbers(p.GradType, grad...), int64(p.Len*p.GradType.Size())))
		reference(m.weight[i], grad, m.first[i], m.second[i])
	}
	m.run(launches(m.upload(m.table.Bytes()), m.table.Chunks(), m.upload(state.Bytes())))
	for i, p := range m.parameters {
		m.within("weight", m.readNumbers(p.Weight, F32, p.Len), m.weight[i], 2e-6*largest(m.weight[i]))
		if p.First != 0 {
			m.within("first moment", m.readNumbers(p.First, F32, p.Len), m.first[i], 2e-6*largest(m.first[i]))
		}
		if p.Second != 0 {
			m.within("second moment", m.readNumbers(p.Second, F32, p.Len), m.second[i], 2e-6*largest(m.second[i]))
		}
		if p.Copy != 0 {
			m.within("copy", m.readNumbers(p.Copy, BF16, p.Len), m.weight[i], 1./256*largest(m.weight[i]))
		}
	}
}

func TestSGDIsTheReferences(t *testing.T) {
	for name, h := range map[string]SGD{
		"plain":    {},
		"decay":    {WeightDecay: 0.1},
		"momentum": {Momentum: 0.9, WeightDecay: 0.01},
		"nesterov": {Momentum: 0.9, WeightDecay: 0.01, Nesterov: true},
	} {
		t.Run(name, func(t *testing.T) {
			moments := 0
			if h.Momentum != 0 {
				moments = 1
			}
			m := newTrained(t, moments)
			for i := range 3 {
				rate := 0.1 / float64(i+1)
				m.step(h.State(float32(rate), i == 0),
					func(table Pointer, chunks int, state Pointer) []Launch { return SGDStep(h, table, chunks, state, 0) },
					func(weight, grad, first, _ []float64) {
						reference.SGD(weight, grad, first, rate, float64(h.Momentum), float64(h.WeightDecay), h.Nesterov)
					})
			}
		})
	}
}

func TestAdamIsTheReferences(t *testing.T) {
	for name, decoupled := range map[string]bool{"Adam": false, "AdamW": true} {
		t.Run(name, func(t *testing.T) {
			h := Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Decoupled: decoupled}
			m := newTrained(t, 2)
			for i := range 3 {
				const rate = 0.01
				m.step(h.State(rate, i+1),
					func(table Pointer, chunks int, state Pointer) []Launch { return AdamStep(h, table, chunks, state, 0) },
					func(weight, grad, first, second []float64) {
						reference.Adam(weight, grad, first, second, i+1, rate, h.Beta1, h.Beta2, h.Eps, h.WeightDecay, decoupled)
					})
			}
		})
	}
}

func TestAStepWhoseLossIsNotFiniteChangesNothing(t *testing.T) {
	sgd, adam := SGD{Momentum: 0.9}, Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Decoupled: true}
	for loss, finite := range map[float64]bool{math.NaN(): false, math.Inf(1): false, math.Inf(-1): false, 1e38: true} {
		m := newTrained(t, 2)
		for _, p := range m.parameters {
			m.must(m.stream.Fill(p.Grad, 0x3f, int64(p.Len*p.GradType.Size()))) // about 0.75
		}
		table, chunks, at := m.upload(m.table.Bytes()), m.table.Chunks(), m.planar([]float64{loss})
		for name, launches := range map[string][]Launch{
			"SGD":  SGDStep(sgd, table, chunks, m.upload(sgd.State(0.1, true).Bytes()), at),
			"Adam": AdamStep(adam, table, chunks, m.upload(adam.State(0.1, 1).Bytes()), at),
		} {
			before := m.everything()
			m.run(launches)
			if changed := !slices.Equal(m.everything(), before); changed != finite {
				t.Errorf("%s, loss %v: changed %v, want %v", name, loss, changed, finite)
			}
		}
	}
}

// everything is the weights and moments one after another.
func (m *trained) everything() []float64 {
	var x []float64
	for _, p := range m.parameters {
		for _, at := range []Pointer{p.Weight, p.First, p.Second} {
			x = append(x, m.readNumbers(at, F32, p.Len)...)
		}
	}
	return x
}
