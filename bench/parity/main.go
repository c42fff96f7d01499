// Command parity is our side of the comparison with PyTorch, torchvision, timm, Pillow
// and scikit-learn: it computes one task on what lies in a folder and leaves the
// results there. The script run builds it and calls the Python side, which asks for
// every task and compares.
//
//	parity TASK FOLDER
//
// The folder holds job.json, what is to be done, and where there are tensors
// in.safetensors; the results are out.safetensors or out.json.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// folder is where a task finds its job and leaves its results.
type folder string

// tasks are what the Python side may ask for.
var tasks = map[string]func(ctx context.Context, dir folder) error{
	"outputs":       outputs,
	"training":      training,
	"published":     published,
	"preprocessing": preprocessing,
	"metrics":       metrics,
	"target":        target,
}

func main() {
	if len(os.Args) != 3 || tasks[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: parity TASK FOLDER, a task of %v\n", slices.Sorted(maps.Keys(tasks)))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := tasks[os.Args[1]](ctx, folder(os.Args[2]))
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "parity: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) readJSON(name string, into any) error {
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d folder) writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(d.path(name), text, 0o644)
}

// readNetwork reads a job, its inputs and its network's parameters.
func (d folder) readNetwork() (j job, in map[string]weights.Tensor, params *nn.Params, err error) {
	if err := d.readJSON("job.json", &j); err != nil {
		return j, nil, nil, err
	}
	if in, err = d.readTensors(); err != nil {
		return j, nil, nil, err
	}
	params, err = j.newParams(in)
	return j, in, params, err
}

// readTensors reads in.safetensors, by name.
func (d folder) readTensors() (map[string]weights.Tensor, error) {
	_, tensors, err := weights.ReadFile(d.path("in.safetensors"))
	if err != nil {
		return nil, err
	}
	byName := map[string]weights.Tensor{}
	for _, t := range tensors {
		byName[t.Name] = t
	}
	return byName, nil
}

// writeTensors writes out.safetensors.
func (d folder) writeTensors(tensors []weights.Tensor) error {
	f, err := os.Create(d.path("out.safetensors"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := weights.Write(f, nil, tensors); err != nil {
		return err
	}
	return f.Close()
}
