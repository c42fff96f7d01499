// Command parity is our side of the comparison with PyTorch, torchvision, timm, Pillow
// and scikit-learn. The script run builds it and calls the Python side, which asks for
// every task and compares.
//
// A line of standard input names a task and a folder; the answer is a line, done or what
// went wrong. The folder holds job.json, what is to be done, and where there are tensors
// in.safetensors; the results are left there as out.safetensors or out.json. One process
// does all tasks, as the first on a GPU waits for much that the others then have.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := serve(ctx, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "parity: %v\n", err)
		os.Exit(1)
	}
}

// serve does the tasks that lines name.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		name, dir, _ := strings.Cut(lines.Text(), " ")
		answer := "done"
		if task := tasks[name]; task == nil {
			answer = fmt.Sprintf("task %q: want one of %v", name, slices.Sorted(maps.Keys(tasks)))
		} else if err := task(ctx, folder(dir)); err != nil {
			answer = fmt.Sprintf("%s: %v", name, err)
		}
		if _, err := fmt.Fprintln(out, strings.ReplaceAll(answer, "\n", "; ")); err != nil {
			return err
		}
	}
	return lines.Err()
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
