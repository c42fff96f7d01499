package pytorch

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
)

func TestOurSideMeasuresWhenItIsTold(t *testing.T) {
	for _, task := range []string{StepTask, InferenceTask} {
		var out strings.Builder
		w, err := NewWork(t.Context(), Job{Case: "unet64", Task: task, Precision: "f32", Batch: 2, Size: 16, Reps: 2}, nn.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := w.Serve(strings.NewReader("\n\n"), &out, "us", func() int64 { return 7 }); err != nil {
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
		if len(lines) != 4 || lines[0].Parameters != 118593 || len(lines[1].Times) != 2 || len(lines[2].Times) != 2 || lines[3].Memory != 7 {
			t.Errorf("%s: found %+v, want the network, two rounds of two times, and the memory", task, lines)
		}
	}
}

func TestEveryNetworkIsOneOfPyTorchsSide(t *testing.T) {
	text, err := os.Open("networks.py")
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
			t.Errorf("network %s is not in networks.py, which has %v", n.name, theirs)
		}
	}
}

func TestOnlyKnownClassifiersAreGuided(t *testing.T) {
	for _, name := range []string{"vgg", "unet64+cyborg"} {
		if _, err := graph(Job{Case: name, Task: StepTask, Batch: 1}, nn.NewParams(1)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("case %s: error %v", name, err)
		}
	}
}

func TestAStepsProfileIsWritten(t *testing.T) {
	var out strings.Builder
	j := Job{Case: "unet64", Task: StepTask, Batch: 2, Size: 16, Reps: 2}
	err := WriteProfile(t.Context(), &out, j, nn.Options{Workers: 1}, func(string, string, int) (float64, float64) { return 0, 0 })
	if err != nil || !strings.HasPrefix(out.String(), "2 steps of ") {
		t.Errorf("profile %s, error %v", out.String(), err)
	}
}

func TestInferenceIsMeasuredOncePerNetwork(t *testing.T) {
	cases := []string{"resnet18", "resnet18+cyborg", "resnet50+cyborg"}
	for i, want := range []bool{false, true, false} {
		if got := inferredAnyway(cases[i], InferenceTask, cases); got != want {
			t.Errorf("%s: inferred anyway: %v", cases[i], got)
		}
		if inferredAnyway(cases[i], StepTask, cases) {
			t.Errorf("%s: a step is no inference", cases[i])
		}
	}
}

func TestTheTableHasRatiosToPyTorchsBestMode(t *testing.T) {
	of := func(name string, memory int64, rounds ...[]float64) *Side {
		return &Side{Name: name, About: name, Memory: memory << 20, Rounds: rounds}
	}
	c := Comparison{
		Job: Job{Precision: "f32", Batch: 8, Reps: 2}, Rounds: 2,
		Found: []Finding{
			{Job{Case: "one", Task: StepTask, Batch: 8}, []*Side{of(Ours, 100, []float64{50, 50}, []float64{49, 90}),
				of("eager", 50, []float64{120, 120}, []float64{120, 120}), of("compile", 400, []float64{100, 101}, []float64{99, 100})}},
			{Job{Case: "two", Task: StepTask, Batch: 8}, []*Side{of(Ours, 100, []float64{200}), of("eager", 25, []float64{100})}},
			{Job{Case: "one", Task: InferenceTask, Batch: 8}, []*Side{of(Ours, 0, []float64{1}), of("eager", 0, []float64{4})}},
			{Job{Case: "two", Task: InferenceTask, Batch: 8}, []*Side{of(Ours, 0, []float64{3})}},
		},
	}
	table := c.Table("a CPU; " + c.About() + "; 2 threads")
	for _, want := range []string{
		"a CPU; ours; eager; compile; 2 threads; f32; medians of 2 rounds of 2 in turn.",
		"| one | 50.0 | 100.0 | compile | 0.50 | 100 | 400 | 0.25 |",
		"| two | 200.0 | 100.0 | eager | 2.00 | 100 | 25 | 4.00 |",
		"| geometric mean | | | | 1.00 | | | 1.00 |",
		"| one | 1.0 | 4.0 | eager | 0.25 | - | - | - |",
		"| two | 3.0 | - | - | - | - | - | - |",
		"| geometric mean | | | | 0.25 | | | - |",
		"| one | step | 8 | ours | 50.0 | 50.0 to 69.5 | 160.0 | 100 |",
	} {
		if !strings.Contains(table, want+"\n") {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
}
