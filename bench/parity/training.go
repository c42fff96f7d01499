package main

import (
	"context"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// training takes the steps of a job, each on a batch of its own: the inputs hold those
// of all steps one after another. The results are the loss of every step, and
// param/NAME, the parameters behind the last.
func training(ctx context.Context, dir folder) error {
	j, in, params, err := dir.readNetwork()
	if err != nil {
		return err
	}
	g, _, err := j.graph(nn.Train, params)
	if err != nil {
		return err
	}
	t, err := nn.NewTrainer(g, nn.Training{
		Optimizer: j.Training.Optimizer, Schedule: j.Training.Schedule, Steps: j.Training.Steps, Options: j.options(),
	})
	if err != nil {
		return err
	}
	var losses []float32
	for step, err := range t.Steps(ctx, batchesOf(in)) {
		if err != nil {
			return err
		}
		losses = append(losses, step.Loss)
	}
	results := []weights.Tensor{weights.Float32("loss", []int{len(losses)}, losses)}
	for _, x := range params.Tensors() {
		x.Name = "param/" + x.Name
		results = append(results, x)
	}
	return dir.writeTensors(results)
}

// batchesOf gives every step its part of the inputs.
func batchesOf(in map[string]weights.Tensor) nn.Source {
	return func(_ context.Context, step int, b nn.Batch) error {
		for name, x := range b {
			copy(x, in[name].Data[step*len(x):])
		}
		return nil
	}
}
