package nn

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// section is a run of phases between two barriers: one phase whose tasks the
// workers share, or several of one task each, which one worker runs in order.
type section struct {
	phases []kernel.Phase
	shared bool
	next   atomic.Int64 // the next task of a shared phase
}

// sections groups phases so that small operators cost no barrier of their own.
func sections(phases []kernel.Phase) []*section {
	var list []*section
	for _, p := range phases {
		switch {
		case p.Tasks == 0:
		case p.Tasks > 1:
			list = append(list, &section{phases: []kernel.Phase{p}, shared: true})
		case len(list) > 0 && !list[len(list)-1].shared:
			s := list[len(list)-1]
			s.phases = append(s.phases, p)
		default:
			list = append(list, &section{phases: []kernel.Phase{p}})
		}
	}
	return list
}

// executor runs sections on a fixed number of workers. Its goroutines live only
// as long as a call of run.
type executor struct {
	sections []*section
	workers  int
	arrived  atomic.Int64
	passed   atomic.Int64 // barriers passed in this run
	done     sync.WaitGroup
}

func (e *executor) run() {
	if e.workers == 1 {
		for _, s := range e.sections {
			for _, p := range s.phases {
				for t := range p.Tasks {
					p.Run(t, 0)
				}
			}
		}
		return
	}
	e.passed.Store(0)
	for _, s := range e.sections {
		s.next.Store(0)
	}
	e.done.Add(e.workers - 1)
	for w := 1; w < e.workers; w++ {
		go e.help(w)
	}
	e.work(0)
	e.done.Wait()
}

func (e *executor) help(worker int) {
	defer e.done.Done()
	e.work(worker)
}

func (e *executor) work(worker int) {
	for i, s := range e.sections {
		if s.shared {
			p := s.phases[0]
			for t := s.next.Add(1) - 1; t < int64(p.Tasks); t = s.next.Add(1) - 1 {
				p.Run(int(t), worker)
			}
		} else if worker == 0 {
			for _, p := range s.phases {
				p.Run(0, worker)
			}
		}
		e.barrier(int64(i + 1))
	}
}

// spins is how often a worker looks before it lets others run: barriers are
// short, and so is the time until the last worker arrives.
const spins = 2000

// barrier waits until all workers have finished a number of sections.
func (e *executor) barrier(sections int64) {
	if e.arrived.Add(1) == int64(e.workers) {
		e.arrived.Store(0)
		e.passed.Store(sections)
		return
	}
	for i := 0; e.passed.Load() < sections; i++ {
		if i >= spins {
			runtime.Gosched()
		}
	}
}
