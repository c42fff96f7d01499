package nn

import (
	"fmt"
	"math"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// gpuStepper takes training steps on a GPU: one graph that copies the inputs, computes
// the loss and its gradients and moves the parameters.
type gpuStepper struct {
	*gpu
	optimizer Optimizer
	state     *Params
	mirror    *mirror      // of the state
	number    *cuda.Host   // what the update reads of the step
	numberAt  *cuda.Memory // the same on the device
	before    []*cuda.Memory
}

func (m *gpu) stepper(o Optimizer, _ *Profile) (stepper, error) {
	s := &gpuStepper{gpu: m, optimizer: o, state: o.newMoments(m.list.params)}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("optimiser: %w", err)
	}
	return s, m.record(s.update)
}

func (s *gpuStepper) prepare() error {
	s.mirror = s.state.mirrors.on(s.device)
	if err := s.mirror.reserve(s.state.list); err != nil {
		return err
	}
	var err error
	if s.number, err = s.device.Host(kernels.StepStateSize); err != nil {
		return err
	}
	s.numberAt, err = s.device.Alloc(kernels.StepStateSize)
	return err
}

// update records the step of the optimiser.
func (s *gpuStepper) update(t *cuda.Tape) {
	table := s.table()
	memory, err := s.device.Alloc(int64(len(table.Bytes())))
	if err != nil {
		t.Fail(err)
		return
	}
	host, err := s.device.Host(len(table.Bytes()))
	if err != nil {
		t.Fail(err)
		return
	}
	copy(host.Bytes(), table.Bytes())
	if err := s.device.CopyIn(memory, host); err != nil {
		t.Fail(err)
		return
	}
	t.Keep(memory, s.mirror, s.number, s.numberAt)
	t.CopyIn(s.numberAt.At(0), s.number.Bytes())
	loss, state := s.address(s.list.loss), s.numberAt.At(0)
	_ = loss
	if s.optimizer.Name == "sgd" {
		h := s.optimizer.sgd()
		t.Launch(kernels.SGD(memory.At(0), table.Len(), state, h.Momentum, h.WeightDecay, h.Nesterov))
		return
	}
	t.Launch(kernels.Adam(memory.At(0), table.Len(), state))
}

// table lists the parameters with their gradients and moments.
func (s *gpuStepper) table() *kernels.Table { return nil }

func (s *gpuStepper) moments() *Params { return s.state }

func (s *gpuStepper) step(count int, rate float64) (float32, error) {
	if err := s.mirror.push(); err != nil {
		return 0, err
	}
	if err := s.run(); err != nil {
		return 0, err
	}
	loss := s.list.loss.data[0]
	if l := float64(loss); math.IsNaN(l) || math.IsInf(l, 0) {
		return loss, nil
	}
	s.params.moved()
	s.mirror.moved()
	return loss, nil
}
