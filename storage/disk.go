package storage

import (
	"io"
	"io/fs"
	"os"
)

// disk is the file system as the writers of data sets see it; tests put one in
// its place that fails.
type disk interface {
	MkdirAll(path string) error
	Create(path string) (diskFile, error)
	Rename(from, to string) error
	RemoveAll(path string) error
	ReadDir(path string) ([]fs.DirEntry, error)
	SyncDir(path string) error
}

// diskFile is a file being written.
type diskFile interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the real file system.
type osDisk struct{}

func (osDisk) MkdirAll(path string) error { return os.MkdirAll(path, 0o755) }

func (osDisk) Create(path string) (diskFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) RemoveAll(path string) error { return os.RemoveAll(path) }

func (osDisk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// SyncDir makes renames and new names in a folder durable.
func (osDisk) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
