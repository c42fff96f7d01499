package main

import (
	"context"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/pretrained"
)

// published runs a classifier in evaluation on the weights of published.pth, which may
// have been trained on images that were normalised otherwise: images are always those
// of ImageNet's mean and deviation.
func published(_ context.Context, dir folder) error {
	var j job
	if err := dir.readJSON("job.json", &j); err != nil {
		return err
	}
	net, ok := classifiers[j.Network]
	if !ok {
		return fmt.Errorf("network %q: want a classifier", j.Network)
	}
	params := nn.NewParams(0)
	if _, _, err := j.graph(nn.Eval, params); err != nil {
		return err
	}
	if _, err := pretrained.Load(dir.path("published.pth"), params, net.Published(), nil); err != nil {
		return err
	}
	in, err := dir.readTensors()
	if err != nil {
		return err
	}
	results, _, err := j.run(nn.Eval, "eval/", params, in)
	if err != nil {
		return err
	}
	return dir.writeTensors(results)
}
