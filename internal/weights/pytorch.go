package weights

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

var zipMagic = []byte("PK\x03\x04")

// maxViews is how many times a file's bytes may be part of its tensors: weights
// that two layers share, or slices of one tensor.
const maxViews = 8

// container is a form of PyTorch's files.
type container interface {
	// object is the value that was saved.
	object() (any, error)
	// locate says where a record begins that object referred to, and makes sure that
	// it is as long as object said.
	locate(storage) (offset int64, err error)
}

// isPyTorch reports whether a file begins like a zip archive or a pickle.
func isPyTorch(prefix []byte) bool {
	pickle := prefix[0] == 0x80 && prefix[1] >= 2 && prefix[1] <= 5
	return pickle || bytes.HasPrefix(prefix, zipMagic)
}

func (f *File) openContainer(prefix []byte, size int64, limits Limits) (container, error) {
	if bytes.HasPrefix(prefix, zipMagic) {
		return f.openArchive(size, limits)
	}
	return f.openLegacy(size, limits), nil
}

// readPyTorch reads what torch.save wrote.
func (f *File) readPyTorch(prefix []byte, size int64, limits Limits) error {
	c, err := f.openContainer(prefix, size, limits)
	if err != nil {
		return err
	}
	root, err := c.object()
	if err != nil {
		return err
	}
	tensors, err := stateDict(root)
	if err != nil {
		return fmt.Errorf("pickle: %w", err)
	}
	room := size * maxViews
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		e, err := newEntry(name, tensors[name], c, limits)
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

// newEntry places a tensor in the file, if its storage holds it.
func newEntry(name string, v *view, c container, limits Limits) (entry, error) {
	if err := checkName(name, limits); err != nil {
		return entry{}, err
	}
	info := Info{name, v.dtype, v.shape}
	size, err := info.bytes()
	if err != nil {
		return entry{}, err
	}
	offset, err := c.locate(v.storage)
	if err != nil {
		return entry{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	width := int64(v.dtype.Size())
	if size > int64(v.len)*width || !v.fits() {
		return entry{}, fmt.Errorf("tensor %q: shape %v with strides %v from %d on does not fit a storage of %d", name, v.shape, v.strides, v.offset, v.len)
	}
	e := entry{Info: info, offset: offset + int64(v.start+v.offset)*width, size: size}
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
