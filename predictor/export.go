package predictor

import (
	"fmt"
	"math"
	"slices"

	"github.com/surrogaze/surrogaze/internal/modelfile"
	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/storage"
)

// Export writes the model for other programs to one file, in place of what path held:
// to "onnx" with the output saliency (N, 1, size, size) in [0, 1], the mean of both
// directions where Config.Mirror says so; or to "safetensors", the parameters alone,
// which give the map of one direction before its sigmoid.
func (m *Model) Export(path, to string) error {
	if err := m.export(path, to); err != nil {
		return fmt.Errorf("export the predictor: %w", err)
	}
	return nil
}

func (m *Model) export(path, to string) error {
	if len(m.members) != 1 {
		return storage.Unusable("found a predictor of %d networks (method %q), want one of a single network", len(m.members), m.cfg.Method)
	}
	d := modelfile.Description{Kind: "predictor", Network: m.cfg.Network, Size: m.cfg.Size, Resize: m.cfg.resizing()}
	switch to {
	case "onnx":
		d.Outputs = map[string]string{mapOutput: "(N, 1, size, size): saliency map of the square that the network sees, in [0, 1]"}
		graph, err := m.onnx()
		if err != nil {
			return err
		}
		return modelfile.WriteONNX(path, d, graph)
	case "safetensors":
		d.Outputs = map[string]string{"logits": "(N, 1, size, size): the saliency map before its sigmoid"}
		return modelfile.WriteSafetensors(path, d, m.members[0])
	}
	return fmt.Errorf("format %q: want onnx or safetensors", to)
}

func (m *Model) onnx() (*onnx.Graph, error) {
	g, err := evaluationGraph(m.cfg, m.members[0], 1, false)
	if err != nil {
		return nil, err
	}
	graph, err := g.ONNX(m.cfg.Network)
	if err == nil && m.cfg.Mirror {
		averageMirrored(graph)
	}
	return graph, err
}

// averageMirrored makes the graph's map the mean of those of the image and of its
// mirror image, turned back: the network runs once, on both.
func averageMirrored(g *onnx.Graph) {
	const both, bothMaps = "both", "both_maps"
	rename := func(names []string, from, to string) []string {
		names = slices.Clone(names)
		for i, name := range names {
			if name == from {
				names[i] = to
			}
		}
		return names
	}
	for i, n := range g.Nodes {
		g.Nodes[i].In, g.Nodes[i].Out = rename(n.In, imageInput, both), rename(n.Out, mapOutput, bothMaps)
	}
	node := func(op string, in, out []string, attributes ...onnx.Attribute) onnx.Node {
		return onnx.Node{Op: op, In: in, Out: out, Attributes: attributes}
	}
	mirror := func(from, to string) onnx.Node {
		return node("Slice", []string{from, "mirror_start", "mirror_end", "mirror_axis", "mirror_step"}, []string{to})
	}
	images := onnx.Attribute{Name: "axis", Value: 0}
	before := []onnx.Node{
		mirror(imageInput, "mirror_image"),
		node("Concat", []string{imageInput, "mirror_image"}, []string{both}, images),
	}
	after := []onnx.Node{
		node("Split", []string{bothMaps}, []string{"map", "mirror_map"}, images, onnx.Attribute{Name: "num_outputs", Value: 2}),
		mirror("mirror_map", "map_turned_back"),
		node("Mean", []string{"map", "map_turned_back"}, []string{mapOutput}),
	}
	g.Nodes = slices.Concat(before, g.Nodes, after)
	number := func(name string, v int64) onnx.Tensor {
		return onnx.Tensor{Name: name, Shape: []int{1}, Ints: []int64{v}}
	}
	g.Tensors = append(g.Tensors, number("mirror_start", -1), number("mirror_end", math.MinInt64),
		number("mirror_axis", 3), number("mirror_step", -1))
}
