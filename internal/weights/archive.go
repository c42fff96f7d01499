package weights

import (
	"archive/zip"
	"errors"
	"fmt"
	"path"
)

// archive is a zip archive of torch.save's: a folder of the pickle data.pkl, the
// storages in data, and small records about the format.
type archive struct {
	file    *File
	size    int64
	limits  Limits
	folder  string
	records map[string]*zip.File
}

func (f *File) openArchive(size int64, limits Limits) (*archive, error) {
	z, err := zip.NewReader(f.r, size)
	if err != nil {
		return nil, fmt.Errorf("no zip archive, or a truncated one: %w", err)
	}
	a := &archive{file: f, size: size, limits: limits, records: make(map[string]*zip.File, len(z.File))}
	for _, r := range z.File {
		if a.records[r.Name] != nil {
			return nil, fmt.Errorf("record %q: more than one of this name", r.Name)
		}
		a.records[r.Name] = r
		if path.Base(r.Name) != "data.pkl" {
			continue
		}
		if a.folder != "" {
			return nil, fmt.Errorf("found pickles in %q and %q, want one", a.folder, path.Dir(r.Name))
		}
		a.folder = path.Dir(r.Name)
	}
	if a.folder == "" {
		return nil, errors.New("found a zip archive without data.pkl, want one of torch.save")
	}
	return a, nil
}

// object is the value of data.pkl.
func (a *archive) object() (any, error) {
	if err := a.checkByteOrder(); err != nil {
		return nil, err
	}
	offset, size, err := a.find("data.pkl", a.limits.Header)
	if err != nil {
		return nil, err
	}
	root, err := newUnpickler(a.file.r, offset, size, a.limits).load()
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	return root, nil
}

func (a *archive) checkByteOrder() error {
	if a.records[path.Join(a.folder, "byteorder")] == nil {
		return nil // from before PyTorch 2.1
	}
	offset, size, err := a.find("byteorder", 16)
	if err != nil {
		return err
	}
	order := make([]byte, size)
	if err := readAt(a.file.r, order, offset); err != nil {
		return fmt.Errorf("byte order: %w", err)
	}
	if string(order) != "little" {
		return fmt.Errorf("byte order %q, want little", order)
	}
	return nil
}

// locate finds the record of a storage.
func (a *archive) locate(s storage) (int64, error) {
	offset, size, err := a.find("data/"+s.key, a.size)
	if err != nil {
		return 0, err
	}
	width := int64(s.dtype.Size())
	if size%width != 0 || size/width != int64(s.total) {
		return 0, fmt.Errorf("storage of %d bytes, want %d %s", size, s.total, s.dtype)
	}
	return offset, nil
}

// find finds the bytes of a record in the file, at most so many. torch.save compresses
// nothing, so that a record is as large as it says.
func (a *archive) find(name string, most int64) (offset, size int64, err error) {
	r := a.records[path.Join(a.folder, name)]
	if r == nil {
		return 0, 0, fmt.Errorf("record %.100q: not in the file", name)
	}
	if r.Method != zip.Store || r.CompressedSize64 != r.UncompressedSize64 {
		return 0, 0, fmt.Errorf("record %q: compressed, want it stored, as torch.save does", name)
	}
	offset, err = r.DataOffset()
	if err != nil {
		return 0, 0, fmt.Errorf("record %q: %w", name, err)
	}
	if offset > a.size || r.UncompressedSize64 > uint64(a.size-offset) {
		return 0, 0, fmt.Errorf("record %q: its %d bytes end past the file's %d: truncated", name, r.UncompressedSize64, a.size)
	}
	size = int64(r.UncompressedSize64)
	if size > most {
		return 0, 0, fmt.Errorf("record %q: %d bytes, want at most %d", name, size, most)
	}
	return offset, size, nil
}
