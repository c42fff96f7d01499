package weights

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits bound what a file may cost before values are asked for. The data need
// none: they are read on demand, and are no larger than the file, or than eight
// times the file where tensors of PyTorch's share them.
type Limits struct {
	Header  int64 // bytes of the header, or of the pickles
	Ops     int   // operations of the pickles
	Tensors int
	Axes    int // of one tensor
	Name    int // bytes of a tensor's name
}

// DefaultLimits allow for every known model; the header's is the reference's.
var DefaultLimits = Limits{Header: 100_000_000, Ops: 2_000_000, Tensors: 1_000_000, Axes: 32, Name: 1024}

// File is an open file of either format. Values are read when they are asked for.
// Its methods may be called from several goroutines.
type File struct {
	meta    map[string]string
	tensors []entry // sorted by name
	r       io.ReaderAt
	close   func() error
}

// entry is a tensor and where its bytes lie in the file.
type entry struct {
	Info
	offset, size int64
	strides      []int // between elements along each axis; nil if in C order
}

// Open opens the file at path under the default limits, in the format that its
// first bytes tell.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file, err := Read(f, info.Size(), DefaultLimits)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	file.close = f.Close
	return file, nil
}

// Read reads and checks the description of the tensors in the size bytes of r: that
// every type is known and that shapes fit the data. Of safetensors the tensors must
// cover the data one after another, without gap or overlap. r must stay open as
// long as the File is used.
func Read(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	var prefix [9]byte
	if err := readAt(r, prefix[:max(0, min(size, 9))], 0); err != nil {
		return nil, err
	}
	f := &File{r: r, close: func() error { return nil }}
	if prefix[8] != '{' && isPyTorch(prefix[:]) {
		if err := f.readPyTorch(prefix[:], size, limits); err != nil {
			return nil, fmt.Errorf("read PyTorch file: %w", err)
		}
	} else if err := f.readSafetensors(le.Uint64(prefix[:]), size, limits); err != nil {
		return nil, fmt.Errorf("read safetensors: %w", err)
	}
	slices.SortFunc(f.tensors, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	return f, nil
}

// readSafetensors takes the length of the header, with which the file begins.
func (f *File) readSafetensors(length uint64, size int64, limits Limits) error {
	if size < 8 {
		return fmt.Errorf("found %d bytes, want at least 8", size)
	}
	if length > uint64(size-8) {
		return fmt.Errorf("header of %d bytes in a file of %d: truncated, or no safetensors file", length, size)
	}
	if length > uint64(limits.Header) {
		return fmt.Errorf("header of %d bytes, want at most %d", length, limits.Header)
	}
	header := make([]byte, length)
	if err := readAt(f.r, header, 8); err != nil {
		return err
	}
	if err := f.parse(header, limits); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	start := 8 + int64(length)
	return f.place(start, size-start)
}

// parse reads the header token by token, because a decoder into a map would let a
// second tensor of the same name replace the first.
func (f *File) parse(header []byte, limits Limits) error {
	if !utf8.Valid(header) {
		return errors.New("not UTF-8")
	}
	if len(header) == 0 || header[0] != '{' {
		return fmt.Errorf("found %q, want a JSON object", header[:min(len(header), 8)])
	}
	d := json.NewDecoder(bytes.NewReader(header))
	seen := map[string]bool{}
	err := members(d, func(name string) error {
		if seen[name] {
			return fmt.Errorf("tensor %q: more than one of this name", name)
		}
		seen[name] = true
		if name == metadataKey {
			return f.parseMetadata(d)
		}
		if err := checkName(name, limits); err != nil {
			return err
		}
		if len(f.tensors) == limits.Tensors {
			return fmt.Errorf("more than %d tensors", limits.Tensors)
		}
		e, err := parseEntry(d, name, limits)
		f.tensors = append(f.tensors, e)
		return err
	})
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if rest := bytes.TrimRight(header[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("found %q after the object", rest[:min(len(rest), 8)])
	}
	return nil
}

// members calls member for every key of the next object, the decoder standing
// before its value.
func members(d *json.Decoder, member func(key string) error) error {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return cmp.Or(err, fmt.Errorf("found %v, want an object", token))
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("found %v, want a name", token)
		}
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func checkName(name string, limits Limits) error {
	if len(name) > limits.Name {
		return fmt.Errorf("tensor %.40q...: a name of %d bytes, want at most %d", name, len(name), limits.Name)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("tensor %q: the name is not UTF-8", name)
	}
	return nil
}

func (f *File) parseMetadata(d *json.Decoder) error {
	f.meta = map[string]string{}
	return members(d, func(key string) error {
		var value *string
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
		if _, ok := f.meta[key]; ok {
			return fmt.Errorf("metadata %q: more than one of this name", key)
		}
		if value == nil {
			return fmt.Errorf("metadata %q: found null, want a string", key)
		}
		f.meta[key] = *value
		return nil
	})
}

// parseEntry reads one tensor's description; its offsets are still relative to
// the data.
func parseEntry(d *json.Decoder, name string, limits Limits) (entry, error) {
	var raw struct {
		DType   DType   `json:"dtype"`
		Shape   []int   `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	if err := d.Decode(&raw); err != nil {
		return entry{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if raw.Shape == nil || len(raw.Shape) > limits.Axes {
		return entry{}, fmt.Errorf("tensor %q: found %d axes or no shape, want 0 to %d", name, len(raw.Shape), limits.Axes)
	}
	info := Info{strings.Clone(name), raw.DType, raw.Shape}
	size, err := info.bytes()
	if err != nil {
		return entry{}, err
	}
	if len(raw.Offsets) != 2 || raw.Offsets[0] < 0 || raw.Offsets[1] < raw.Offsets[0] {
		return entry{}, fmt.Errorf("tensor %q: found data_offsets %v, want begin and end", name, raw.Offsets)
	}
	if found := raw.Offsets[1] - raw.Offsets[0]; found != size {
		return entry{}, fmt.Errorf("tensor %q: found %d bytes, want %d for %s %v", name, found, size, info.DType, info.Shape)
	}
	return entry{Info: info, offset: raw.Offsets[0], size: size}, nil
}

// place checks that the tensors tile the data and moves their offsets to the file's.
func (f *File) place(start, length int64) error {
	slices.SortFunc(f.tensors, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size))
	})
	end := int64(0)
	for i := range f.tensors {
		e := &f.tensors[i]
		switch {
		case e.offset < end:
			return fmt.Errorf("tensor %q: its data begin at %d, inside another tensor that ends at %d", e.Name, e.offset, end)
		case e.offset > end:
			return fmt.Errorf("tensor %q: its data begin at %d, want %d, where the one before ends", e.Name, e.offset, end)
		case e.size > length-end:
			return fmt.Errorf("tensor %q: its data end at %d, past the file's %d: truncated", e.Name, end+e.size, length)
		}
		end += e.size
		e.offset += start
	}
	if end != length {
		return fmt.Errorf("found %d bytes of data, want %d for the tensors of the header", length, end)
	}
	return nil
}

// readAt fills b; a reader that ends early is an unexpected end.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close closes what Open opened; after Read it does nothing.
func (f *File) Close() error { return f.close() }

// Metadata is the file's free text, nil if it has none. It belongs to the File.
func (f *File) Metadata() map[string]string { return f.meta }

// Tensors describes all tensors, sorted by name.
func (f *File) Tensors() []Info {
	infos := make([]Info, len(f.tensors))
	for i, e := range f.tensors {
		infos[i] = e.Info
	}
	return infos
}

// Info describes the tensor of that name.
func (f *File) Info(name string) (Info, bool) {
	e, ok := f.find(name)
	return e.Info, ok
}

func (f *File) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(f.tensors, name, func(e entry, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return entry{}, false
	}
	return f.tensors[i], true
}

// Float32 is the tensor of that name as float32: exact from F32, F16, BF16 and
// narrow integers, rounded from F64 and wide ones.
func (f *File) Float32(name string) ([]float32, error) {
	e, ok := f.find(name)
	if !ok {
		return nil, missing(name)
	}
	if err := f.covers(e); err != nil {
		return nil, err
	}
	dst := make([]float32, e.Len())
	return dst, f.ReadFloat32(name, dst)
}

// ReadFloat32 is Float32 into dst, whose length must be the tensor's. It takes no
// second copy of the data but of tensors that are not in C order.
func (f *File) ReadFloat32(name string, dst []float32) error {
	e, ok := f.find(name)
	if !ok {
		return missing(name)
	}
	decode, ok := decoders[e.DType]
	if !ok {
		return fmt.Errorf("tensor %q: cannot read %s as float32", name, e.DType)
	}
	if len(dst) != e.Len() {
		return fmt.Errorf("tensor %q: found %d values of shape %v, want %d", name, e.Len(), e.Shape, len(dst))
	}
	if e.strides != nil {
		raw, err := f.Raw(name)
		if err == nil {
			decode(dst, raw)
		}
		return err
	}
	size := e.DType.Size()
	buffer := make([]byte, min(int64(chunk), e.size))
	for offset := e.offset; len(dst) > 0; {
		n := min(chunk/size, len(dst))
		b := buffer[:n*size]
		if err := readAt(f.r, b, offset); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		decode(dst[:n], b)
		dst, offset = dst[n:], offset+int64(len(b))
	}
	return nil
}

// Raw is the tensor of that name in the file's type: little endian, C order.
func (f *File) Raw(name string) ([]byte, error) {
	e, ok := f.find(name)
	if !ok {
		return nil, missing(name)
	}
	if err := f.covers(e); err != nil {
		return nil, err
	}
	b := make([]byte, e.extent())
	if err := readAt(f.r, b, e.offset); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	if e.strides != nil {
		return e.gather(b), nil
	}
	return b, nil
}

// Uint64 is the U64 tensor of that name.
func (f *File) Uint64(name string) ([]uint64, error) {
	if e, ok := f.find(name); ok && e.DType != U64 {
		return nil, fmt.Errorf("tensor %q: found %s, want U64", name, e.DType)
	}
	raw, err := f.Raw(name)
	if err != nil {
		return nil, err
	}
	values := make([]uint64, len(raw)/8)
	for i := range values {
		values[i] = le.Uint64(raw[8*i:])
	}
	return values, nil
}

func missing(name string) error { return fmt.Errorf("tensor %q: not in the file", name) }

// covers makes sure that the last byte of e can be read before memory is taken
// for all of it: the size that Read was told may be wrong.
func (f *File) covers(e entry) error {
	extent := e.extent()
	if extent == 0 {
		return nil
	}
	if extent > math.MaxInt {
		return fmt.Errorf("tensor %q: %d bytes do not fit into memory", e.Name, extent)
	}
	var last [1]byte
	if err := readAt(f.r, last[:], e.offset+extent-1); err != nil {
		return fmt.Errorf("tensor %q: %w", e.Name, err)
	}
	return nil
}

// ReadFile reads the whole file at path: its metadata, and its tensors by name as
// float32.
func ReadFile(path string) (meta map[string]string, tensors []Tensor, err error) {
	f, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	for _, info := range f.Tensors() {
		data, err := f.Float32(info.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("read %q: %w", path, err)
		}
		tensors = append(tensors, Float32(info.Name, info.Shape, data))
	}
	return f.Metadata(), tensors, nil
}
