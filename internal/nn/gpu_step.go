package nn

import (
	"fmt"
	"math"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// gpuStepper takes training steps on a GPU: one graph that computes the loss and its
// gradients and moves the parameters.
type gpuStepper struct {
	*gpu
	optimizer Optimizer
	state     *Params      // the moments
	mirror    *mirror      // of the moments
	number    *cuda.Host   // what the update reads of the step
	numberAt  *cuda.Memory // the same on the device
	before    []saved      // running statistics as they were before the step
}

// saved is a copy of some memory.
type saved struct{ memory, copy *cuda.Memory }

func (m *gpu) stepper(o Optimizer, profile *Profile) (stepper, error) {
	s := &gpuStepper{gpu: m, optimizer: o, state: o.newMoments(m.list.params)}
	m.moves = true
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("optimiser: %w", err)
	}
	var err error
	if m.tape, err = m.record(s.begin, s.end); err != nil {
		return nil, err
	}
	length := 0
	for _, v := range m.list.params {
		length += v.shape.Len()
	}
	m.measure(profile, o.operation(length, s.state))
	return s, nil
}

func (s *gpuStepper) prepare() error {
	s.mirror = s.state.mirrors.on(s.device)
	if err := s.mirror.reserve(s.state.list); err != nil {
		return err
	}
	for _, b := range s.params.blocks {
		if b.params[0].Trainable {
			continue
		}
		memory, err := s.device.Alloc(b.memory.Len())
		if err != nil {
			return err
		}
		s.before = append(s.before, saved{b.memory, memory})
	}
	var err error
	if s.number, err = s.device.Host(kernels.StepStateSize); err != nil {
		return err
	}
	s.numberAt, err = s.device.Alloc(kernels.StepStateSize)
	return err
}

// begin records what comes before the program.
func (s *gpuStepper) begin(t *cuda.Tape) {
	t.Keep(s.mirror, s.number, s.numberAt, s.before)
	t.CopyIn(s.numberAt.At(0), s.number.Bytes())
	for _, b := range s.before {
		t.Copy(b.copy.At(0), b.memory.At(0), b.memory.Len())
	}
}

// end records the optimiser's update, and how the results come to the host.
func (s *gpuStepper) end(t *cuda.Tape) {
	table := s.table()
	memory, err := s.upload(table.Bytes())
	if err != nil {
		t.Fail(fmt.Errorf("optimiser: %w", err))
		return
	}
	t.Keep(memory)
	at, n, state, loss := memory.At(0), table.Chunks(), s.numberAt.At(0), s.address(s.list.loss)
	if s.optimizer.Name == sgdName {
		t.Launch(kernels.SGDStep(s.sgd(), at, n, state, loss))
	} else {
		t.Launch(kernels.AdamStep(s.adam(), at, n, state, loss))
	}
	t.Operation()
	s.copyResults(t)
}

func (s *gpuStepper) sgd() kernels.SGD {
	h := s.optimizer.sgd()
	return kernels.SGD{Momentum: h.Momentum, WeightDecay: h.WeightDecay, Nesterov: h.Nesterov}
}

func (s *gpuStepper) adam() kernels.Adam {
	h := s.optimizer.adam()
	return kernels.Adam{Beta1: h.Beta1, Beta2: h.Beta2, Eps: h.Eps, WeightDecay: h.WeightDecay, Decoupled: h.Decoupled}
}

// upload is memory on the device that holds some bytes.
func (s *gpuStepper) upload(b []byte) (*cuda.Memory, error) {
	host, err := s.device.Host(len(b))
	if err != nil {
		return nil, err
	}
	copy(host.Bytes(), b)
	memory, err := s.device.Alloc(int64(len(b)))
	if err != nil {
		return nil, err
	}
	return memory, s.device.CopyIn(memory, host)
}

// table lists the parameters with their gradients and moments.
func (s *gpuStepper) table() *kernels.Table {
	t := &kernels.Table{}
	for i, v := range s.list.params {
		moment := func(kind string) kernels.Pointer {
			if p := s.state.byName[momentName(kind, v.param)]; p != nil {
				return s.mirror.at[p].values()
			}
			return 0
		}
		p := kernels.Parameter{Weight: s.address(v), Grad: s.address(s.list.gradients[i]), Copy: s.params.at[v.param].rounded(), Len: v.shape.Len()}
		if s.optimizer.Name == sgdName {
			p.First = moment(velocityMoment)
		} else {
			p.First, p.Second = moment(firstMoment), moment(secondMoment)
		}
		t.Add(p)
	}
	return t
}

func (s *gpuStepper) moments() *Params { return s.state }

func (s *gpuStepper) step(count int, rate float64) (float32, error) {
	state := s.adam().State(rate, count)
	if s.optimizer.Name == sgdName {
		state = s.sgd().State(float32(rate), count == 1)
	}
	copy(s.number.Bytes(), state.Bytes())
	if err := s.mirror.push(); err != nil {
		return 0, err
	}
	err := s.run()
	s.mirror.moved(err)
	if err != nil {
		return 0, err
	}
	loss := s.list.loss.data[0]
	if l := float64(loss); math.IsNaN(l) || math.IsInf(l, 0) {
		return loss, s.restore()
	}
	return loss, nil
}

// restore takes back what the forward pass moved.
func (s *gpuStepper) restore() error {
	for _, b := range s.before {
		if err := s.device.Copy(b.memory, b.copy); err != nil {
			s.params.moved(err)
			return err
		}
	}
	return nil
}
