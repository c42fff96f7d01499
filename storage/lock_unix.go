//go:build unix

package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// fileLock is a lock file that this process has.
type fileLock struct {
	path string
	file *os.File
}

// lockFile takes an flock on a file, which is made. The kernel gives it back when the
// process ends, however it ends. It is a regular file opened for writing because NFS
// passes locks on to its server of such files alone. The error is errLocked where
// another has it, and fs.ErrNotExist where its last holder removed it meanwhile.
func lockFile(path string) (*fileLock, error) {
	// All who may write in the folder may take the lock.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	l := &fileLock{path, f}
	if err := l.take(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *fileLock) take() error {
	if err := flock(l.file, syscall.LOCK_EX); err != nil {
		return err
	}
	if err := l.checkNamed(); err != nil {
		return err
	}
	return l.write(lockText())
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		case err != nil:
			return fmt.Errorf("lock %q: %w", f.Name(), err)
		}
		return nil
	}
}

// checkNamed reports fs.ErrNotExist where the file has lost its name.
func (l *fileLock) checkNamed() error {
	locked, err := l.file.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if !os.SameFile(locked, now) {
		return fs.ErrNotExist
	}
	return nil
}

func (l *fileLock) write(text []byte) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt(text, 0)
	return err
}

// Close removes the file and lets go of the lock, in this order: who opened the file
// meanwhile finds that it has lost its name.
func (l *fileLock) Close() error {
	err := l.checkNamed()
	switch {
	case err == nil:
		err = os.Remove(l.path)
	case errors.Is(err, fs.ErrNotExist): // somebody else removed it
		err = nil
	}
	return errors.Join(err, l.file.Close())
}

// isLocked reports whether a process has the lock of a file. It changes nothing, though
// whoever wants the lock at the same moment may find it taken.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = flock(f, syscall.LOCK_SH)
	locked := errors.Is(err, errLocked)
	if locked {
		err = nil
	}
	return locked, errors.Join(err, f.Close())
}
