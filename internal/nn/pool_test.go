package nn

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

func TestEveryTaskRunsOnceAndPhasesRunInOrder(t *testing.T) {
	sizes := []int{3, 1, 0, 1, 40, 2, 1}
	for workers := 1; workers <= 5; workers++ {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			counts := make([][]atomic.Int32, len(sizes))
			var phases []kernel.Phase
			for i, n := range sizes {
				counts[i] = make([]atomic.Int32, n)
				phases = append(phases, kernel.Phase{Tasks: n, Run: func(task, worker int) {
					if worker < 0 || worker >= workers {
						t.Errorf("worker %d of %d", worker, workers)
					}
					for before := range i {
						for j := range counts[before] {
							if counts[before][j].Load() != counts[i][task].Load()+1 {
								t.Errorf("task %d of phase %d runs before task %d of phase %d", task, i, j, before)
							}
						}
					}
					counts[i][task].Add(1)
				}})
			}
			e := newExecutor(phases, workers)
			for run := range 50 {
				e.run()
				for i := range counts {
					for j := range counts[i] {
						if n := counts[i][j].Load(); n != int32(run+1) {
							t.Fatalf("task %d of phase %d ran %d times in %d runs", j, i, n, run+1)
						}
					}
				}
			}
		})
	}
}

func TestWorkersSleepWhileAnotherIsBusy(t *testing.T) {
	var ran atomic.Int32
	slow := kernel.Phase{Tasks: 3, Run: func(task, _ int) {
		if task == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		ran.Add(1)
	}}
	quick := kernel.Phase{Tasks: 2, Run: func(int, int) {
		if n := ran.Load(); n < 3 {
			t.Errorf("%d tasks of the phase before have run, want 3", n)
		}
	}}
	newExecutor([]kernel.Phase{slow, quick}, 3).run()
}

func TestStepsOfTrainingAllocateNothing(t *testing.T) {
	training := smallTraining()
	training.Options.Workers = 1
	trainer := newSmallTrainer(t, training)
	trainer.training.Steps = 100
	if n := testing.AllocsPerRun(20, func() {
		if _, err := trainer.take(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
