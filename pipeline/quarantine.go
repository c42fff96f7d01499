package pipeline

import (
	"context"
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
}

// openQuarantine goes on with the quarantine of a draft.
func (p *Pipeline) openQuarantine(d draft, rows int64) (*quarantine, error) {
	list, err := storage.OpenQuarantine(d.Path(quarantineName))
	if err != nil {
		return nil, err
	}
	return &quarantine{list: list, rows: rows, share: p.cfg.Data.MaxBad}, nil
}

// add lists a row. It is durable before any later sample can be.
func (q *quarantine) add(ctx context.Context, row *storage.RowError) error {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if err := q.list.Add(row); err != nil {
		return err
	}
	if err := q.list.Sync(); err != nil {
		return err
	}
	return dataError(ctx, q.list.Check(q.rows, q.share))
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
