package weights

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// metadataKey is the header's one name that is no tensor.
const metadataKey = "__metadata__"

// chunk is how many bytes are converted at a time.
const chunk = 64 << 10

// Write writes tensors and meta (nil for none) to w. The same arguments in any
// order give the same bytes: tensors are sorted by width of their type, widest
// first, then by name, as the reference does, so that each is aligned; metadata
// are sorted by key. All is checked before the first byte is written. Values are
// converted piecemeal, so that writing takes no second copy of a large model.
func Write(w io.Writer, meta map[string]string, tensors []Tensor) error {
	sorted := slices.SortedFunc(slices.Values(tensors), func(a, b Tensor) int {
		return cmp.Or(b.DType.rank()-a.DType.rank(), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(meta, sorted)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	buffer := make([]byte, 0, chunk)
	for _, t := range sorted {
		if err := writeData(w, t, buffer); err != nil {
			return fmt.Errorf("write safetensors: tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// encodeHeader is the length and the header, padded with spaces so that the data
// begin at a multiple of 8.
func encodeHeader(meta map[string]string, tensors []Tensor) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 8))
	b.WriteByte('{')
	if len(meta) > 0 {
		if err := encodeMetadata(b, meta); err != nil {
			return nil, err
		}
	}
	offset := int64(0)
	seen := make(map[string]bool, len(tensors))
	for i, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %q: more than one of this name", t.Name)
		}
		seen[t.Name] = true
		size, err := t.check()
		if err != nil {
			return nil, err
		}
		if i > 0 || len(meta) > 0 {
			b.WriteByte(',')
		}
		if err := quote(b, t.Name); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		shape, err := json.Marshal(append([]int{}, t.Shape...))
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		fmt.Fprintf(b, `:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, t.DType, shape, offset, offset+size)
		offset += size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	le.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

func encodeMetadata(b *bytes.Buffer, meta map[string]string) error {
	fmt.Fprintf(b, `"%s":{`, metadataKey)
	for i, key := range slices.Sorted(maps.Keys(meta)) {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := quote(b, key); err != nil {
			return fmt.Errorf("metadata key %q: %w", key, err)
		}
		b.WriteByte(':')
		if err := quote(b, meta[key]); err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
	}
	b.WriteByte('}')
	return nil
}

// quote appends s as a JSON string.
func quote(b *bytes.Buffer, s string) error {
	if !utf8.ValidString(s) {
		return errors.New("text is not UTF-8")
	}
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's line feed
	return nil
}

// check returns the number of bytes that t takes, if its fields agree.
func (t Tensor) check() (int64, error) {
	if t.Name == metadataKey {
		return 0, fmt.Errorf("tensor %q: the name is reserved", t.Name)
	}
	size, err := t.Info().bytes()
	if err != nil {
		return 0, err
	}
	if t.Data == nil {
		if int64(len(t.Raw)) != size {
			return 0, fmt.Errorf("tensor %q: found %d bytes, want %d for %s %v", t.Name, len(t.Raw), size, t.DType, t.Shape)
		}
		return size, nil
	}
	if len(t.Data) != t.Info().Len() {
		return 0, fmt.Errorf("tensor %q: found %d values, want %d for shape %v", t.Name, len(t.Data), t.Info().Len(), t.Shape)
	}
	if _, err := appendAs(nil, t.DType, 0); err != nil {
		return 0, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return size, nil
}

func writeData(w io.Writer, t Tensor, buffer []byte) error {
	if t.Data == nil {
		_, err := w.Write(t.Raw)
		return err
	}
	for part := range slices.Chunk(t.Data, chunk/t.DType.Size()) {
		b := buffer[:0]
		for _, v := range part {
			var err error
			if b, err = appendAs(b, t.DType, v); err != nil {
				return err
			}
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
