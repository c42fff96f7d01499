package storage

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// limited is an allocator for readers of files from outside: it panics, which
// guard turns into an error, where a damaged file asks for more than such a file
// can hold.
type limited struct {
	memory.Allocator
	limit int
}

// limitedAllocator allows for compression by a factor of 64 and more, which no
// image reaches.
func limitedAllocator(fileSize int64) memory.Allocator {
	const least, factor = 64 << 20, 64
	return &limited{memory.NewGoAllocator(), int(min(least+factor*fileSize, 1<<31))}
}

func (l *limited) Allocate(size int) []byte {
	l.check(size)
	return l.Allocator.Allocate(size)
}

func (l *limited) Reallocate(size int, b []byte) []byte {
	l.check(size)
	return l.Allocator.Reallocate(size, b)
}

func (l *limited) check(size int) {
	if size < 0 || size > l.limit {
		panic(fmt.Errorf("damaged: a block of %d bytes, want at most %d in a file of this size", size, l.limit))
	}
}
