package nn

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
)

// advance takes steps until so many are done.
func advance(t *testing.T, tr *Trainer, done int) {
	t.Helper()
	if tr.Done() == done {
		return
	}
	for _, err := range tr.Steps(context.Background(), constantSource) {
		if err != nil {
			t.Fatal(err)
		}
		if tr.Done() == done {
			return
		}
	}
}

func guidedTrainer(t *testing.T, device string, o Optimizer) *Trainer {
	t.Helper()
	tr, err := NewTrainer(guidedNetwork(NewParams(3)), gpuTraining(device, o))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// moved is a fresh trainer on a device that continues what another has saved.
func moved(t *testing.T, from *Trainer, device string) *Trainer {
	t.Helper()
	to := guidedTrainer(t, device, from.training.Optimizer)
	checkpoint(t, from, to)
	return to
}

func TestACheckpointMovesBetweenCPUAndGPU(t *testing.T) {
	onGPU(t, f32Precision)
	for _, o := range []Optimizer{{Name: "sgd", LR: 0.1, Momentum: 0.9}, {Name: "adamw", LR: 0.01, WeightDecay: 0.01}} {
		t.Run(o.Name, func(t *testing.T) {
			want := guidedTrainer(t, "cpu", o)
			advance(t, want, 6)
			for _, devices := range [][2]string{{"cuda", "cpu"}, {"cpu", "cuda"}, {"cuda", "cuda"}} {
				tr := guidedTrainer(t, devices[0], o)
				advance(t, tr, 2)
				tr = moved(t, tr, devices[1])
				advance(t, tr, 4)
				tr = moved(t, tr, devices[0])
				advance(t, tr, 6)
				for i, x := range want.Params().All() {
					compare(t, devices[0]+" and "+devices[1]+": "+x.Name, tr.Params().All()[i].Data, x.Data)
				}
			}
		})
	}
}

func TestATrainingOnAGPUThatIsBrokenOffGoesOnAsIfItWereNot(t *testing.T) {
	onGPU(t, f32Precision)
	o := Optimizer{Name: "adam", LR: 0.01}
	want := guidedTrainer(t, "cuda", o)
	advance(t, want, 6)
	tr := guidedTrainer(t, "cuda", o)
	ctx, cancel := context.WithCancel(context.Background())
	source := func(ctx context.Context, step int, b Batch) error {
		if step == 4 { // while the device is at the steps before
			cancel()
		}
		return constantSource(ctx, step, b)
	}
	var stopped error
	for _, err := range tr.Steps(ctx, source) {
		stopped = err
	}
	if !errors.Is(stopped, context.Canceled) || tr.Done() > 4 {
		t.Fatalf("after %d steps: %v", tr.Done(), stopped)
	}
	tr = moved(t, tr, "cuda")
	advance(t, tr, 6)
	sameParams(t, tr.Params(), want.Params())
}

func TestFurtherCheckpointsFromAGPUPinNoMemory(t *testing.T) {
	cudatest.Mock(t)
	onGPU(t, f32Precision)
	tr := guidedTrainer(t, "cuda", Optimizer{Name: "adam", LR: 0.01})
	advance(t, tr, 1)
	if err := tr.Save(io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MOCK_CUDA_FAIL", "cuMemHostAlloc:1:1")
	if _, err := tr.stepper.step(2, 0.01); err != nil { // the same batch again
		t.Fatal(err)
	}
	if err := tr.Save(io.Discard, nil); err != nil {
		t.Error(err)
	}
}
