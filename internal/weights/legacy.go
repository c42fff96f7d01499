package weights

import (
	"errors"
	"fmt"
	"io"
)

// What the legacy form begins with.
const (
	legacyNumber  long  = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
	legacyVersion int64 = 1001
)

// legacy is the form that torch.save wrote before PyTorch 1.6: pickles of a magic
// number, of a version, of what the machine was, of the object, and of the list of
// its storages' keys; then these storages in this order, each behind the number of
// its elements (8 bytes). Data are little endian on every machine.
type legacy struct {
	file      *File
	size      int64
	unpickler *unpickler
	offsets   map[string]int64 // of the storages, by key
}

func (f *File) openLegacy(size int64, limits Limits) *legacy {
	return &legacy{
		file:      f,
		size:      size,
		unpickler: newUnpickler(f.r, 0, min(size, limits.Header), limits),
		offsets:   map[string]int64{},
	}
}

// object reads all pickles, and finds the storages, whose lengths only they tell.
func (l *legacy) object() (any, error) {
	root, keys, err := l.unpickle()
	if limit := l.unpickler.end; errors.Is(err, io.ErrUnexpectedEOF) && limit < l.size {
		return nil, fmt.Errorf("pickles of more than %d bytes: %w", limit, err)
	}
	if err != nil {
		return nil, err
	}
	offset := l.unpickler.at
	for _, key := range keys.items {
		offset, err = l.skip(key, offset)
		if err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (l *legacy) unpickle() (root any, keys *list, err error) {
	if err := l.checkVersion(); err != nil {
		return nil, nil, err
	}
	if _, err := l.unpickler.load(); err != nil {
		return nil, nil, fmt.Errorf("machine: %w", err)
	}
	if root, err = l.unpickler.load(); err != nil {
		return nil, nil, fmt.Errorf("pickle: %w", err)
	}
	if keys, err = loadAs[*list](l.unpickler); err != nil {
		return nil, nil, fmt.Errorf("storages: %w", err)
	}
	return root, keys, nil
}

func (l *legacy) checkVersion() error {
	number, err := loadAs[long](l.unpickler)
	if err != nil {
		return fmt.Errorf("magic number: %w", err)
	}
	if number != legacyNumber {
		return fmt.Errorf("magic number: found %x, want %x", string(number), string(legacyNumber))
	}
	version, err := loadAs[int64](l.unpickler)
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	if version != legacyVersion {
		return fmt.Errorf("version %d, want %d", version, legacyVersion)
	}
	return nil
}

// skip notes where the data of the storage begin that lies at an offset, and says
// where they end.
func (l *legacy) skip(item any, offset int64) (end int64, err error) {
	key, ok := item.(string)
	if !ok {
		return 0, fmt.Errorf("storages: found %s for a key, want a string", describe(item))
	}
	s, ok := l.unpickler.records[key]
	if !ok {
		return 0, fmt.Errorf("storage %.100q: not in the pickle", key)
	}
	if _, ok := l.offsets[key]; ok {
		return 0, fmt.Errorf("storage %.100q: more than one of this key", key)
	}
	var total [8]byte
	if err := readAt(l.file.r, total[:], offset); err != nil {
		return 0, fmt.Errorf("storage %.100q: %w", key, err)
	}
	if found := le.Uint64(total[:]); found != uint64(s.total) {
		return 0, fmt.Errorf("storage %.100q: found %d elements, want %d", key, found, s.total)
	}
	offset += 8
	width := int64(s.dtype.Size())
	if int64(s.total) > (l.size-offset)/width {
		return 0, fmt.Errorf("storage %.100q: its %d %s end past the file's %d bytes: truncated", key, s.total, s.dtype, l.size)
	}
	l.offsets[key] = offset
	return offset + int64(s.total)*width, nil
}

func (l *legacy) locate(s storage) (int64, error) {
	offset, ok := l.offsets[s.key]
	if !ok {
		return 0, fmt.Errorf("storage %.100q: not in the file", s.key)
	}
	return offset, nil
}
