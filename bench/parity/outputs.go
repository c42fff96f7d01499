package main

import (
	"context"
	"slices"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// outputs runs a network once in evaluation and once in training. The results are named
// eval/logits and so on; gradient/NAME and statistic/NAME are those of training.
func outputs(_ context.Context, dir folder) error {
	j, in, params, err := dir.readNetwork()
	if err != nil {
		return err
	}
	results, _, err := j.run(nn.Eval, "eval/", params, in)
	if err != nil {
		return err
	}
	trained, p, err := j.run(nn.Train, "train/", params, in)
	if err != nil {
		return err
	}
	results = append(results, trained...)
	for _, x := range params.All() {
		if x.Trainable {
			gradient, err := p.Gradient(x.Name)
			if err != nil {
				return err
			}
			results = append(results, weights.Float32("gradient/"+x.Name, x.Shape, gradient))
		} else {
			results = append(results, weights.Float32("statistic/"+x.Name, x.Shape, x.Data))
		}
	}
	return dir.writeTensors(results)
}

// run computes a network's outputs and loss, named behind a prefix.
func (j job) run(mode nn.Mode, prefix string, params *nn.Params, in map[string]weights.Tensor) ([]weights.Tensor, *nn.Program, error) {
	g, nodes, err := j.graph(mode, params)
	if err != nil {
		return nil, nil, err
	}
	for name, node := range nodes {
		g.Output(name, node)
	}
	p, err := nn.Compile(g, j.options())
	if err != nil {
		return nil, nil, err
	}
	for name, t := range in {
		copy(p.Input(name), t.Data)
	}
	if err := p.Run(); err != nil {
		return nil, nil, err
	}
	results := []weights.Tensor{weights.Float32(prefix+"loss", []int{1}, []float32{p.Loss()})}
	for name, node := range nodes {
		s := node.Shape()
		results = append(results, weights.Float32(prefix+name, []int{s.N, s.C, s.H, s.W}, slices.Clone(p.Output(name))))
	}
	return results, p, nil
}
