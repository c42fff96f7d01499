package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
)

func TestOurSideMeasuresWhenItIsTold(t *testing.T) {
	for _, task := range []string{stepTask, inferenceTask} {
		var out strings.Builder
		j := job{Case: "unet64", Task: task, Precision: "f32", Threads: 2, Reps: 2}
		if err := serve(t.Context(), j, strings.NewReader("\n\n"), &out); err != nil {
			t.Fatal(err)
		}
		var lines []message
		for d := json.NewDecoder(strings.NewReader(out.String())); ; {
			var m message
			if err := d.Decode(&m); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, m)
		}
		// The number of parameters is that of the same network in PyTorch.
		if len(lines) != 4 || lines[0].Parameters != 118593 || len(lines[1].Times) != 2 || len(lines[2].Times) != 2 {
			t.Errorf("%s: found %+v, want the network, two rounds of two times, and the memory", task, lines)
		}
	}
}

func TestEveryNetworkIsOneOfPyTorchsSide(t *testing.T) {
	text, err := os.Open("theirs.py")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	theirs := map[string]bool{}
	for s := bufio.NewScanner(text); s.Scan(); {
		if name, _, ok := strings.Cut(strings.TrimPrefix(s.Text(), `    "`), `": (`); ok {
			theirs[name] = true
		}
	}
	for _, n := range networks {
		if !theirs[n.name] {
			t.Errorf("network %s is not in theirs.py, which has %v", n.name, theirs)
		}
	}
}

func TestOnlyKnownClassifiersAreGuided(t *testing.T) {
	for _, name := range []string{"vgg", "unet64+cyborg"} {
		if _, err := graph(name, nn.Train, nn.NewParams(1)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("case %s: error %v", name, err)
		}
	}
}

func TestAStepsProfileIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unet64.md")
	j := job{Case: "unet64", Task: stepTask, Threads: 1, Reps: 2}
	if err := writeProfile(t.Context(), j, path); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "2 steps of ") {
		t.Errorf("profile %s, error %v", text, err)
	}
}

func TestTheTableHasRatiosToPyTorchsBestMode(t *testing.T) {
	of := func(name string, memory int64, rounds ...[]float64) *side {
		return &side{name: name, memory: memory << 20, rounds: rounds}
	}
	c := comparison{
		job: job{Precision: "f32", Threads: 2, Reps: 2}, machine: "a CPU", rounds: 2, about: []string{"us", "them"},
		found: []finding{
			{job{Case: "one", Task: stepTask}, []*side{of(ours, 100, []float64{50, 50}, []float64{49, 90}),
				of("eager", 50, []float64{120, 120}, []float64{120, 120}), of("compile", 400, []float64{100, 101}, []float64{99, 100})}},
			{job{Case: "two", Task: stepTask}, []*side{of(ours, 100, []float64{200}), of("eager", 25, []float64{100})}},
			{job{Case: "one", Task: inferenceTask}, []*side{of(ours, 0, []float64{1}), of("eager", 0, []float64{4})}},
		},
	}
	table := c.table()
	for _, want := range []string{
		"a CPU; us; them; 2 threads, f32, batch 8; medians of 2 rounds of 2 in turn.",
		"| one | 50.0 | 100.0 | compile | 0.50 | 100 | 400 | 0.25 |",
		"| two | 200.0 | 100.0 | eager | 2.00 | 100 | 25 | 4.00 |",
		"| geometric mean | | | | 1.00 | | | 1.00 |",
		"| one | 1.0 | 4.0 | eager | 0.25 | - | - | - |",
		"| geometric mean | | | | 0.25 | | | - |",
		"| one | step | ours | 50.0 | 50.0 to 69.5 | 100 |",
	} {
		if !strings.Contains(table, want+"\n") {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
}
