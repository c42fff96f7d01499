package nn

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
)

// profiled trains the small network under a profile.
func profiled(t *testing.T, workers, steps int) (*Profile, *Trainer, time.Duration) {
	t.Helper()
	profile, training := new(Profile), smallTraining()
	training.Options = Options{Device: "cpu", Precision: "f32", Workers: workers, Profile: profile}
	trainer := newSmallTrainer(t, training)
	begin := time.Now()
	train(t, trainer, smallBatches, steps)
	return profile, trainer, time.Since(begin)
}

func TestAProfileChangesNoResult(t *testing.T) {
	plain := newSmallTrainer(t, smallTraining())
	train(t, plain, smallBatches, 9)
	for _, workers := range []int{1, 3} {
		_, trainer, _ := profiled(t, workers, 9)
		sameParams(t, trainer.Params(), plain.Params())
	}
}

func TestAProfilesOperatorsAddUpToItsSteps(t *testing.T) {
	profile, _, whole := profiled(t, 2, 9)
	if profile.Steps() != 8 || profile.whole > whole {
		t.Errorf("%d steps in %v, want 8 in at most %v", profile.Steps(), profile.whole, whole)
	}
	sum, count := time.Duration(0), 0
	for _, row := range profile.rows {
		if row.took < 0 {
			t.Errorf("%s of %s took %v", row.name, row.geometry, row.took)
		}
		sum += row.took
		count += row.count
	}
	if sum > profile.whole {
		t.Errorf("operators take %v of %v", sum, profile.whole)
	}
	all := time.Duration(0)
	for _, row := range profile.sorted() {
		all += row.took
	}
	if all != profile.whole {
		t.Errorf("rows add up to %v, want %v", all, profile.whole)
	}
	_, trainer, _ := profiled(t, 1, 1)
	if want := len(trainer.program.list.instructions) + 1; count != want {
		t.Errorf("%d operators, want %d: the instructions and the optimiser's step", count, want)
	}
}

func TestAProfileCountsOperationsAndBytes(t *testing.T) {
	profile, _, _ := profiled(t, 1, 1)
	for _, x := range []struct {
		name         string
		flops, bytes float64
	}{
		// 3 channels of 6x6 pixels to 5 channels, padded to 16 in memory, of 4 images.
		{"conv", 2 * 4 * 5 * 36 * 27, 4 * (4*3*36 + 5*27 + 4*16*36)},
		{"linear", 2 * 4 * 5 * 2, 4 * (4*5 + 5*2 + 2 + 4*2)},
		// Weights, gradients and two moments; 135+10 of the convolution, 10+2 of the
		// linear layer, 5+5 of the batch norm.
		{"adamw", 0, 4 * 157 * (3 + 2*2)},
	} {
		found := false
		for _, row := range profile.rows {
			if row.name != x.name {
				continue
			}
			found = true
			if row.flops != x.flops || row.bytes != x.bytes {
				t.Errorf("%s: %v operations and %v bytes, want %v and %v", x.name, row.flops, row.bytes, x.flops, x.bytes)
			}
		}
		if !found {
			t.Errorf("no row of %s", x.name)
		}
	}
}

func TestAProfileIsATableOfShares(t *testing.T) {
	profile := &Profile{target: Target{Device: "cpu", ISA: "generic"}, workers: 2, steps: 2, whole: 40 * time.Millisecond, rows: []*operation{
		{name: "add", geometry: "(1, 2, 3, 4)", count: 3, bytes: 1e7, took: 4 * time.Millisecond},
		{name: "conv", geometry: "(1, 2, 3, 4) to (1, 5, 3, 4), 3x3", count: 1, flops: 1e9, bytes: 1e6, took: 20 * time.Millisecond},
	}}
	var b bytes.Buffer
	err := profile.Write(&b, func(_, _ string, workers int) (float64, float64) { return float64(workers) * 100e9, 10e9 })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 steps of 20.000 ms, 2 workers, generic; peaks of so many cores: 200.0 GFLOP/s of float32, 10.0 GB/s.",
		"| conv | (1, 2, 3, 4) to (1, 5, 3, 4), 3x3 | 1 | 10.000 | 50.0 % | 100.0 | 50.0 % | 0.1 | 1.0 % |",
		"| between operators | waiting for the batch, copying it | 1 | 8.000 | 40.0 % | - | - | - | - |",
		"| add | (1, 2, 3, 4) | 3 | 2.000 | 10.0 % | - | - | 5.0 | 50.0 % |",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
	order := regexp.MustCompile(`(?s)conv.*between.*add`)
	if !order.Match(b.Bytes()) {
		t.Errorf("not sorted by time:\n%s", &b)
	}
}

func TestAProfileOfAGPUSumsUpKindsOfOperatorsBesideItsPeaks(t *testing.T) {
	profile := &Profile{target: Target{Device: "cuda:1", Precision: "bf16", ISA: "H100"}, workers: 1, steps: 2, whole: 40 * time.Millisecond, rows: []*operation{
		{name: "conv + relu", geometry: "a", count: 3, flops: 4e9, bytes: 1e6, took: 16 * time.Millisecond},
		{name: "conv", geometry: "b", count: 1, flops: 1e8, bytes: 2e7, took: 8 * time.Millisecond},
		{name: "add", geometry: "c", count: 2, bytes: 1e7, took: 8 * time.Millisecond},
	}}
	var b bytes.Buffer
	err := profile.Write(&b, func(device, precision string, _ int) (float64, float64) {
		if device != "cuda:1" || precision != "bf16" {
			t.Errorf("asked for the peaks of %s in %s", device, precision)
		}
		return 1e12, 10e9
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 steps of 20.000 ms, one launch after another, H100; peaks: 1000.0 GFLOP/s of bf16, 10.0 GB/s.",
		"| conv | 4 | 12.000 | 60.0 % | 6.000 | 50.0 % | multiplication |",
		"| add | 2 | 4.000 | 20.0 % | 1.000 | 25.0 % | memory |",
		"| between operators | 1 | 4.000 | 20.0 % | - | - | - |",
		"| all | 7 | 20.000 | 100.0 % | 7.000 | 35.0 % | multiplication |",
		"| conv + relu | a | 3 | 8.000 | 40.0 % | 500.0 | 50.0 % | 0.1 | 1.2 % |",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
}
