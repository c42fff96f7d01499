package pipeline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/surrogaze/surrogaze/storage"
)

// outPath is a path in the folder of the results.
func (p *Pipeline) outPath(elem ...string) string {
	return filepath.Join(append([]string{p.Out()}, elem...)...)
}

// place lays a file or folder of an artefact into the folder of the results,
// replacing what was there as a whole, unless something of others has come there. Files
// are hard links where the file system allows, so that large data sets lie on disk once.
func (p *Pipeline) place(from string, elem ...string) error {
	to, name := p.outPath(elem...), path.Join(elem...)
	if same(from, to) {
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := p.results.check(part{name: name, folder: info.IsDir()}); err != nil {
		return err
	}
	if info.IsDir() {
		if err := p.results.own(name, files(from)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("lay out %q: %w", to, err)
	}
	draft := storage.TemporaryName(to)
	err = mirror(from, draft)
	if err == nil {
		err = swap(draft, to)
	}
	if err != nil {
		return fmt.Errorf("lay out %q: %w", to, errors.Join(err, os.RemoveAll(draft)))
	}
	return nil
}

// same reports whether to is a link to every file of from, and holds nothing else.
func same(from, to string) bool {
	a, b := files(from), files(to)
	if len(a) == 0 || len(a) != len(b) {
		return false
	}
	for rel, info := range a {
		if other, ok := b[rel]; !ok || !os.SameFile(info, other) {
			return false
		}
	}
	return true
}

// files lists the files below a path, by the path from it.
func files(root string) map[string]fs.FileInfo {
	list := map[string]fs.FileInfo{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		list[rel] = info
		return err
	})
	if err != nil {
		return nil
	}
	return list
}

// mirror makes to a copy of the file or folder from.
func mirror(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return storage.AtomicWrite(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// swap puts draft in the place of what to holds. Between the two renames of a
// folder there is nothing of that name; the next run lays it out again.
func swap(draft, to string) error {
	old := storage.TemporaryName(to)
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(draft, to); err != nil {
		return err
	}
	return os.RemoveAll(old)
}
