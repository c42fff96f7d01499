package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Store keeps artefacts: folders <dir>/<kind>/<key>/ that never change once
// they have their name. What is being made lies in <dir>/<kind>/<key>.draft/
// and is continued after a crash. Any number of processes may use one store.
type Store struct {
	dir  string
	disk storeDisk
}

// ErrNotPublished is Lookup's answer where there is no artefact of that key.
var ErrNotPublished = errors.New("not published")

// ErrPublished is Draft's answer where the artefact exists already.
var ErrPublished = errors.New("published already")

// LockedError says that another draft of the same artefact is open.
type LockedError struct {
	Kind, Key string
	Holder
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being made by %s", name(e.Kind, e.Key), e.Holder)
}

// Artefact is a published artefact.
type Artefact struct {
	Dir      string
	Manifest Manifest
}

// Path is the path of a file of the artefact.
func (a *Artefact) Path(elem ...string) string {
	return filepath.Join(append([]string{a.Dir}, elem...)...)
}

// Entry is one artefact or draft of a store.
type Entry struct {
	Kind, Key string
	Dir       string
	Draft     bool
}

const (
	draftSuffix = ".draft"
	lockSuffix  = ".lock"
)

var (
	kindPattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	keyPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// OpenStore opens the store in a folder, which is made when the first draft
// needs it.
func OpenStore(dir string) (*Store, error) { return openStore(dir, osStoreDisk{}) }

func openStore(dir string, d storeDisk) (*Store, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("open store %q: want a folder, found a file", dir)
	}
	return &Store{dir: dir, disk: d}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(kind, key string) string { return filepath.Join(s.dir, kind, key) }

// lockPath is the file that is locked while an artefact is made. It lies beside the
// draft, which loses its name when it is published.
func (s *Store) lockPath(kind, key string) string {
	return filepath.Join(s.dir, kind, "."+key+lockSuffix)
}

func checkName(kind, key string) error {
	if !kindPattern.MatchString(kind) {
		return fmt.Errorf("kind %q: want lower-case letters, digits and '-'", kind)
	}
	if !keyPattern.MatchString(key) {
		return fmt.Errorf("key %q: want 64 hexadecimal digits", key)
	}
	return nil
}

// name is how messages call an artefact.
func name(kind, key string) string { return fmt.Sprintf("%s %.12s", kind, key) }

// Lookup finds a published artefact and holds its files against the manifest.
// The error is ErrNotPublished where there is none.
func (s *Store) Lookup(kind, key string) (*Artefact, error) {
	if err := checkName(kind, key); err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	a, err := readArtefact(s.path(kind, key), kind, key)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name(kind, key), err)
	}
	return a, nil
}

func readArtefact(dir, kind, key string) (*Artefact, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotPublished
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%q: want a folder, found a file", dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q has no %s, so it is no artefact: move it away", dir, manifestName)
	}
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", filepath.Join(dir, manifestName), err)
	}
	if m.Kind != kind || m.Key != key {
		return nil, fmt.Errorf("%q holds %s: move it away", dir, name(m.Kind, m.Key))
	}
	return &Artefact{Dir: dir, Manifest: m}, checkFiles(dir, m.Files)
}

func checkFiles(dir string, files []ManifestFile) error {
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Path)))
		switch {
		case err != nil:
			return fmt.Errorf("the artefact was changed after it was published (delete %q to make it anew): %w", dir, err)
		case info.Size() != f.Size:
			return fmt.Errorf("the artefact was changed after it was published (delete %q to make it anew): file %q has %d bytes, want %d",
				dir, f.Path, info.Size(), f.Size)
		}
	}
	return nil
}

// List finds all artefacts and drafts, sorted by kind and key. Names that
// begin with a dot are left alone; anything else that is none of the store's
// is an error.
func (s *Store) List() ([]Entry, error) {
	kinds, err := folders(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	var entries []Entry
	for _, kind := range kinds {
		names, err := folders(filepath.Join(s.dir, kind))
		if err != nil {
			return nil, fmt.Errorf("list store: %w", err)
		}
		for _, n := range names {
			key, draft := strings.CutSuffix(n, draftSuffix)
			if err := checkName(kind, key); err != nil {
				return nil, fmt.Errorf("list store: %q is none of its folders: %w", filepath.Join(s.dir, kind, n), err)
			}
			entries = append(entries, Entry{Kind: kind, Key: key, Draft: draft, Dir: filepath.Join(s.dir, kind, n)})
		}
	}
	return entries, nil
}

// folders are the names in a folder that do not begin with a dot, none if
// there is no such folder.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case !e.IsDir():
			return nil, fmt.Errorf("%q is none of its folders: want a folder, found a file", filepath.Join(dir, e.Name()))
		default:
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Draft is an artefact that is being made. It belongs to one process, and is
// not safe for concurrent use.
type Draft struct {
	Dir string
	// Resumed says that the folder was there already, with what an earlier
	// process had finished in it.
	Resumed bool

	kind, key string
	store     *Store
	lock      io.Closer
}

// Path is the path of a file of the draft.
func (d *Draft) Path(elem ...string) string {
	return filepath.Join(append([]string{d.Dir}, elem...)...)
}

// Draft opens the draft of an artefact, a new one or what a process that ended
// has left. End it with Publish, Close or Discard. The error is ErrPublished
// where the artefact exists, and a [*LockedError] where the draft is open
// already.
func (s *Store) Draft(kind, key string) (*Draft, error) {
	if err := checkName(kind, key); err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	d, err := s.draft(kind, key)
	if err != nil {
		return nil, fmt.Errorf("draft of %s: %w", name(kind, key), err)
	}
	return d, nil
}

// AwaitDraft is Draft, but waits while another process has the draft open. Before it
// does so for longer than a moment, it calls waiting once with who that is.
func (s *Store) AwaitDraft(ctx context.Context, kind, key string, waiting func(*LockedError)) (*Draft, error) {
	const interval = 100 * time.Millisecond
	for tries := 0; ; tries++ {
		d, err := s.Draft(kind, key)
		var locked *LockedError
		if !errors.As(err, &locked) {
			return d, err
		}
		if tries == 1 { // not of one who only looks whether it is open
			waiting(locked)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(interval):
		}
	}
}

// Maker says whether a process has the draft of an artefact open, and which.
func (s *Store) Maker(kind, key string) (Holder, bool, error) {
	path := s.lockPath(kind, key)
	locked, err := isLocked(path)
	if err != nil || !locked {
		return Holder{}, false, err
	}
	return readHolder(path), true, nil
}

func (s *Store) draft(kind, key string) (*Draft, error) {
	d := &Draft{Dir: s.path(kind, key) + draftSuffix, kind: kind, key: key, store: s}
	path := s.lockPath(kind, key)
	for d.lock == nil {
		if exists(s.path(kind, key)) {
			return nil, ErrPublished
		}
		if err := s.disk.MkdirAll(filepath.Dir(path)); err != nil {
			return nil, err
		}
		lock, err := s.disk.Lock(path)
		switch {
		case errors.Is(err, errLocked):
			return nil, &LockedError{kind, key, readHolder(path)}
		case errors.Is(err, fs.ErrNotExist):
			continue // published or discarded meanwhile
		case err != nil:
			return nil, err
		}
		d.lock = lock
	}
	if err := s.take(d); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// take makes the folder of a locked draft, or takes over what an earlier process has
// left, without the leftovers of interrupted writes.
func (s *Store) take(d *Draft) error {
	if exists(s.path(d.kind, d.key)) { // published after we had looked
		return ErrPublished
	}
	if d.Resumed = exists(d.Dir); d.Resumed {
		return s.sweep(d.Dir)
	}
	if err := s.disk.MkdirAll(d.Dir); err != nil {
		return err
	}
	if err := s.disk.SyncDir(filepath.Dir(d.Dir)); err != nil {
		return err
	}
	return s.disk.SyncDir(s.dir)
}

// sweep removes what interrupted atomic writes have left in a draft.
func (s *Store) sweep(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !isTemporary(e.Name()) {
			return err
		}
		return s.disk.RemoveAll(path)
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Close lets go of the draft and keeps its files, so that another process can
// continue. It does nothing after Publish, Discard or Close.
func (d *Draft) Close() error {
	if d.lock == nil {
		return nil
	}
	lock := d.lock
	d.lock = nil
	return lock.Close()
}

// Discard removes the draft with all that is in it.
func (d *Draft) Discard() error {
	if d.lock == nil {
		return nil
	}
	if err := d.store.disk.RemoveAll(d.Dir); err != nil {
		return errors.Join(fmt.Errorf("discard the draft of %s: %w", name(d.kind, d.key), err), d.Close())
	}
	return d.Close()
}
