package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
)

// WriteOverlays draws each prediction's map over its image, as PNG files in a new
// folder (an empty one may be there), up to workers at once. The folder appears when
// all are written or not at all. The names resemble the ids.
func WriteOverlays(ctx context.Context, dir string, workers int, rows iter.Seq2[Prediction, error]) error {
	return writeFolder(osStoreDisk{}, dir, func(draft string) error {
		work := make([]func([]overlay) ([]struct{}, error), max(workers, 1))
		for i := range work {
			work[i] = func(chunk []overlay) ([]struct{}, error) { return nil, writeEach(chunk, draft) }
		}
		cut := streams.Chunks[overlay]{Elements: 4, Bytes: func(o overlay) int { return len(o.image) }}
		for _, err := range streams.Map(ctx, overlays(rows), cut, work) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// overlay is a map to be drawn over an image.
type overlay struct {
	id, file        string
	image, saliency []byte
}

// overlays are those of predictions, with file names of their own.
func overlays(rows iter.Seq2[Prediction, error]) iter.Seq2[overlay, error] {
	return func(yield func(overlay, error) bool) {
		names := names{}
		for x, err := range rows {
			if err != nil {
				yield(overlay{}, err)
				return
			}
			if !yield(overlay{x.ID, names.pick(x.ID) + ".png", x.Image.Bytes, x.Map.Bytes}, nil) {
				return
			}
		}
	}
}

func writeEach(chunk []overlay, dir string) error {
	for _, o := range chunk {
		data, err := o.draw()
		if err != nil {
			return fmt.Errorf("overlay of %q: %w", o.id, err)
		}
		if err := os.WriteFile(filepath.Join(dir, o.file), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (o overlay) draw() ([]byte, error) {
	m, err := raster.Decode(o.image)
	if err != nil {
		return nil, err
	}
	p, err := raster.DecodeMap(o.saliency)
	if err != nil {
		return nil, err
	}
	return raster.EncodePNG(raster.Overlay(m, p))
}

// writeFolder makes a folder of what fill writes into one beside it, all or nothing.
func writeFolder(d storeDisk, dir string, fill func(draft string) error) error {
	entries, err := d.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("write %q: %w", dir, reason(err))
	case len(entries) > 0:
		return fmt.Errorf("write %q: the folder holds %q: want a new or an empty one", dir, entries[0].Name())
	}
	draft := TemporaryName(filepath.Clean(dir))
	err = d.MkdirAll(draft)
	if err == nil {
		err = fill(draft)
	}
	if err == nil {
		_, err = settle(d, draft)
	}
	if err == nil && len(entries) == 0 {
		err = d.RemoveAll(dir) // an empty folder
	}
	if err == nil {
		err = d.Rename(draft, dir)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", dir, errors.Join(err, d.RemoveAll(draft)))
	}
	return d.SyncDir(filepath.Dir(draft))
}
