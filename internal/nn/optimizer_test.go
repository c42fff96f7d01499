package nn

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// torchGolden is what testdata/gen.py wrote.
type torchGolden struct {
	Start      []float32
	Gradients  [][]float32
	Optimizers []struct {
		Optimizer Optimizer
		After     [][]float64
	}
	Schedules []struct {
		Schedule Schedule
		Factors  []float64
	}
}

func readTorchGolden(t *testing.T) torchGolden {
	t.Helper()
	b, err := os.ReadFile("testdata/torch.json")
	if err != nil {
		t.Fatal(err)
	}
	var g torchGolden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestOptimizersEqualTorch(t *testing.T) {
	golden := readTorchGolden(t)
	for i, c := range golden.Optimizers {
		t.Run(fmt.Sprintf("%d %s", i, c.Optimizer.Name), func(t *testing.T) {
			if err := c.Optimizer.Validate(); err != nil {
				t.Fatal(err)
			}
			x := &Param{Name: "x", Shape: []int{len(golden.Start)}, Data: slices.Clone(golden.Start), Trainable: true}
			grad := make([]float32, len(x.Data))
			list := &listing{params: []*value{{param: x}}, gradients: []*value{{data: grad}}}
			u := newUpdates(list, kernel.NewEnv(kernel.Detect(), 1), c.Optimizer)
			e := newExecutor(u.phases, 1)
			for step, want := range c.After {
				copy(grad, golden.Gradients[step])
				u.set(step+1, c.Optimizer.LR/float64(step+1))
				e.run()
				for j, w := range want {
					if d := math.Abs(float64(x.Data[j]) - w); !(d <= 1e-6*max(1, math.Abs(w))) {
						t.Fatalf("step %d: parameter %d = %v, want %v", step, j, x.Data[j], w)
					}
				}
			}
		})
	}
}

func TestSchedulesEqualTorch(t *testing.T) {
	for _, c := range readTorchGolden(t).Schedules {
		t.Run(fmt.Sprintf("%s with warm-up %v over %d steps", c.Schedule.Kind, c.Schedule.Warmup, len(c.Factors)), func(t *testing.T) {
			if err := c.Schedule.Validate(); err != nil {
				t.Fatal(err)
			}
			for step, want := range c.Factors {
				if got := c.Schedule.Factor(step, len(c.Factors)); !(math.Abs(got-want) <= 1e-6) {
					t.Errorf("factor of step %d = %v, want %v", step, got, want)
				}
			}
		})
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []Optimizer{
		{},
		{Name: "lion", LR: 1},
		{Name: "adam"},
		{Name: "adam", LR: math.NaN()},
		{Name: "adam", LR: 1, WeightDecay: -1},
		{Name: "sgd", LR: 1, Momentum: 1},
		{Name: "sgd", LR: 1, Nesterov: true},
		{Name: "adam", LR: 1, Beta1: 1},
		{Name: "adamw", LR: 1, Beta2: -0.1},
		{Name: "adamw", LR: 1, Eps: -1},
	} {
		if o.Validate() == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
	for _, s := range []Schedule{
		{Kind: "linear"},
		{Kind: "step", Gamma: 0.5},
		{Kind: "step", Every: 2},
		{Kind: "cosine", Warmup: 1},
		{Warmup: -0.1},
	} {
		if s.Validate() == nil {
			t.Errorf("%+v: accepted", s)
		}
	}
}
