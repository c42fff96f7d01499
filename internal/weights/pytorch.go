package weights

import (
	"archive/zip"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
)

var (
	zipMagic    = []byte("PK\x03\x04")
	legacyMagic = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9") // a pickle of PyTorch's magic number
)

var errLegacy = errors.New("found PyTorch's format of before version 1.6, want the zip form: " +
	"save it again with torch.save(torch.load(FILE, map_location=\"cpu\", weights_only=True), NEW)")

// maxViews is how many times a file's bytes may be part of its tensors: weights
// that two layers share, or slices of one tensor.
const maxViews = 8

// readPyTorch reads what torch.save wrote.
func (f *File) readPyTorch(size int64, limits Limits) error {
	a, err := f.openArchive(size)
	if err != nil {
		return err
	}
	pickle, err := a.pickle(limits)
	if err != nil {
		return err
	}
	root, err := unpickle(pickle, limits)
	if err != nil {
		return fmt.Errorf("pickle: %w", err)
	}
	tensors, err := stateDict(root)
	if err != nil {
		return fmt.Errorf("pickle: %w", err)
	}
	room := size * maxViews
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		e, err := a.entry(name, tensors[name], limits)
		if err != nil {
			return err
		}
		if room -= max(e.size, e.extent()); room < 0 {
			return fmt.Errorf("tensors share their data: found more than %d times the file's %d bytes", maxViews, size)
		}
		f.tensors = append(f.tensors, e)
	}
	return nil
}

// archive is a zip archive of torch.save's: a folder of the pickle data.pkl, the
// storages in data, and small records about the format.
type archive struct {
	file    *File
	size    int64
	folder  string
	records map[string]*zip.File
}

func (f *File) openArchive(size int64) (*archive, error) {
	z, err := zip.NewReader(f.r, size)
	if err != nil {
		return nil, err
	}
	a := &archive{file: f, size: size, records: make(map[string]*zip.File, len(z.File))}
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

// pickle is the content of data.pkl.
func (a *archive) pickle(limits Limits) ([]byte, error) {
	if err := a.checkByteOrder(); err != nil {
		return nil, err
	}
	return a.read("data.pkl", limits.Header)
}

func (a *archive) checkByteOrder() error {
	if a.records[path.Join(a.folder, "byteorder")] == nil {
		return nil // from before PyTorch 2.1
	}
	order, err := a.read("byteorder", 16)
	if err == nil && string(order) != "little" {
		err = fmt.Errorf("byte order %q, want little", order)
	}
	return err
}

// read is the content of a record of at most so many bytes.
func (a *archive) read(name string, most int64) ([]byte, error) {
	offset, size, err := a.locate(name)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("record %q: %d bytes, want at most %d", name, size, most)
	}
	b := make([]byte, size)
	if err := readAt(a.file.r, b, offset); err != nil {
		return nil, fmt.Errorf("record %q: %w", name, err)
	}
	return b, nil
}

// locate finds the bytes of a record in the file. torch.save compresses nothing,
// so that a record is as large as it says.
func (a *archive) locate(name string) (offset, size int64, err error) {
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
	return offset, int64(r.UncompressedSize64), nil
}

// entry places a tensor in the file, if its storage holds it.
func (a *archive) entry(name string, v *view, limits Limits) (entry, error) {
	if err := checkName(name, limits); err != nil {
		return entry{}, err
	}
	info := Info{name, v.dtype, v.shape}
	size, err := info.bytes()
	if err != nil {
		return entry{}, err
	}
	offset, length, err := a.locate("data/" + v.key)
	if err != nil {
		return entry{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	width := int64(v.dtype.Size())
	if length%width != 0 || length/width != int64(v.len) {
		return entry{}, fmt.Errorf("tensor %q: storage of %d bytes, want %d %s", name, length, v.len, v.dtype)
	}
	if size > length || !v.fits() {
		return entry{}, fmt.Errorf("tensor %q: shape %v with strides %v from %d on does not fit a storage of %d", name, v.shape, v.strides, v.offset, v.len)
	}
	e := entry{Info: info, offset: offset + int64(v.offset)*width, size: size}
	if size > 0 && !v.inOrder() {
		e.strides = v.strides
	}
	return e, nil
}

// fits reports whether all elements lie in the storage.
func (v *view) fits() bool {
	room := v.len - v.offset
	if slices.Contains(v.shape, 0) {
		return room >= 0
	}
	room--
	for i, d := range v.shape {
		if d > 1 && v.strides[i] > max(0, room)/(d-1) {
			return false
		}
		room -= (d - 1) * v.strides[i]
	}
	return room >= 0
}

// inOrder reports whether the elements lie one after another in C order.
func (v *view) inOrder() bool {
	stride := 1
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.strides[i] != stride {
			return false
		}
		stride *= v.shape[i]
	}
	return true
}

// extent is the number of bytes from a tensor's first element to its last.
func (e entry) extent() int64 {
	if e.strides == nil {
		return e.size
	}
	last := 0
	for i, d := range e.Shape {
		last += (d - 1) * e.strides[i]
	}
	return int64(last+1) * int64(e.DType.Size())
}

// gather puts the elements of a tensor, from its first to its last as they lie in
// the file, in C order.
func (e entry) gather(src []byte) []byte {
	width := e.DType.Size()
	dst := make([]byte, 0, e.size)
	index := make([]int, len(e.Shape))
	for at := 0; ; {
		dst = append(dst, src[at*width:(at+1)*width]...)
		axis := len(index) - 1
		for ; axis >= 0 && index[axis] == e.Shape[axis]-1; axis-- {
			at -= index[axis] * e.strides[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return dst
		}
		index[axis]++
		at += e.strides[axis]
	}
}
