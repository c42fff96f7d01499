package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/surrogaze/surrogaze/storage"
)

// recordName is the file of an artefact that says how it was made.
const recordName = "making.json"

// record says how long making an artefact took and on what its steps were computed,
// over all processes that worked on it. What a killed process had spent since its
// start is not counted; its steps are.
type record struct {
	Seconds float64       `json:"seconds"`
	Ran     []storage.Ran `json:"ran"`
	// Sources are the sets that rows are read from, of an artefact that lists those that
	// cannot be used by them.
	Sources []string `json:"sources,omitempty"`
	// Failure is the error that ended the last try; "" if that goes on, was interrupted
	// or succeeded.
	Failure string `json:"failure,omitempty"`

	path  string
	began time.Time
	mutex sync.Mutex
	seen  bool // whether this process has told a step
}

// openRecord goes on with the record of a draft on what this process runs on.
func openRecord(path string, on storage.Ran) (*record, error) {
	r, err := readRecord(path)
	if err != nil {
		return nil, err
	}
	r.path, r.began, r.Failure = path, time.Now(), ""
	if n := len(r.Ran); n > 0 {
		on.From = r.Ran[n-1].To
	}
	on.To = on.From
	r.Ran = append(r.Ran, on)
	return r, r.save()
}

func readRecord(path string) (*record, error) {
	r := &record{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return r, nil
}

// step tells that so many steps are done. The first one that a process tells shows
// where it went on, and so how far the one before it had come.
func (r *record) step(done int64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	last := len(r.Ran) - 1
	if !r.seen {
		r.seen = true
		r.Ran[last].From = max(done-1, 0)
		if last > 0 {
			r.Ran[last-1].To = r.Ran[last].From
		}
	}
	r.Ran[last].To = max(r.Ran[last].To, done)
}

// close writes the record of a try that ended with err, nil if it succeeded or was
// interrupted. Neighbours that ran on the same are one.
func (r *record) close(err error) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err != nil {
		r.Failure = err.Error()
	}
	r.Seconds += time.Since(r.began).Seconds()
	var joint []storage.Ran
	for _, x := range r.Ran {
		if n := len(joint); n > 0 && alike(joint[n-1], x) {
			joint[n-1].To = x.To
			continue
		}
		joint = append(joint, x)
	}
	r.Ran = joint
	return r.save()
}

func alike(a, b storage.Ran) bool {
	a.From, a.To, b.From, b.To = 0, 0, 0, 0
	return a == b
}

func (r *record) save() error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return storage.AtomicWriteFile(r.path, text)
}

// took is how long making an artefact took.
func took(a *storage.Artefact) (time.Duration, error) {
	r, err := readRecord(a.Path(recordName))
	if err != nil {
		return 0, err
	}
	return time.Duration(r.Seconds * float64(time.Second)), nil
}
