package pipeline

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/surrogaze/surrogaze/storage"
)

// quarantine lists the rows that a stage cannot use, and ends the stage when they
// are too many. It is safe for concurrent use.
type quarantine struct {
	mutex sync.Mutex
	list  *storage.Quarantine
	rows  int64 // of the stage, bad ones included
	share float64
	path  string // of the list that people are pointed to
}

// openQuarantine goes on with the quarantine of a draft.
func (p *Pipeline) openQuarantine(d draft, rows int64) (*quarantine, error) {
	list, err := storage.OpenQuarantine(d.Path(quarantineName))
	if err != nil {
		return nil, err
	}
	return &quarantine{list: list, rows: rows, share: p.cfg.Data.MaxBad, path: p.outPath(quarantineName)}, nil
}

// add lists a row. It is durable before any later sample can be.
func (q *quarantine) add(row *storage.RowError) error {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if err := q.list.Add(row); err != nil {
		return err
	}
	return q.list.Sync()
}

// addWithin lists a row, unless there are too many: where looking at the others is dear.
func (q *quarantine) addWithin(ctx context.Context, row *storage.RowError) error {
	if err := q.add(row); err != nil {
		return err
	}
	return q.check(ctx, false)
}

// check returns an error where too many rows of all, or of those yet looked at, are
// listed.
func (q *quarantine) check(ctx context.Context, all bool) error {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return dataError(ctx, q.list.Check(q.rows, q.share, all, q.path))
}

// checkUnusable holds the list of an artefact with so many samples against max_bad, which
// may have been another when it was made.
func (p *Pipeline) checkUnusable(ctx context.Context, list string, samples int) error {
	q, err := storage.ReadQuarantine(list)
	if err != nil {
		return err
	}
	return dataError(ctx, q.Check(int64(samples+q.Len()), p.cfg.Data.MaxBad, true, p.outPath(quarantineName)))
}

func (q *quarantine) has(source string, row int64) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.list.Has(source, row)
}

func (q *quarantine) count() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.list.Len()
}

// excluded counts the rows for summaries.
func (q *quarantine) excluded() []Excluded {
	n := q.count()
	if n == 0 {
		return nil
	}
	return []Excluded{{"unusable, listed in " + quarantineName, n}}
}

func (q *quarantine) close() error { return q.list.Close() }

// withQuarantine is err, after the lists were joined in the folder of the results if it
// is one of the data.
func (p *Pipeline) withQuarantine(err error, lists ...string) error {
	if data := (*DataError)(nil); !errors.As(err, &data) {
		return err
	}
	if noted := p.results.note(quarantineName); noted != nil {
		return errors.Join(err, noted)
	}
	return errors.Join(err, p.writeQuarantine(lists...))
}

// writeQuarantine joins lists of unusable rows into one in the folder of the
// results.
func (p *Pipeline) writeQuarantine(lists ...string) error {
	var joint []byte
	for _, path := range lists {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		joint = append(joint, text...)
	}
	return p.writeOut(quarantineName, joint)
}
