package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Publish gives the draft its name. What was written is made durable first:
// every file, then the manifest, then the folder; then the folder is renamed
// and its parent made durable. After a crash at any moment there is either the
// draft, which Draft finds, or the whole artefact.
//
// The manifest's recipe must be the one that the draft's key is of; key, files
// and, unless given, the time are filled in. The draft stays open if Publish
// returns an error before the renaming.
func (d *Draft) Publish(m Manifest) (*Artefact, error) {
	a, err := d.publish(m)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", name(d.kind, d.key), err)
	}
	return a, nil
}

func (d *Draft) publish(m Manifest) (*Artefact, error) {
	if d.lock == nil {
		return nil, errors.New("the draft is closed")
	}
	key, err := m.Recipe.Key()
	if err != nil {
		return nil, err
	}
	if m.Kind != d.kind || key != d.key {
		return nil, fmt.Errorf("the manifest is of %s", name(m.Kind, key))
	}
	if m.Files, err = settle(d.store.disk, d.Dir); err != nil {
		return nil, err
	}
	m.Key = key
	if m.Created.IsZero() {
		m.Created = time.Now().UTC().Truncate(time.Second)
	}
	text, err := m.encode()
	if err != nil {
		return nil, err
	}
	disk := d.store.disk
	if err := writeFile(disk, filepath.Join(d.Dir, manifestName), text); err != nil {
		return nil, err
	}
	if err := disk.SyncDir(d.Dir); err != nil {
		return nil, err
	}
	target := strings.TrimSuffix(d.Dir, draftSuffix)
	if err := disk.Rename(d.Dir, target); err != nil {
		return nil, err
	}
	return &Artefact{Dir: target, Manifest: m}, errors.Join(disk.SyncDir(filepath.Dir(target)), d.Close())
}

// settle makes every file and folder below dir durable, and lists the files
// that belong to the artefact.
func settle(d storeDisk, dir string) ([]ManifestFile, error) {
	files, folders := []ManifestFile{}, []string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			folders = append(folders, path)
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%q: want files and folders only, found %s", path, e.Type())
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == manifestName {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files = append(files, ManifestFile{Path: filepath.ToSlash(rel), Size: info.Size()})
		return d.Sync(path)
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(folders) // what is within comes first
	for _, f := range folders {
		if err := d.SyncDir(f); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// AtomicWrite replaces the file with what write gives. After a crash there is
// the old content or the new, never a part, and perhaps a leftover temporary file,
// whose name begins with a dot and which Sweep removes. Several processes may write
// to one path: it then holds what one of them wrote.
func AtomicWrite(path string, write func(io.Writer) error) error {
	return atomicWrite(osStoreDisk{}, path, write)
}

// AtomicWriteFile is AtomicWrite of bytes.
func AtomicWriteFile(path string, data []byte) error { return writeFile(osStoreDisk{}, path, data) }

func writeFile(d disk, path string, data []byte) error {
	return atomicWrite(d, path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func atomicWrite(d disk, path string, write func(io.Writer) error) error {
	temporary := TemporaryName(path)
	if err := writeDurably(d, temporary, write); err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", path, err), d.RemoveAll(temporary))
	}
	if err := d.Rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", path, err), d.RemoveAll(temporary))
	}
	if err := d.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

func writeDurably(d disk, path string, write func(io.Writer) error) error {
	f, err := d.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

var temporaryPattern = regexp.MustCompile(`^\..+\.[0-9a-f]{16}\.tmp$`)

// temporaryLength is that of what stands behind a file's name in that of its temporary.
const temporaryLength = len("0123456789abcdef.tmp")

// TemporaryName is a name beside a path for what is to take its place: another one
// each time, so that no two writers share it. Sweep removes what has such a name.
func TemporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%016x.tmp", filepath.Base(path), rand.Uint64()))
}

func isTemporary(name string) bool { return temporaryPattern.MatchString(name) }

// Sweep removes what interrupted calls of AtomicWrite to a path have left beside it.
// Nobody else may be writing to it.
func Sweep(path string) error {
	dir, start := filepath.Dir(path), "."+filepath.Base(path)+"."
	names, err := FolderEntries(dir)
	for _, name := range names {
		if isTemporary(name) && strings.HasPrefix(name, start) && len(name) == len(start)+temporaryLength {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
		}
	}
	return err
}

// storeDisk is what a store needs of the file system beyond the writers of
// data sets.
type storeDisk interface {
	disk
	// Sync makes the content of a file durable.
	Sync(path string) error
	// Lock takes the one lock of a file, which is there while it is locked, until it
	// is closed or the process ends. The error is errLocked where another has it, and
	// fs.ErrNotExist where the file lost its name meanwhile.
	Lock(path string) (io.Closer, error)
}

// osStoreDisk is the real file system.
type osStoreDisk struct{ osDisk }

func (osStoreDisk) Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (osStoreDisk) Lock(path string) (io.Closer, error) {
	lock, err := lockFile(path)
	if err != nil { // and not a nil of another type
		return nil, err
	}
	return lock, nil
}

var errLocked = errors.New("locked")
