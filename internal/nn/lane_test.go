package nn

import (
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

// laneGraph is a small finished network whose constants are folded.
func laneGraph(params *Params) *Graph {
	g := NewGraph(Eval, params)
	x := g.Input("image", op.Shape{N: 3, C: 3, H: 8, W: 8})
	x = g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1})))
	g.Output("map", g.Sigmoid(g.Conv("probe", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true})))
	return g
}

// fillLane makes an input that no other number gives.
func fillLane(x []float32, number int) {
	for i := range x {
		x[i] = float32((i*7+number*13)%31)/31 - 0.5
	}
}

// testLanes runs batches on lanes side by side and compares with a program on the CPU.
func testLanes(t *testing.T, options Options, check func(t *testing.T, found, want []float32)) {
	params := NewParams(1)
	alone, err := Compile(laneGraph(params), Options{Device: "cpu", Precision: f32Precision})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 12
	want := make([][]float32, batches)
	for i := range want {
		fillLane(alone.Input("image"), i)
		if err := alone.Run(); err != nil {
			t.Fatal(err)
		}
		want[i] = append(want[i], alone.Output("map")...)
	}
	lanes, err := NewLanes(3, options, func() (*Graph, error) {
		g := laneGraph(params)
		return g, g.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if lanes[0].Input("other") != nil || lanes[0].Output("other") != nil {
		t.Error("found a buffer that the network does not have")
	}
	found := make([][]float32, batches)
	var group sync.WaitGroup
	for k, lane := range lanes {
		group.Go(func() {
			for i := k; i < batches; i += len(lanes) {
				fillLane(lane.Input("image"), i)
				if err := lane.Run(); err != nil {
					t.Error(err)
					return
				}
				found[i] = append(found[i], lane.Output("map")...)
			}
		})
	}
	group.Wait()
	for i := range want {
		check(t, found[i], want[i])
	}
}

func TestLanesSideBySideGiveWhatAProgramGives(t *testing.T) {
	testLanes(t, Options{Device: "cpu", Precision: f32Precision, Workers: 3, Constant: true}, func(t *testing.T, found, want []float32) {
		compare(t, "map", found, want)
	})
}

func TestLanesOfAGPUGiveWhatTheCPUGives(t *testing.T) {
	for precision, bound := range map[string]float64{f32Precision: 1e-5, bf16Precision: 0.01} {
		t.Run(precision, func(t *testing.T) {
			onGPU(t, precision)
			testLanes(t, Options{Device: "cuda", Precision: precision, Workers: 2, Constant: true}, func(t *testing.T, found, want []float32) {
				if d := distance(found, want, 0); !(d <= bound) {
					t.Errorf("the map is %.2g of its norm away, want at most %g", d, bound)
				}
			})
		})
	}
}

func TestLanesFollowTheParameters(t *testing.T) {
	for _, device := range []string{"cpu", "cuda"} {
		t.Run(device, func(t *testing.T) {
			if device == "cuda" {
				onGPU(t, f32Precision)
			}
			params := NewParams(1)
			lanes, err := NewLanes(2, Options{Device: device, Precision: f32Precision}, func() (*Graph, error) {
				g := NewGraph(Eval, params)
				g.Output("y", g.Conv("conv", g.Input("x", op.Shape{N: 1, C: 1, H: 1, W: 1}), Conv{Out: 1, Kernel: 1}))
				return g, g.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range []float32{2, -1} {
				params.Get("conv.weight").Data[0] = w
				for _, lane := range lanes {
					lane.Input("x")[0] = 3
					if err := lane.Run(); err != nil {
						t.Fatal(err)
					}
					if y := lane.Output("y")[0]; y != 3*w {
						t.Errorf("weight %v: found %v, want %v", w, y, 3*w)
					}
				}
			}
		})
	}
}

func TestLanesSuitTheirMachine(t *testing.T) {
	n, common, err := Options{Device: "cpu", Workers: 3}.Lanes()
	if n != 3 || common || err != nil {
		t.Errorf("on the CPU: found %d lanes, cores in common: %v, %v; want one lane for each of 3 cores", n, common, err)
	}
	if _, _, err := (Options{Device: "abacus"}).Lanes(); err == nil {
		t.Error("found lanes of an abacus")
	}
	onGPU(t, f32Precision)
	n, common, err = Options{Device: "cuda", Workers: 3}.Lanes()
	if n != gpuLanes || !common || err != nil {
		t.Errorf("on a GPU: found %d lanes, cores in common: %v, %v; want %d and all cores", n, common, err, gpuLanes)
	}
}
