package nn

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/surrogaze/surrogaze/internal/kernel"
)

// section is a phase whose tasks the workers share, or a row of phases of one task
// each, which are one task together.
type section struct {
	phases []kernel.Phase
	tasks  int64
	next   atomic.Int64 // the first task that nobody has taken
	done   atomic.Int64 // tasks that are finished
}

// sections groups phases so that small operators do not wait for one another's
// workers.
func sections(phases []kernel.Phase) []*section {
	var list []*section
	for _, p := range phases {
		last := len(list) - 1
		switch {
		case p.Tasks == 0:
		case p.Tasks == 1 && last >= 0 && list[last].tasks == 1:
			list[last].phases = append(list[last].phases, p)
		default:
			list = append(list, &section{phases: []kernel.Phase{p}, tasks: int64(p.Tasks)})
		}
	}
	return list
}

func (s *section) run(task, worker int) {
	for _, p := range s.phases {
		p.Run(task, worker)
	}
}

// executor runs sections one after another on a number of workers. A section is
// over when its tasks are, so that a worker that the system has put aside delays
// only the task it is at. Its goroutines live only as long as a call of run.
type executor struct {
	sections []*section
	workers  int
	helpers  sync.WaitGroup

	mutex   sync.Mutex
	ended   sync.Cond // of a section, for those who have waited long
	waiting atomic.Int64
}

func newExecutor(phases []kernel.Phase, workers int) *executor {
	e := &executor{sections: sections(phases), workers: workers}
	e.ended.L = &e.mutex
	return e
}

func (e *executor) run() {
	for _, s := range e.sections {
		s.next.Store(0)
		s.done.Store(0)
	}
	e.helpers.Add(e.workers - 1)
	for w := 1; w < e.workers; w++ {
		go e.help(w)
	}
	e.work(0)
	e.helpers.Wait()
}

func (e *executor) help(worker int) {
	defer e.helpers.Done()
	e.work(worker)
}

func (e *executor) work(worker int) {
	for _, s := range e.sections {
		for t := s.next.Add(1) - 1; t < s.tasks; t = s.next.Add(1) - 1 {
			s.run(int(t), worker)
			if s.done.Add(1) == s.tasks && e.waiting.Load() > 0 {
				e.wake()
			}
		}
		e.wait(s)
	}
}

// A worker whose colleagues are at their last tasks looks, then lets other
// goroutines run, and at last gives its core away.
const (
	looks  = 1000
	yields = 200
)

func (e *executor) wait(s *section) {
	for i := 0; s.done.Load() < s.tasks; i++ {
		switch {
		case i < looks:
		case i < looks+yields:
			runtime.Gosched()
		default:
			e.sleep(s)
		}
	}
}

func (e *executor) sleep(s *section) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.waiting.Add(1)
	defer e.waiting.Add(-1)
	for s.done.Load() < s.tasks {
		e.ended.Wait()
	}
}

func (e *executor) wake() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.ended.Broadcast()
}
