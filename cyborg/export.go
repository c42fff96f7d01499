package cyborg

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/modelfile"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/onnx"
	"github.com/surrogaze/surrogaze/internal/op"
)

// camOutput is the output of an exported network beside logitsOutput.
const camOutput = "cam"

// Export writes the model for other programs to one file, in place of what path held:
// to "onnx" with the outputs logits (N, classes) and cam (N, 1, grid, grid), the map
// of the predicted class in [0, 1]; or to "safetensors", the parameters alone.
func (m *Model) Export(path, to string) error {
	if err := m.export(path, to); err != nil {
		return fmt.Errorf("export the classifier: %w", err)
	}
	return nil
}

func (m *Model) export(path, to string) error {
	d := modelfile.Description{
		Kind: "classifier", Network: m.cfg.Network, Classes: m.classes, Size: m.cfg.Size, Resize: m.cfg.resizing(),
		Outputs: map[string]string{
			logitsOutput: "(N, classes): softmax makes them probabilities",
			camOutput:    "(N, 1, h, w): class activation map of the class with the highest logit, scaled to [0, 1]",
		},
	}
	switch to {
	case "onnx":
		graph, err := m.onnx()
		if err != nil {
			return err
		}
		return modelfile.WriteONNX(path, d, graph)
	case "safetensors":
		d.Outputs = map[string]string{logitsOutput: d.Outputs[logitsOutput]}
		return modelfile.WriteSafetensors(path, d, m.params)
	}
	return fmt.Errorf("format %q: want onnx or safetensors", to)
}

// onnx is the network with its logits and the map of the predicted class.
func (m *Model) onnx() (*onnx.Graph, error) {
	net, err := m.cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Eval, m.params)
	built := net.Build(g, g.Input(imageInput, op.Shape{N: 1, C: 3, H: m.cfg.Size, W: m.cfg.Size}), len(m.classes))
	g.Output(logitsOutput, built.Logits)
	g.Output(camOutput, m.cfg.activation(g, built, g.ArgMax(built.Logits)))
	return g.ONNX(m.cfg.Network)
}
