//go:build unix

package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestALockOfAFileThatItsHolderRemovedIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	late := &fileLock{path, f}
	if err := late.take(); !errors.Is(err, errLocked) {
		t.Errorf("got error %v, want %v while it is held", err, errLocked)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := late.take(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v once it is removed", err, fs.ErrNotExist)
	}
	next, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.take(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v once another has the file of that name", err, fs.ErrNotExist)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
