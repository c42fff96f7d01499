package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder is the process that has a lock.
type Holder struct {
	PID  int    // 0 if unknown
	Host string // "" if unknown
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	text := "process " + strconv.Itoa(h.PID)
	if h.Host != "" {
		text += " on " + h.Host
	}
	return text
}

// lockText is what a lock file says of this process.
func lockText() []byte {
	host, err := os.Hostname()
	if err != nil { // the lock holds without it
		host = ""
	}
	return fmt.Appendf(nil, "%d %s\n", os.Getpid(), host)
}

// readHolder reads a lock file. What it does not say is unknown.
func readHolder(path string) Holder {
	text, err := os.ReadFile(path)
	if err != nil {
		return Holder{}
	}
	number, host, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return Holder{}
	}
	return Holder{pid, host}
}

// folderLockName is the file of a folder that is locked while a process writes there.
const folderLockName = ".lock"

// FolderLock is the right to write in a folder. No two processes have it at a time.
type FolderLock struct {
	dir  string
	lock *fileLock
	made []string // folders that were not there, the innermost first
}

// FolderLockedError says that another process writes in a folder.
type FolderLockedError struct {
	Dir string
	Holder
}

func (e *FolderLockedError) Error() string {
	return fmt.Sprintf("folder %q: %s is writing there", e.Dir, e.Holder)
}

// LockFolder takes the lock of a folder, which is made if need be. It does not wait:
// the error is a [*FolderLockedError] where another has it. The lock ends with its
// process, however that ends.
func LockFolder(dir string) (*FolderLock, error) {
	path := filepath.Join(dir, folderLockName)
	for {
		made := missing(dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("lock folder: %w", err)
		}
		lock, err := lockFile(path)
		switch {
		case errors.Is(err, errLocked):
			return nil, &FolderLockedError{dir, readHolder(path)}
		case errors.Is(err, fs.ErrNotExist):
			continue // its last holder has removed it
		case err != nil:
			return nil, fmt.Errorf("lock folder: %w", err)
		}
		return &FolderLock{dir, lock, made}, nil
	}
}

// missing are a folder and those above it that are not there.
func missing(dir string) []string {
	var list []string
	for !exists(dir) {
		list = append(list, dir)
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return list
}

// Release gives the lock back. Folders that LockFolder made and nothing was put into
// are removed.
func (l *FolderLock) Release() error {
	err := l.lock.Close()
	for _, dir := range l.made {
		if os.Remove(dir) != nil { // not empty
			break
		}
	}
	return err
}

// FolderEntries are the names in a folder but for that of its lock, none if there is
// no such folder.
func FolderEntries(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.Name() != folderLockName {
			names = append(names, e.Name())
		}
	}
	return names, err
}
