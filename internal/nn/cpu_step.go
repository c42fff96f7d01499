package nn

import (
	"math"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// cpuStepper takes training steps on the CPU.
type cpuStepper struct {
	*cpu
	updates *updates
	exec    *executor // of the updates
	// statistics are the parameters that a forward pass moves.
	statistics []statistic
}

// statistic is a batch norm's running statistic and what it was before a step.
type statistic struct {
	*Param
	before []float32
}

func (c *cpu) stepper(o Optimizer, profile *Profile) (stepper, error) {
	u := newUpdates(c.list, c.env, o)
	s := &cpuStepper{cpu: c, updates: u, exec: newExecutor(profile.around(u, o), c.env.Workers)}
	c.moves = true
	for _, p := range c.list.statistics() {
		s.statistics = append(s.statistics, statistic{p, make([]float32, len(p.Data))})
	}
	return s, nil
}

func (s *cpuStepper) moments() *Params { return s.updates.moments }

func (s *cpuStepper) step(count int, rate float64) (float32, error) {
	for _, x := range s.statistics {
		copy(x.before, x.Data)
	}
	if err := s.run(); err != nil {
		return 0, err
	}
	loss := s.list.loss.data[0]
	if l := float64(loss); math.IsNaN(l) || math.IsInf(l, 0) {
		for _, x := range s.statistics {
			copy(x.Data, x.before)
		}
		return loss, nil
	}
	s.updates.set(count, rate)
	s.exec.run()
	return loss, nil
}

// hostFeed is a batch in the host's memory.
type hostFeed struct {
	list  *listing
	batch Batch
}

func (s *cpuStepper) batch() (feed, error) {
	f := hostFeed{s.list, Batch{}}
	for name, v := range s.list.inputs {
		f.batch[name] = make([]float32, len(v.data))
	}
	return f, nil
}

func (f hostFeed) buffers() ImageBatch { return ImageBatch{Batch: f.batch, Images: f.list.images()} }

func (f hostFeed) send() error { return nil }

func (f hostFeed) load() error {
	for name, v := range f.list.inputs {
		copy(v.data, f.batch[name])
	}
	return nil
}

// updates is the optimiser's step over all parameters of a program.
type updates struct {
	phases  []kernel.Phase
	moments *Params
	length  int // of all parameters
	sgd     kernel.SGD
	adam    kernel.Adam
}

func newUpdates(list *listing, env *kernel.Env, o Optimizer) *updates {
	u := &updates{moments: o.newMoments(list.params), sgd: o.sgd(), adam: o.adam()}
	for i, v := range list.params {
		w, g := v.param.Data, list.gradients[i].data
		moment := func(kind string) []float32 {
			if p := u.moments.byName[momentName(kind, v.param)]; p != nil {
				return p.Data
			}
			return nil
		}
		u.length += len(w)
		if o.Name == sgdName {
			u.phases = append(u.phases, kernel.SGDStep(env, &u.sgd, w, g, moment(velocityMoment))...)
		} else {
			u.phases = append(u.phases, kernel.AdamStep(env, &u.adam, w, g, moment(firstMoment), moment(secondMoment))...)
		}
	}
	return u
}

// set prepares the step that is the count-th, from 1, at a learning rate.
func (u *updates) set(count int, rate float64) {
	u.sgd.LR = float32(rate)
	u.sgd.First = count == 1
	u.adam.LR, u.adam.Step = rate, count
}
