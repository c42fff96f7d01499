package nn

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestValuesThatLiveAtTheSameTimeNeverShareMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &listing{outputs: map[string]*value{}}
		values := []*value{{shape: op.Shape{N: 1, C: 1, H: 1, W: 1}, home: homeInput}}
		for range rapid.IntRange(1, 40).Draw(t, "instructions") {
			ins := &instruction{}
			for range rapid.IntRange(1, 3).Draw(t, "operands") {
				ins.in = append(ins.in, rapid.SampledFrom(values).Draw(t, "operand"))
			}
			for range rapid.IntRange(1, 3).Draw(t, "results") {
				v := &value{shape: op.Shape{N: 1, C: rapid.IntRange(1, 100).Draw(t, "size"), H: 1, W: 1}}
				if whole := rapid.SampledFrom(values).Draw(t, "whole"); whole.home == homeArena && whole.len() >= v.len() && rapid.Bool().Draw(t, "part") {
					v.whole = whole
				}
				ins.out = append(ins.out, v)
				values = append(values, v)
			}
			l.instructions = append(l.instructions, ins)
		}
		l.outputs["y"] = rapid.SampledFrom(values).Draw(t, "output")
		regions, length := l.plan((*value).len, cacheLine)
		for i, a := range regions {
			if a.at < 0 || a.at%cacheLine != 0 || a.at+a.v.len() > length {
				t.Fatalf("region [%d, %d) of an arena of %d", a.at, a.at+a.v.len(), length)
			}
			for _, b := range regions[:i] {
				together := a.first <= b.last && b.first <= a.last
				if apart := a.at+a.v.len() <= b.at || b.at+b.v.len() <= a.at; together && !apart {
					t.Fatalf("values at [%d, %d) and [%d, %d) live at the same time", a.at, a.at+a.v.len(), b.at, b.at+b.v.len())
				}
			}
		}
		for i, ins := range l.instructions {
			for _, v := range append(slices.Clone(ins.in), ins.out...) {
				if v.home != homeArena {
					continue
				}
				r := regions[slices.IndexFunc(regions, func(r *region) bool { return r.v == v.root() })]
				if i < r.first || i > r.last {
					t.Fatalf("instruction %d uses a value that lives in [%d, %d]", i, r.first, r.last)
				}
			}
		}
	})
}

func TestInitialParametersDependOnNameAndSeedOnly(t *testing.T) {
	conv := Conv{Out: 6, Kernel: 3, Pad: 1}
	image := op.Shape{N: 1, C: 3, H: 4, W: 4}
	alone, among, other := NewParams(1), NewParams(1), NewParams(2)
	g := NewGraph(Eval, alone)
	g.Conv("b", g.Input("x", image), conv)
	g = NewGraph(Train, among)
	g.Linear("fc", g.GlobalAvgPool(g.Conv("b", g.Conv("a", g.Input("x", image), Conv{Out: 3, Kernel: 1}), conv)), 2)
	g = NewGraph(Eval, other)
	g.Conv("b", g.Input("x", image), conv)

	w := alone.Get("b.weight").Data
	if !slices.Equal(w, among.Get("b.weight").Data) {
		t.Error("b.weight depends on the layers around it")
	}
	if slices.Equal(w, other.Get("b.weight").Data) {
		t.Error("b.weight does not depend on the seed")
	}
	sum, squares := 0.0, 0.0
	for _, v := range w {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(w))
	if sd, want := math.Sqrt(squares/n), math.Sqrt(2.0/(6*9)); math.Abs(sd-want) > 0.2*want || math.Abs(sum/n) > 0.3*want {
		t.Errorf("b.weight has mean %v and spread %v, want 0 and %v", sum/n, sd, want)
	}
}

func TestConvolutionsBeginAsTheirInitSays(t *testing.T) {
	// 64 filters of 32 x 3 x 3: He's fan is 64*9 outputs, torch.nn.Conv2d's 32*9 inputs.
	for init, c := range map[Init]struct{ sd, most float64 }{
		HeNormal:     {math.Sqrt(2.0 / (64 * 9)), math.Inf(1)},
		FanInUniform: {1 / math.Sqrt(3*32*9), 1 / math.Sqrt(32*9)},
	} {
		params := NewParams(1)
		g := NewGraph(Eval, params)
		g.Output("y", g.Conv("conv", g.Input("x", op.Shape{N: 1, C: 32, H: 4, W: 4}), Conv{Out: 64, Kernel: 3, Init: init}))
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		var squares, most float64
		w := params.Tensors()[0].Data
		for _, v := range w {
			squares += float64(v) * float64(v)
			most = max(most, math.Abs(float64(v)))
		}
		if sd := math.Sqrt(squares / float64(len(w))); math.Abs(sd/c.sd-1) > 0.02 || most > c.most {
			t.Errorf("init %d: found sd %v and values up to %v, want %v and at most %v", init, sd, most, c.sd, c.most)
		}
	}
}

func TestEveryOperatorHasItsOwnHash(t *testing.T) {
	g := NewGraph(Train, NewParams(1))
	x := image(g, 4, 6, 6)
	for range 20 { // the same layer again and again
		x = g.Add(g.ReLU(x), g.ReLU(x))
	}
	lossOf(g, x)
	if _, err := Compile(g, Options{}); err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for _, n := range g.expr.AllNodes() {
		e, ok := n.Op().(*expression)
		if !ok {
			continue
		}
		if seen[e.Hashcode()] {
			t.Errorf("%v: its hash is taken", e)
		}
		seen[e.Hashcode()] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d operators, want those of 20 layers and their gradients", len(seen))
	}
}

func TestGraphsHoldNoTensorOperatorsOfGorgonia(t *testing.T) {
	for _, c := range conformanceCases() {
		g, _ := c.graph(t)
		if _, _, err := g.differentiate(); err != nil {
			t.Fatal(err)
		}
		for _, n := range g.expr.AllNodes() {
			if n.Op() == nil { // a leaf
				continue
			}
			if _, ours := n.Op().(*expression); !ours && !strings.HasPrefix(n.Op().String(), "+ ") {
				t.Errorf("%s: operator %v is gorgonia's", c.name, n.Op())
			}
		}
	}
}

func TestGraphsMayBeCompiledAtTheSameTime(t *testing.T) {
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 5 {
				if _, err := Compile(smallNetwork(Train, NewParams(uint64(i))), Options{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// batchNormGraph normalises a (4, 2, 3, 3) input.
func batchNormGraph(mode Mode, params *Params) *Graph {
	g := NewGraph(mode, params)
	g.Output("y", g.BatchNorm("bn", g.Input("x", op.Shape{N: 4, C: 2, H: 3, W: 3})))
	return g
}

func compile(t testing.TB, g *Graph, workers int) *Program {
	t.Helper()
	p, err := Compile(g, Options{Device: "cpu", Precision: "f32", Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBatchNormKeepsRunningStatistics(t *testing.T) {
	params := NewParams(1)
	train := compile(t, batchNormGraph(Train, params), 1)
	rng := rand.New(rand.NewPCG(1, 1))
	mean, variance := [2]float64{}, [2]float64{1, 1}
	for range 3 {
		x := train.Input("x")
		var sum, squares [2]float64
		for i := range x {
			c := i / 9 % 2
			x[i] = float32(c*3) + rng.Float32()
			sum[c] += float64(x[i])
			squares[c] += float64(x[i]) * float64(x[i])
		}
		if err := train.Run(); err != nil {
			t.Fatal(err)
		}
		for c := range mean {
			const n = 4 * 9
			m := sum[c] / n
			mean[c] = 0.9*mean[c] + 0.1*m
			variance[c] = 0.9*variance[c] + 0.1*(squares[c]-n*m*m)/(n-1)
		}
	}
	for c := range mean {
		if got := float64(params.Get("bn.running_mean").Data[c]); math.Abs(got-mean[c]) > 1e-5 {
			t.Errorf("running mean of channel %d = %v, want %v", c, got, mean[c])
		}
		if got := float64(params.Get("bn.running_var").Data[c]); math.Abs(got-variance[c]) > 1e-5 {
			t.Errorf("running variance of channel %d = %v, want %v", c, got, variance[c])
		}
	}

	eval := compile(t, batchNormGraph(Eval, params), 1)
	before := params.Clone()
	copy(eval.Input("x"), train.Input("x"))
	if err := eval.Run(); err != nil {
		t.Fatal(err)
	}
	sameParams(t, params, before)
	for i, y := range eval.Output("y") {
		c := i / 9 % 2
		if want := (float64(eval.Input("x")[i]) - mean[c]) / math.Sqrt(variance[c]+1e-5); math.Abs(float64(y)-want) > 1e-4 {
			t.Fatalf("y[%d] = %v, want %v", i, y, want)
		}
	}
}

func dropoutGraph(params *Params) *Graph {
	g := NewGraph(Train, params)
	x := g.Input("x", op.Shape{N: 8, C: 20, H: 16, W: 16})
	g.Output("a", g.Dropout(x, 0.3))
	g.Output("b", g.Dropout(x, 0.3))
	return g
}

func TestDropoutMasksAreTheirStepsAndSpread(t *testing.T) {
	p := compile(t, dropoutGraph(NewParams(1)), 2)
	x := p.Input("x")
	for i := range x {
		x[i] = 1
	}
	masks := map[string][]float32{}
	for _, c := range []struct {
		name string
		seed uint64
		step int
	}{{"first", 1, 0}, {"second", 1, 1}, {"other seed", 2, 0}, {"first again", 1, 0}} {
		p.SetStep(c.seed, c.step)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		masks[c.name] = slices.Clone(p.Output("a"))
		masks[c.name+", other layer"] = slices.Clone(p.Output("b"))
	}
	if !slices.Equal(masks["first"], masks["first again"]) {
		t.Error("the mask of a step differs from one run to the next")
	}
	n := float64(len(x))
	for name, mask := range masks {
		kept, both := 0.0, 0.0
		for i, v := range mask {
			if v == 0 {
				continue
			}
			if math.Abs(float64(v)-1/0.7) > 1e-6 {
				t.Fatalf("%s: value %v, want 0 or %v", name, v, 1/0.7)
			}
			kept++
			if masks["first"][i] != 0 {
				both++
			}
		}
		const sds = 5
		if sd := math.Sqrt(0.3 * 0.7 / n); math.Abs(kept/n-0.7) > sds*sd {
			t.Errorf("%s: keeps %v, want 0.7", name, kept/n)
		}
		if sd := math.Sqrt(0.49 * 0.51 / n); !strings.HasPrefix(name, "first") && math.Abs(both/n-0.49) > sds*sd {
			t.Errorf("%s: keeps %v together with the first mask, want %v", name, both/n, 0.49)
		}
	}
}

func TestDropoutPassesGradientsWhereItPassedValues(t *testing.T) {
	params := NewParams(1)
	g := NewGraph(Train, params)
	x := g.Input("x", op.Shape{N: 1, C: 1, H: 1, W: 1})
	y := g.Dropout(g.Conv("conv", x, Conv{Out: 40, Kernel: 1}), 0.5)
	p := g.Conv("sum", y, Conv{Out: 1, Kernel: 1})
	g.Output("y", y)
	g.Loss(Term{g.MapLoss(op.MSE, false, p, g.Input("t", p.Shape())), g.Input("w", x.Shape())})
	program := compile(t, g, 1)
	program.Input("x")[0], program.Input("w")[0], program.Input("t")[0] = 1, 1, 100
	program.SetStep(1, 2)
	if err := program.Run(); err != nil {
		t.Fatal(err)
	}
	for i, v := range program.Output("y") {
		if (v == 0) != (gradientOf(t, program, "conv.weight")[i] == 0) {
			t.Errorf("channel %d: value %v, gradient %v", i, v, gradientOf(t, program, "conv.weight")[i])
		}
	}
}

func TestEvaluationSeesTheParametersOfTraining(t *testing.T) {
	training := smallTraining()
	trainer := newSmallTrainer(t, training)
	during := compile(t, smallNetwork(Eval, trainer.Params()), 1)
	batch := Batch{}
	for _, name := range []string{"image", "labels", "weight"} {
		batch[name] = during.Input(name)
	}
	if err := smallBatches(t.Context(), 100, batch); err != nil {
		t.Fatal(err)
	}
	var last []float32
	for _, err := range trainer.Steps(t.Context(), smallBatches) {
		if err != nil {
			t.Fatal(err)
		}
		if err := during.Run(); err != nil {
			t.Fatal(err)
		}
		fresh := compile(t, smallNetwork(Eval, trainer.Params().Clone()), 1)
		for name, x := range batch {
			copy(fresh.Input(name), x)
		}
		if err := fresh.Run(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(during.Output("logits"), fresh.Output("logits")) || during.Loss() != fresh.Loss() {
			t.Fatal("the program compiled before training has other results than one compiled now")
		}
		if slices.Equal(during.Output("logits"), last) {
			t.Fatal("a step changes nothing in evaluation")
		}
		last = slices.Clone(during.Output("logits"))
	}
}

func TestTargetsThatThisBuildLacksAreRefused(t *testing.T) {
	for _, o := range []Options{{Device: "cuda:99"}, {Device: "gpu"}, {Device: "cuda:x"}, {Precision: "f16"}} {
		_, err := o.Resolve()
		if err == nil {
			t.Errorf("%+v: accepted", o)
			continue
		}
		if wrong := o.Device + o.Precision; !strings.Contains(err.Error(), fmt.Sprintf("%q", wrong)) || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%+v: error %q, want one with what was found and what is wanted", o, err)
		}
	}
}

func TestAutomaticPrecisionIsBF16WhereTheMachineMultipliesIt(t *testing.T) {
	isa := kernel.Detect()
	auto := "f32"
	if isa.MultipliesBF16() {
		auto = "bf16"
	}
	for o, precision := range map[Options]string{
		{Device: "cpu"}: auto, {Device: "cpu", Precision: "auto"}: auto, {Device: "cpu", Precision: "f32"}: "f32",
	} {
		target, err := o.Resolve()
		if want := (Target{Device: "cpu", Precision: precision, ISA: isa.String()}); err != nil || target != want {
			t.Errorf("%+v: %+v, %v, want %+v", o, target, err, want)
		}
	}
}

func TestAutomaticDeviceIsTheCPUWhereTheBuildHasNoOther(t *testing.T) {
	if _, err := cuda.List(); !errors.Is(err, cuda.ErrNotBuilt) {
		t.Skip("this build has the tag gpu")
	}
	for _, device := range []string{"", "auto"} {
		automatic, err := Options{Device: device}.Resolve()
		want, failed := Options{Device: "cpu"}.Resolve()
		if err != nil || failed != nil || automatic != want {
			t.Errorf("device %q: %+v, %v, want %+v, %v", device, automatic, err, want, failed)
		}
	}
}

func TestBF16IsRefusedWhereTheMachineDoesNotMultiplyIt(t *testing.T) {
	t.Setenv("SURROGAZE_ISA", "avx2")
	if _, err := (Options{Device: "cpu", Precision: "bf16"}).Resolve(); err == nil || !strings.Contains(err.Error(), "want auto or f32") {
		t.Errorf("error %v, want one that says what is wanted", err)
	}
}

func TestTF32IsRefusedOnTheCPU(t *testing.T) {
	if _, err := (Options{Device: "cpu", Precision: "tf32"}).Resolve(); err == nil || !strings.Contains(err.Error(), `"tf32"`) || !strings.Contains(err.Error(), "want f32") {
		t.Errorf("error %v, want one that says what is wanted", err)
	}
}

func TestTheFirstMistakeInAGraphIsReportedWithItsPath(t *testing.T) {
	image := op.Shape{N: 1, C: 3, H: 4, W: 4}
	scalar := op.Shape{N: 1, C: 1, H: 1, W: 1}
	for name, c := range map[string]struct {
		build func(g *Graph, x Node)
		path  string
	}{
		"kernel larger than the image": {func(g *Graph, x Node) { g.Conv("a", g.Conv("stem.conv", x, Conv{Out: 1, Kernel: 9}), Conv{}) }, "stem.conv"},
		"linear layer of an image":     {func(g *Graph, x Node) { g.Linear("fc", x, 2) }, "fc"},
		"norm of single values":        {func(g *Graph, x Node) { g.BatchNorm("bn", g.Input("y", scalar)) }, "bn"},
		"sum of two shapes":            {func(g *Graph, x Node) { g.Add(x, g.MaxPool(x, 2, 2, 0)) }, "add"},
		"concatenation of two sizes":   {func(g *Graph, x Node) { g.Concat(x, g.MaxPool(x, 2, 2, 0)) }, "concat"},
		"concatenation of one":         {func(g *Graph, x Node) { g.Concat(x) }, "concat"},
		"pool larger than the image":   {func(g *Graph, x Node) { g.MaxPool(x, 9, 1, 0) }, "max pool"},
		"enlargement by nothing":       {func(g *Graph, x Node) { g.Upsample(x, 0) }, "upsample"},
		"dropout of everything":        {func(g *Graph, x Node) { g.Dropout(x, 1) }, "dropout"},
		"maps of two sizes":            {func(g *Graph, x Node) { g.MapLoss(op.MSE, false, x, x) }, "map loss"},
		"loss of nothing":              {func(g *Graph, x Node) { g.Loss() }, "loss"},
		"two inputs of a name":         {func(g *Graph, x Node) { g.Input("x", image) }, "x"},
		"one name for two shapes": {func(g *Graph, x Node) {
			g.Conv("conv", x, Conv{Out: 2, Kernel: 1})
			g.Conv("conv", x, Conv{Out: 3, Kernel: 1})
		}, "conv.weight"},
		"operand of no graph":                 {func(g *Graph, x Node) { g.ReLU(Node{}) }, "relu"},
		"logits that are maps":                {func(g *Graph, x Node) { g.SoftmaxCrossEntropy(x, g.Input("l", scalar)) }, "cross entropy"},
		"labels of another batch":             {func(g *Graph, x Node) { g.SoftmaxCrossEntropy(g.Linear("fc", g.GlobalAvgPool(x), 2), x) }, "cross entropy"},
		"class activation of another channel": {func(g *Graph, x Node) { g.CAM(x, g.Input("w", op.Shape{N: 2, C: 5, H: 1, W: 1}), g.Input("l", scalar)) }, "cam"},
		"contrast of one class":               {func(g *Graph, x Node) { g.Contrast(g.Input("w", scalar)) }, "contrast"},
		"entropy of several channels":         {func(g *Graph, x Node) { g.Entropy(x) }, "entropy"},
		"balance of maps":                     {func(g *Graph, x Node) { g.Balance(x, x, x) }, "balance"},
		"loss that is no value an image":      {func(g *Graph, x Node) { g.Loss(Term{x, x}) }, "loss"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGraph(Train, NewParams(1))
			c.build(g, g.Input("x", image))
			_, err := Compile(g, Options{})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("layer %q", c.path)) {
				t.Errorf("error %v, want one at %q", err, c.path)
			}
		})
	}
}

func TestProgramsForNothingAreRefused(t *testing.T) {
	g := NewGraph(Eval, NewParams(1))
	g.Input("x", op.Shape{N: 1, C: 1, H: 1, W: 1})
	if _, err := Compile(g, Options{}); err == nil {
		t.Error("a graph without output or loss: accepted")
	}
}

// A network of every kind of convolution, folded and not.
func constantGraph(params *Params) *Graph {
	g := NewGraph(Eval, params)
	x := g.Conv("planar", g.Input("image", op.Shape{N: 2, C: 3, H: 12, W: 12}), Conv{Out: 32, Kernel: 3, Pad: 1})
	x = g.ReLU(g.BatchNorm("planar_bn", x))
	x = g.ReLU(g.BatchNorm("winograd_bn", g.Conv("winograd", x, Conv{Out: 64, Kernel: 3, Pad: 1})))
	x = g.BatchNorm("depthwise_bn", g.Conv("depthwise", x, Conv{Out: 64, Kernel: 3, Pad: 1, Groups: 64}))
	x = g.Add(x, g.ReLU(g.BatchNorm("grouped_bn", g.Conv("grouped", x, Conv{Out: 64, Kernel: 3, Pad: 1, Groups: 4}))))
	x = g.BatchNorm("strided_bn", g.Conv("strided", x, Conv{Out: 20, Kernel: 3, Stride: 2, Bias: true}))
	g.Output("y", g.Linear("fc", g.GlobalAvgPool(x), 5))
	return g
}

func TestProgramsWithConstantParametersComputeWhatOthersDoInEveryRun(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		params := NewParams(1)
		var programs []*Program
		for _, constant := range []bool{false, true} {
			p, err := compileFor(constantGraph(params), Options{Workers: 2, Constant: constant}, onCPU(bf16))
			if err != nil {
				t.Fatal(err)
			}
			programs = append(programs, p)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for run := range 3 {
			x := programs[0].Input("image")
			for i := range x {
				x[i] = rng.Float32()
			}
			copy(programs[1].Input("image"), x)
			for _, p := range programs {
				if err := p.Run(); err != nil {
					t.Fatal(err)
				}
			}
			if want, got := programs[0].Output("y"), programs[1].Output("y"); !slices.Equal(got, want) {
				t.Errorf("bf16 %v, run %d: %v, want %v", bf16, run, got, want)
			}
		}
	}
}
