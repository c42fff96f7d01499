package pipeline

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// fingerprints are those of what a run reads from outside. Each is taken once: what a
// pipeline reads is to stay as it is while that lives. They are safe for concurrent use.
type fingerprints struct {
	mutex sync.Mutex
	known map[string]string
}

// of is the fingerprint of what a key of the configuration leads to.
func (f *fingerprints) of(ctx context.Context, key string, take func() (string, error)) (string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if sum, is := f.known[key]; is {
		return sum, nil
	}
	sum, err := take()
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, dataError(ctx, err))
	}
	if f.known == nil {
		f.known = map[string]string{}
	}
	f.known[key] = sum
	return sum, nil
}

// taskRead names the taking of fingerprints in events.
const taskRead Stage = "data"

// patience is how long the program may look as if it hung.
const patience = 2 * time.Second

// sayAfter tells that something is going on if it has not ended after a while. The
// caller calls ended in the end.
func (s *stageEvents) sayAfter(wait time.Duration, text string) (ended func()) {
	said := make(chan struct{})
	timer := time.AfterFunc(wait, func() {
		defer close(said)
		s.start(text)
	})
	return func() {
		if !timer.Stop() {
			<-said
			s.end(text)
		}
	}
}
