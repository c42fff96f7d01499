package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// theirs are the names in a list of references.py.
func theirs(t *testing.T, list string) []string {
	t.Helper()
	text, err := os.ReadFile("references.py")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^` + list + ` = (\[.*\])$`).FindSubmatch(text)
	if line == nil {
		t.Fatalf("no list %s in references.py", list)
	}
	var names []string
	if err := json.Unmarshal(line[1], &names); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestBothSidesHaveTheSameNetworks(t *testing.T) {
	if ours, theirs := slices.Sorted(maps.Keys(classifiers)), theirs(t, "CLASSIFIERS"); !slices.Equal(ours, theirs) {
		t.Errorf("classifiers %v, in PyTorch %v", ours, theirs)
	}
	if ours, theirs := slices.Sorted(maps.Keys(predictors)), theirs(t, "PREDICTORS"); !slices.Equal(ours, theirs) {
		t.Errorf("predictors %v, in PyTorch %v", ours, theirs)
	}
}

// newJob leaves a small network's job, parameters and inputs in a folder.
func newJob(t *testing.T, network string) folder {
	t.Helper()
	dir := folder(t.TempDir())
	j := job{Network: network, Size: 16, Batch: 2, Precision: "f32", Loss: "mse"}
	j.Training.Steps, j.Training.Optimizer = 3, nn.Optimizer{Name: "sgd", LR: 0.01}
	if err := dir.writeJSON("job.json", j); err != nil {
		t.Fatal(err)
	}
	params := nn.NewParams(1)
	g, _, err := j.graph(nn.Eval, params)
	if err != nil {
		t.Fatal(err)
	}
	p, err := nn.Compile(g, j.options())
	if err != nil {
		t.Fatal(err)
	}
	var in []weights.Tensor
	for _, x := range params.Tensors() {
		x.Name = "param/" + x.Name
		in = append(in, x)
	}
	for _, name := range []string{"image", "map", "label", "ce_weight", "map_weight"} {
		if n := j.Training.Steps * len(p.Input(name)); n > 0 {
			data := make([]float32, n)
			for i := range data {
				data[i] = float32(i % 3 / 2)
			}
			in = append(in, weights.Float32(name, []int{n}, data))
		}
	}
	f, err := os.Create(dir.path("in.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := weights.Write(f, nil, in); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTasksLeaveTheirResults(t *testing.T) {
	for _, network := range []string{"custom", "unet"} {
		for task, want := range map[string][]string{
			"outputs":  {"eval/logits", "eval/loss", "train/logits", "train/loss", "gradient/", "statistic/"},
			"training": {"loss", "param/"},
		} {
			dir := newJob(t, network)
			if err := tasks[task](t.Context(), dir); err != nil {
				t.Fatalf("%s of %s: %v", task, network, err)
			}
			_, tensors, err := weights.ReadFile(filepath.Join(string(dir), "out.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			for _, prefix := range want {
				if !slices.ContainsFunc(tensors, func(x weights.Tensor) bool { return strings.HasPrefix(x.Name, prefix) }) {
					t.Errorf("%s of %s: found no %s", task, network, prefix)
				}
			}
		}
	}
}

func TestAJobOfAnUnknownNetworkIsRefused(t *testing.T) {
	dir := newJob(t, "custom")
	if err := dir.writeJSON("job.json", job{Network: "vgg", Loss: "mse"}); err != nil {
		t.Fatal(err)
	}
	if err := outputs(t.Context(), dir); err == nil || !strings.Contains(err.Error(), `"vgg"`) {
		t.Errorf("error %v, want one about vgg", err)
	}
}

func TestEveryTaskIsAnsweredWithALine(t *testing.T) {
	dir := newJob(t, "custom")
	var out strings.Builder
	err := serve(t.Context(), strings.NewReader(fmt.Sprintf("sing %s\noutputs %s\noutputs %s/missing\n", dir, dir, dir)), &out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"sing"`) || lines[1] != "done" || !strings.Contains(lines[2], "job.json") {
		t.Errorf("answers %q", lines)
	}
}
