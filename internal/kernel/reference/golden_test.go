package reference_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

// golden is one case of testdata/gen.py.
type golden struct {
	Op       string
	Geometry map[string]any
	In, Out  map[string][]float64
}

func (g golden) int(name string) int       { return int(g.float(name)) }
func (g golden) bool(name string) bool     { return g.float(name) != 0 }
func (g golden) float(name string) float64 { v, _ := g.Geometry[name].(float64); return v }

func (g golden) shape() op.Shape {
	return op.Shape{N: g.int("n"), C: g.int("c"), H: g.int("h"), W: g.int("w")}
}

// results computes the case by the reference; names are those of Out.
type results map[string][]float64

// like makes room for the result of the same name.
func (r results) like(g golden, name string) []float64 {
	r[name] = make([]float64, len(g.Out[name]))
	return r[name]
}

var runs = map[string]func(g golden, r results){
	"conv": func(g golden, r results) {
		c := op.Conv{
			In: g.shape(), Out: g.int("out"), KernelH: g.int("kh"), KernelW: g.int("kw"), StrideH: g.int("sh"), StrideW: g.int("sw"),
			PadH: g.int("ph"), PadW: g.int("pw"), DilationH: g.int("dh"), DilationW: g.int("dw"), Groups: g.int("groups"),
		}
		reference.Conv(c, r.like(g, "y"), g.In["x"], g.In["w"], g.In["b"])
		reference.ConvBackwardData(c, r.like(g, "dx"), g.In["dy"], g.In["w"])
		reference.ConvBackwardWeights(c, r.like(g, "dw"), g.In["x"], g.In["dy"])
		reference.BiasGradient(c.OutShape(), r.like(g, "db"), g.In["dy"])
	},
	"linear": func(g golden, r results) {
		l := op.Linear{N: g.int("n"), In: g.int("i"), Out: g.int("out")}
		reference.Linear(l, r.like(g, "y"), g.In["x"], g.In["w"], g.In["b"])
		reference.LinearBackwardData(l, r.like(g, "dx"), g.In["dy"], g.In["w"])
		reference.LinearBackwardWeights(l, r.like(g, "dw"), g.In["x"], g.In["dy"])
		reference.LinearBackwardBias(l, r.like(g, "db"), g.In["dy"])
	},
	"batchnorm": func(g golden, r results) {
		b := op.BatchNorm{In: g.shape(), Eps: float32(g.float("eps")), Momentum: float32(g.float("momentum"))}
		y, dx, dr := r.like(g, "y"), r.like(g, "dx"), r.like(g, "dr")
		dgamma, dbeta := r.like(g, "dg"), r.like(g, "db")
		r["rm"], r["rv"] = slices.Clone(g.In["rm"]), slices.Clone(g.In["rv"])
		x, residual, gamma, beta, dy := g.In["x"], g.In["r"], g.In["g"], g.In["b"], g.In["dy"]
		if !g.bool("training") {
			reference.BatchNormEval(b, y, x, residual, true, gamma, beta, r["rm"], r["rv"])
			reference.BatchNormFrozenBackward(b, dx, dr, dgamma, dbeta, dy, x, y, gamma, r["rm"], r["rv"])
			return
		}
		mean, rstd := make([]float64, b.In.C), make([]float64, b.In.C)
		reference.BatchNormTrain(b, y, x, residual, true, gamma, beta, r["rm"], r["rv"], mean, rstd)
		reference.BatchNormBackward(b, dx, dr, dgamma, dbeta, dy, x, y, gamma, mean, rstd)
	},
	"relu": func(g golden, r results) {
		reference.ReLU(r.like(g, "y"), g.In["x"])
		reference.ReLUBackward(r.like(g, "dx"), g.In["dy"], r["y"])
	},
	"sigmoid": func(g golden, r results) {
		reference.Sigmoid(r.like(g, "y"), g.In["x"])
		reference.SigmoidBackward(r.like(g, "dx"), g.In["dy"], r["y"])
	},
	"maxpool": func(g golden, r results) {
		reference.MaxPool(g.pool(), r.like(g, "y"), g.In["x"])
		reference.MaxPoolBackward(g.pool(), r.like(g, "dx"), g.In["dy"], g.In["x"], r["y"])
	},
	"avgpool": func(g golden, r results) {
		reference.AvgPool(g.pool(), r.like(g, "y"), g.In["x"])
		reference.AvgPoolBackward(g.pool(), r.like(g, "dx"), g.In["dy"])
	},
	"globalavgpool": func(g golden, r results) {
		reference.GlobalAvgPool(g.shape(), r.like(g, "y"), g.In["x"])
		reference.GlobalAvgPoolBackward(g.shape(), r.like(g, "dx"), g.In["dy"])
	},
	"upsample": func(g golden, r results) {
		u := op.Upsample{In: g.shape(), Scale: g.int("scale"), Bilinear: g.bool("bilinear")}
		reference.Upsample(u, r.like(g, "y"), g.In["x"])
		reference.UpsampleBackward(u, r.like(g, "dx"), g.In["dy"])
	},
	"argmax": func(g golden, r results) {
		reference.ArgMax(g.int("n"), g.int("classes"), r.like(g, "y"), g.In["x"])
	},
	"crossentropy": func(g golden, r results) {
		n, classes := g.int("n"), g.int("classes")
		reference.SoftmaxCrossEntropy(n, classes, r.like(g, "y"), g.In["x"], g.In["labels"])
		reference.SoftmaxCrossEntropyBackward(n, classes, r.like(g, "dx"), g.In["dy"], g.In["x"], g.In["labels"])
	},
	"cam": func(g golden, r results) {
		c := op.CAM{Features: g.shape(), Classes: g.int("classes")}
		reference.CAM(c, r.like(g, "y"), g.In["f"], g.In["w"], g.In["k"])
		reference.CAMBackwardFeatures(c, r.like(g, "df"), g.In["dy"], g.In["f"], g.In["w"], g.In["k"])
		reference.CAMBackwardWeights(c, r.like(g, "dw"), g.In["dy"], g.In["f"], g.In["w"], g.In["k"])
	},
	"contrast": func(g golden, r results) {
		reference.Contrast(g.int("classes"), g.int("n"), r.like(g, "y"), g.In["w"])
		reference.Contrast(g.int("classes"), g.int("n"), r.like(g, "dw"), g.In["dy"])
	},
	"entropy": func(g golden, r results) {
		reference.Entropy(g.shape(), r.like(g, "y"), g.In["p"])
		reference.EntropyBackward(g.shape(), r.like(g, "dp"), g.In["dy"], g.In["p"])
	},
	"adaptive": func(g golden, r results) {
		n := g.int("n")
		first, second := make([]float64, n), make([]float64, n)
		reference.Balance(n, false, first, g.In["ce"], g.In["s"], g.In["weight"])
		reference.Balance(n, true, second, g.In["ce"], g.In["s"], g.In["weight"])
		y, part := r.like(g, "y"), make([]float64, 1)
		reference.WeightedMean(n, y, g.In["ce"], first)
		reference.WeightedMean(n, part, g.In["s"], second)
		y[0] += part[0]
		reference.WeightedMeanBackward(n, r.like(g, "dce"), g.In["dy"], first)
		reference.WeightedMeanBackward(n, r.like(g, "ds"), g.In["dy"], second)
	},
	"maploss": func(g golden, r results) {
		kind, err := op.ParseMapLoss(g.Geometry["kind"].(string))
		if err != nil {
			panic(err)
		}
		m := op.MapLoss{Kind: kind, N: g.int("n"), H: g.int("h"), W: g.int("w"), Logits: g.bool("logits")}
		reference.MapLoss(m, r.like(g, "y"), g.In["p"], g.In["t"])
		reference.MapLossBackward(m, r.like(g, "dp"), g.In["dy"], g.In["p"], g.In["t"])
	},
	"sgd": func(g golden, r results) {
		velocity := make([]float64, len(g.In["p"]))
		g.steps(r, func(_ int, p, grad []float64) {
			reference.SGD(p, grad, velocity, g.float("lr"), g.float("momentum"), g.float("weight_decay"), g.bool("nesterov"))
		})
	},
	"adam":  func(g golden, r results) { g.adam(r, false) },
	"adamw": func(g golden, r results) { g.adam(r, true) },
}

func (g golden) pool() op.Pool {
	return op.Pool{In: g.shape(), Kernel: g.int("k"), Stride: g.int("s"), Pad: g.int("p"), CountPad: g.bool("countpad")}
}

func (g golden) adam(r results, decoupled bool) {
	first, second := make([]float64, len(g.In["p"])), make([]float64, len(g.In["p"]))
	g.steps(r, func(step int, p, grad []float64) {
		reference.Adam(p, grad, first, second, step, g.float("lr"), 0.9, 0.99, 1e-8, g.float("weight_decay"), decoupled)
	})
}

// steps collects the parameter after every step.
func (g golden) steps(r results, step func(number int, p, grad []float64)) {
	p, n := slices.Clone(g.In["p"]), len(g.In["p"])
	for i := range len(g.In["g"]) / n {
		step(i+1, p, g.In["g"][i*n:(i+1)*n])
		r["y"] = append(r["y"], p...)
	}
}

func TestOperatorsAgreeWithPyTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, g := range cases {
		t.Run(fmt.Sprintf("%s-%d", g.Op, i), func(t *testing.T) {
			run, ok := runs[g.Op]
			if !ok {
				t.Fatalf("golden of operator %q: no such operator", g.Op)
			}
			r := results{}
			run(g, r)
			for name, want := range g.Out {
				for i, w := range want {
					// Goldens keep 12 digits; 1e-9 leaves room for another order of sums.
					if got := r[name][i]; math.Abs(got-w) > 1e-9*(1+math.Abs(w)) {
						t.Fatalf("%v: %s[%d] = %v, want %v", g.Geometry, name, i, got, w)
					}
				}
			}
		})
	}
}
