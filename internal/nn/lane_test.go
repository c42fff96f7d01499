package nn

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// laneGraph is a small finished network whose constants are folded.
func laneGraph(params *Params, input func(*Graph, string, op.Shape) Node) *Graph {
	g := NewGraph(Eval, params)
	x := input(g, "image", op.Shape{N: 3, C: 3, H: 8, W: 8})
	x = g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Pad: 1})))
	g.Output("map", g.Sigmoid(g.Conv("probe", x, Conv{Out: 1, Kernel: 3, Pad: 1, Bias: true})))
	return g
}

// laneView is a square of bytes that no other number gives.
func laneView(number int) raster.SeenImage {
	m := raster.NewImage(8, 8)
	for i := range m.Pix {
		m.Pix[i] = uint8(i*7 + number*13)
	}
	return raster.SeenImage{Image: raster.Squash.Prepare(m, 8), Side: 8}
}

// runLane runs a batch of three views, some of which are missing.
func runLane(lane Lane, number int, mirrored bool) ([]float32, error) {
	b := lane.Begin()
	for i := range 1 + number%3 {
		if err := b.Show("image", i, laneView(number+i)); err != nil {
			return nil, err
		}
	}
	if mirrored {
		lane.Mirror("image")
	}
	err := lane.Run()
	return slices.Clone(lane.Output("map")[:(1+number%3)*64]), err
}

// testLanes runs batches on lanes side by side and compares with a program on the CPU.
func testLanes(t *testing.T, options Options, input func(*Graph, string, op.Shape) Node, bound float64) {
	params := NewParams(1)
	alone, err := Compile(laneGraph(params, (*Graph).Input), Options{Device: "cpu", Precision: f32Precision})
	if err != nil {
		t.Fatal(err)
	}
	lanes, err := NewLanes(3, options, func() (*Graph, error) {
		g := laneGraph(params, input)
		return g, g.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if lanes[0].Output("other") != nil {
		t.Error("found an output that the network does not have")
	}
	const batches = 12
	var want, found [batches][]float32
	for i := range want {
		if want[i], err = runLane(newHostLane(alone), i, i%2 == 1); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for k, lane := range lanes {
		group.Go(func() {
			for i := k; i < batches; i += len(lanes) {
				var err error
				if found[i], err = runLane(lane, i, i%2 == 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i := range want {
		if d := distance(found[i], want[i], 0); !(d <= bound) {
			t.Errorf("batch %d: the map is %.2g of its norm away, want at most %g", i, d, bound)
		}
	}
}

func TestLanesSideBySideGiveWhatAProgramGives(t *testing.T) {
	testLanes(t, Options{Device: "cpu", Precision: f32Precision, Workers: 3, Constant: true}, (*Graph).Image, 1e-6)
}

func TestLanesOfAGPUGiveWhatTheCPUGives(t *testing.T) {
	for precision, bound := range map[string]float64{f32Precision: 1e-5, bf16Precision: 0.01} {
		for name, input := range map[string]func(*Graph, string, op.Shape) Node{"views": (*Graph).Image, "numbers": (*Graph).Input} {
			t.Run(precision+", "+name, func(t *testing.T) {
				onGPU(t, precision)
				testLanes(t, Options{Device: "cuda", Precision: precision, Workers: 2, Constant: true}, input, bound)
			})
		}
	}
}

func TestALaneOfAGPUGivesAValueUnderEachOfItsNames(t *testing.T) {
	onGPU(t, f32Precision)
	lanes, err := NewLanes(1, Options{Device: "cuda", Precision: f32Precision}, func() (*Graph, error) {
		g := NewGraph(Eval, NewParams(1))
		x := g.Input("x", op.Shape{N: 1, C: 1, H: 1, W: 2})
		g.Output("first", x)
		g.Output("second", x)
		return g, g.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{3, 4}
	copy(lanes[0].Begin().Batch["x"], want)
	if err := lanes[0].Run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		if got := lanes[0].Output(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestAnImageThatAGPUDrawsMayBeAnOutput(t *testing.T) {
	onGPU(t, f32Precision)
	want := make([]float32, 3*8*8)
	laneView(5).Draw(want)
	for precision, bound := range map[string]float64{f32Precision: 0.01, bf16Precision: 0.015} {
		lanes, err := NewLanes(1, Options{Device: "cuda", Precision: precision}, func() (*Graph, error) {
			g := NewGraph(Eval, NewParams(1))
			g.Output("seen", g.Image("image", op.Shape{N: 1, C: 3, H: 8, W: 8}))
			return g, g.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(lanes[0].Begin().Show("image", 0, laneView(5)), lanes[0].Run()); err != nil {
			t.Fatal(err)
		}
		if d := distance(lanes[0].Output("seen"), want, 0); !(d <= bound) {
			t.Errorf("%s: it is %.2g of its norm away, want at most %g", precision, d, bound)
		}
	}
}

func TestAMirroredBatchIsDrawnLeftToRight(t *testing.T) {
	p, err := Compile(laneGraph(NewParams(1), (*Graph).Input), Options{Device: "cpu", Precision: f32Precision})
	if err != nil {
		t.Fatal(err)
	}
	lane := newHostLane(p)
	if err := lane.Begin().Show("image", 1, laneView(5)); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(p.Input("image"))
	lane.Mirror("image")
	for i, v := range p.Input("image") {
		if want := before[i/8*8+7-i%8]; v != want {
			t.Fatalf("value %d is %v, want %v", i, v, want)
		}
	}
}

func TestALaneOfAGPUWithoutAnImageDoesNothing(t *testing.T) {
	onGPU(t, f32Precision)
	lanes, err := NewLanes(1, Options{Device: "cuda", Precision: f32Precision}, func() (*Graph, error) {
		g := laneGraph(NewParams(1), (*Graph).Image)
		return g, g.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	lanes[0].Begin()
	if err := lanes[0].Run(); err != nil {
		t.Error(err)
	}
}

// testFollowing runs lanes over parameters that change.
func testFollowing(t *testing.T, device string) {
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
			lane.Begin().Batch["x"][0] = 3
			if err := lane.Run(); err != nil {
				t.Fatal(err)
			}
			if y := lane.Output("y")[0]; y != 3*w {
				t.Errorf("weight %v: found %v, want %v", w, y, 3*w)
			}
		}
	}
}

func TestLanesFollowTheParameters(t *testing.T) { testFollowing(t, "cpu") }

func TestLanesOfAGPUFollowTheParameters(t *testing.T) {
	onGPU(t, f32Precision)
	testFollowing(t, "cuda")
}

func TestEveryCoreHasALane(t *testing.T) {
	n, common, err := Options{Device: "cpu", Workers: 3}.Lanes()
	if n != 3 || common || err != nil {
		t.Errorf("found %d lanes, cores in common: %v, %v; want one lane for each of 3 cores", n, common, err)
	}
	if _, _, err := (Options{Device: "abacus"}).Lanes(); err == nil {
		t.Error("found lanes of an abacus")
	}
}

func TestLanesOfAGPUHaveAllCoresInCommon(t *testing.T) {
	onGPU(t, f32Precision)
	n, common, err := Options{Device: "cuda", Workers: 3}.Lanes()
	if n != gpuLanes || !common || err != nil {
		t.Errorf("found %d lanes, cores in common: %v, %v; want %d and all cores", n, common, err, gpuLanes)
	}
}
