package nn

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/internal/op"
)

// everyLayer builds a network for inference that has every layer, with the outputs
// logits, cam and map.
func everyLayer(g *Graph) {
	x := g.Input("image", op.Shape{N: 2, C: 3, H: 9, W: 12})
	g.Input("not needed", op.Shape{N: 2, C: 1, H: 1, W: 1})
	x = g.MaxPool(g.ReLU(g.BatchNorm("bn", g.Conv("conv", x, Conv{Out: 8, Kernel: 3, Stride: 2, Pad: 1, Bias: true}))), 3, 1, 1)
	x = g.Concat(x, g.AvgPool(g.Conv("grouped", x, Conv{Out: 8, Kernel: 1, Groups: 4}), 3, 1, 1))
	x = g.Add(x, g.Dropout(x, 0.5))
	logits, weight := g.Classifier("fc", g.GlobalAvgPool(x), 3)
	g.Output("logits", logits)
	g.Output("cam", g.CAM(x, weight, g.ArgMax(logits)))
	g.Output("map", g.Sigmoid(g.UpsampleNearest(g.Upsample(x, 2), 3)))
}

func TestEveryLayerOfInferenceIsInONNX(t *testing.T) {
	g := NewGraph(Eval, NewParams(1))
	everyLayer(g)
	got, err := g.ONNX("every")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"": true} // an operand left out
	for _, v := range got.Inputs {
		known[v.Name] = true
	}
	for _, c := range got.Tensors {
		if known[c.Name] {
			t.Errorf("tensor %q is there twice", c.Name)
		}
		known[c.Name] = true
	}
	for _, n := range got.Nodes {
		for _, name := range n.In {
			if !known[name] {
				t.Errorf("%s reads %q before it is there", n.Op, name)
			}
		}
		for _, name := range n.Out {
			if known[name] {
				t.Errorf("%s makes %q, which is there already", n.Op, name)
			}
			known[name] = true
		}
	}
	want := []onnx.Value{{Name: "logits", Shape: []int{0, 3}}, {Name: "cam", Shape: []int{0, 1, 5, 6}}, {Name: "map", Shape: []int{0, 16, 30, 36}}}
	same := func(a, b onnx.Value) bool { return a.Name == b.Name && slices.Equal(a.Shape, b.Shape) }
	if !slices.EqualFunc(got.Outputs, want, same) {
		t.Errorf("found the outputs %v, want %v", got.Outputs, want)
	}
	for _, v := range got.Outputs {
		if !known[v.Name] {
			t.Errorf("nothing makes the output %q", v.Name)
		}
	}
	if len(got.Inputs) != 1 {
		t.Errorf("found the inputs %v, want the image alone", got.Inputs)
	}
	if err := (&onnx.Model{Graph: got}).Write(new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}

func TestWhatOnlyTrainingKnowsIsNotInONNX(t *testing.T) {
	for want, build := range map[string]func(g *Graph){
		"operator batch norm: want it as in evaluation": func(g *Graph) { g.Output("y", g.BatchNorm("bn", image(g, 4, 5, 5))) },
		"operator dropout: found":                       func(g *Graph) { g.Output("y", g.Dropout(image(g, 4, 5, 5), 0.5)) },
		`layer "fc": `:                                  func(g *Graph) { g.Output("y", g.Linear("fc", image(g, 4, 5, 5), 2)) },
	} {
		g := NewGraph(Train, NewParams(1))
		build(g)
		if _, err := g.ONNX("wrong"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want %s", err, want)
		}
	}
}
