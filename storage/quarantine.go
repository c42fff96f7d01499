package storage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Quarantine is a file that lists the rows that cannot be used, as one JSON object
// a line: {"source", "row", "id", "reason"}. Writing it can go on after a crash. It
// is not safe for concurrent use.
type Quarantine struct {
	path    string
	file    *os.File
	seen    map[quarantined]bool
	reasons []string // the first few
}

// quarantined is what tells one row from another.
type quarantined struct {
	Source string `json:"source"`
	Row    int64  `json:"row"`
}

type quarantineLine struct {
	quarantined
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// shownReasons is the number of reasons in the error of Check.
const shownReasons = 3

// OpenQuarantine opens the file, or makes it. A last line that a crash left
// unfinished is cut off.
func OpenQuarantine(path string) (*Quarantine, error) {
	q := &Quarantine{path: path, seen: map[quarantined]bool{}}
	if err := q.open(); err != nil {
		return nil, fmt.Errorf("open quarantine %q: %w", path, reason(err))
	}
	return q, nil
}

// ReadQuarantine reads a file that is not gone on with.
func ReadQuarantine(path string) (*Quarantine, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read quarantine %q: %w", path, reason(err))
	}
	q := &Quarantine{path: path, file: file, seen: map[quarantined]bool{}}
	_, err = q.read()
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read quarantine %q: %w", path, reason(err))
	}
	return q, nil
}

func (q *Quarantine) open() (err error) {
	q.file, err = os.OpenFile(q.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	whole, err := q.read()
	if err == nil {
		err = q.file.Truncate(whole)
	}
	if err == nil {
		_, err = q.file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, q.file.Close())
	}
	return nil
}

// read takes in the lines that are there and returns their length.
func (q *Quarantine) read() (whole int64, err error) {
	r := bufio.NewReader(q.file)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, checkTorn(text)
		}
		if err != nil {
			return 0, err
		}
		var line quarantineLine
		if err := json.Unmarshal(text, &line); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		q.note(line)
		whole += int64(len(text))
	}
}

// checkTorn refuses to cut off what is not the beginning of one of our lines.
func checkTorn(text []byte) error {
	const start = `{"source":`
	if n := min(len(text), len(start)); string(text[:n]) != start[:n] {
		return fmt.Errorf("found %.20q at the end, want lines that begin with %s", text, start)
	}
	return nil
}

func (q *Quarantine) note(line quarantineLine) {
	q.seen[line.quarantined] = true
	if len(q.reasons) < shownReasons {
		e := RowError{Source: line.Source, Row: line.Row, ID: line.ID, Err: errors.New(line.Reason)}
		q.reasons = append(q.reasons, e.Error())
	}
}

// Add lists a row, unless it is listed already. The line is durable after Sync.
func (q *Quarantine) Add(e *RowError) error {
	line := quarantineLine{quarantined{e.Source, e.Row}, e.ID, e.Err.Error()}
	if q.seen[line.quarantined] {
		return nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // for the reader's eye
	if err := enc.Encode(line); err != nil {
		return fmt.Errorf("write quarantine %q: %w", q.path, err)
	}
	if _, err := q.file.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write quarantine %q: %w", q.path, reason(err))
	}
	q.note(line)
	return nil
}

// Has reports whether a row is listed.
func (q *Quarantine) Has(source string, row int64) bool { return q.seen[quarantined{source, row}] }

// Len is the number of rows listed.
func (q *Quarantine) Len() int { return len(q.seen) }

// Check returns an error where more than the given share of rows, counted with the
// bad ones, is listed. The error names the first reasons, and the file where people
// find the list; unless all rows were looked at, it says that they were not.
func (q *Quarantine) Check(rows int64, maxShare float64, all bool, list string) error {
	if float64(q.Len()) <= maxShare*float64(rows) {
		return nil
	}
	found := fmt.Sprintf("%d of %d rows (%.3g %%)", q.Len(), rows, 100*float64(q.Len())/float64(rows))
	listed := fmt.Sprintf("all are in %q", list)
	if !all {
		found, listed = "at least "+found, fmt.Sprintf("stopped there; those found are in %q", list)
	}
	return fmt.Errorf("%s cannot be used, want at most %.3g %% (%s), the first: %s", found, 100*maxShare, listed, strings.Join(q.reasons, "; "))
}

// Sync makes the lines durable.
func (q *Quarantine) Sync() error {
	if err := q.file.Sync(); err != nil {
		return fmt.Errorf("write quarantine %q: %w", q.path, reason(err))
	}
	return nil
}

// Close makes the lines durable and closes the file.
func (q *Quarantine) Close() error { return errors.Join(q.Sync(), q.file.Close()) }
