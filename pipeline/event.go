package pipeline

import (
	"sync"
	"time"
)

// Event is something that a person may want to see while a run goes on.
type Event struct {
	Kind  EventKind
	Stage Stage
	// Text says in a few words what happened or is going on.
	Text string
	// Done of Total, in Unit, are of a Progress; Total is 0 where it is unknown.
	Done, Total int64
	Unit        string
	// Took is of a Finished.
	Took time.Duration
}

// EventKind is what an event is about.
type EventKind uint8

// The kinds of events. A stage is Started and then Finished, or it is Skipped
// because its artefacts are there; Progress comes in between.
const (
	Started EventKind = iota
	Progress
	Finished
	Skipped
	Warning
)

// events passes events on, one at a time.
type events struct {
	mutex   sync.Mutex
	observe func(Event)
}

func newEvents(observe func(Event)) *events {
	if observe == nil {
		observe = func(Event) {}
	}
	return &events{observe: observe}
}

func (e *events) tell(event Event) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.observe(event)
}

// stageEvents tells of one stage, whose start is told when there is work to do.
type stageEvents struct {
	*events
	stage   Stage
	once    sync.Once
	began   time.Time
	started bool
}

func (e *events) of(stage Stage) *stageEvents { return &stageEvents{events: e, stage: stage} }

// start tells once that the stage has something to do.
func (s *stageEvents) start(text string) {
	s.once.Do(func() {
		s.began, s.started = time.Now(), true
		s.tell(Event{Kind: Started, Stage: s.stage, Text: text})
	})
}

func (s *stageEvents) progress(done, total int64, unit, text string) {
	s.tell(Event{Kind: Progress, Stage: s.stage, Text: text, Done: done, Total: total, Unit: unit})
}

func (s *stageEvents) warn(text string) { s.tell(Event{Kind: Warning, Stage: s.stage, Text: text}) }

// end tells that the stage is done: finished if it was started, else skipped.
func (s *stageEvents) end(text string) {
	if s.started {
		s.tell(Event{Kind: Finished, Stage: s.stage, Text: text, Took: time.Since(s.began)})
		return
	}
	s.tell(Event{Kind: Skipped, Stage: s.stage, Text: text})
}
