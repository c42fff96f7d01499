//go:build unix

package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// lockFolder takes an flock on the folder itself. The kernel gives it back
// when the process ends, however it ends.
func lockFolder(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := lockAndCheck(f, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockAndCheck(f *os.File, dir string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	if err != nil {
		return fmt.Errorf("lock %q: %w", dir, err)
	}
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(dir)
	if err != nil {
		return err
	}
	// The holder before us may have renamed or removed the folder.
	if !os.SameFile(locked, now) {
		return fs.ErrNotExist
	}
	return nil
}
