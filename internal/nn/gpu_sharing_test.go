package nn

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

func TestProgramsSideBySideOnAGPUShareParameters(t *testing.T) {
	target := onGPU(t, f32Precision)
	params := NewParams(1)
	build := func() *Graph {
		g := NewGraph(Eval, params)
		x := g.ReLU(g.BatchNorm("bn", g.Conv("conv", g.Input("image", op.Shape{N: 2, C: 3, H: 6, W: 6}), Conv{Out: 4, Kernel: 3, Pad: 1})))
		g.Output("y", g.Sigmoid(g.Conv("probe", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true})))
		return g
	}
	fill := func(p *Program, number int) {
		x := p.Input("image")
		for i := range x {
			x[i] = float32(math.Sin(float64(i + 31*number)))
		}
	}
	alone, err := Compile(build(), Options{Device: "cpu", Precision: f32Precision, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := make([][]float32, 24)
	for i := range want {
		fill(alone, i)
		if err := alone.Run(); err != nil {
			t.Fatal(err)
		}
		want[i] = slices.Clone(alone.Output("y"))
	}
	for _, constant := range []bool{false, true} {
		const side = 4
		got := make([][]float32, len(want))
		var group sync.WaitGroup
		for k := range side {
			p, err := compileFor(build(), Options{Workers: 1, Constant: constant}, target)
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				for i := k; i < len(want); i += side {
					fill(p, i)
					if err := p.Run(); err != nil {
						t.Error(err)
						return
					}
					got[i] = slices.Clone(p.Output("y"))
				}
			})
		}
		group.Wait()
		for i, w := range want {
			compare(t, "output", got[i], w)
		}
	}
}

func TestTrainingsSideBySideOnAGPUAreAsAlone(t *testing.T) {
	onGPU(t, f32Precision)
	o := Optimizer{Name: "adam", LR: 0.01}
	alone := guidedTrainer(t, "cuda", o)
	advance(t, alone, 6)
	trainers := make([]*Trainer, 3)
	var group sync.WaitGroup
	for i := range trainers {
		group.Go(func() {
			tr, err := NewTrainer(guidedNetwork(NewParams(3)), gpuTraining("cuda", o))
			if err != nil {
				t.Error(err)
				return
			}
			for _, err := range tr.Steps(context.Background(), constantSource) {
				if err != nil {
					t.Error(err)
				}
			}
			trainers[i] = tr
		})
	}
	group.Wait()
	for _, tr := range trainers {
		if tr != nil {
			sameParams(t, tr.Params(), alone.Params())
		}
	}
}
