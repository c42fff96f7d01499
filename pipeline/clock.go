package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/surrogaze/surrogaze/storage"
)

// clockName is the file of an artefact that says how long making it took.
const clockName = "time.json"

// clock measures the time that an artefact takes over all processes that worked
// on it; what a killed process had spent is lost.
type clock struct {
	path  string
	began time.Time
}

func startClock(path string) clock { return clock{path, time.Now()} }

func (c clock) stop() error {
	before, err := readClock(c.path)
	if err != nil {
		return err
	}
	text, err := json.Marshal(elapsed{(before + time.Since(c.began)).Seconds()})
	if err != nil {
		return err
	}
	return storage.AtomicWriteFile(c.path, text)
}

type elapsed struct {
	Seconds float64 `json:"seconds"`
}

func readClock(path string) (time.Duration, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var e elapsed
	if err := json.Unmarshal(text, &e); err != nil {
		return 0, fmt.Errorf("read %q: %w", path, err)
	}
	return time.Duration(e.Seconds * float64(time.Second)), nil
}
