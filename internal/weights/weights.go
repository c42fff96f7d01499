// Package weights reads and writes safetensors files, and reads those of PyTorch:
// named tensors, without code to run.
//
// A safetensors file is the header's length (8 bytes, little endian), the header
//
//	{"__metadata__": {"key": "value"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
//
// and the data, little endian, in C order, the offsets counted from the header's
// end. Source: github.com/huggingface/safetensors.
//
// A PyTorch file (.pth, .pt) is what torch.save writes of a state_dict: a zip archive
// of stored records, of which data.pkl is a Python pickle that describes the tensors,
// and data/0, data/1, ... hold their elements. Before PyTorch 1.6 it was the legacy
// form: pickles of a magic number, a version, the machine, the state_dict and the keys
// of the storages, and behind them each storage's number of elements (8 bytes) and its
// elements, little endian. The state_dict may lie in a dict under the name state_dict,
// model_state_dict or model. The pickles are run by a machine that knows dicts, lists,
// tuples, numbers, texts and tensors, also as Python 2 and early versions of PyTorch
// wrote them, and calls nothing; a name of anything else ends in an error. Sources:
// torch/serialization.py, Python's pickletools.
package weights

import (
	"fmt"
	"math"
)

// DType is the element type of a tensor, as safetensors spells it.
type DType string

// The element types of the format that are at least a byte wide.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E5M2 DType = "F8_E5M2"
	F8E4M3 DType = "F8_E4M3"
	I16    DType = "I16"
	U16    DType = "U16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	I32    DType = "I32"
	U32    DType = "U32"
	F32    DType = "F32"
	F64    DType = "F64"
	I64    DType = "I64"
	U64    DType = "U64"
)

// dtypes are in the order in which the reference writes them backwards: the
// widest first keeps every tensor aligned.
var dtypes = []struct {
	name DType
	size int
}{
	{Bool, 1}, {U8, 1}, {I8, 1}, {F8E5M2, 1}, {F8E4M3, 1},
	{I16, 2}, {U16, 2}, {F16, 2}, {BF16, 2},
	{I32, 4}, {U32, 4}, {F32, 4},
	{F64, 8}, {I64, 8}, {U64, 8},
}

// rank is the place of d among dtypes, or -1.
func (d DType) rank() int {
	for i := range dtypes {
		if dtypes[i].name == d {
			return i
		}
	}
	return -1
}

// Size is the number of bytes of an element, 0 for an unknown type.
func (d DType) Size() int {
	if r := d.rank(); r >= 0 {
		return dtypes[r].size
	}
	return 0
}

// Info describes a tensor without its values. A scalar has the shape [].
type Info struct {
	Name  string
	DType DType
	Shape []int
}

// Len is the number of elements: the product of the shape.
func (t Info) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// bytes is the size of the data, or an error where shape and type do not make sense.
func (t Info) bytes() (int64, error) {
	size := int64(t.DType.Size())
	if size == 0 {
		return 0, fmt.Errorf("tensor %q: unknown dtype %q", t.Name, t.DType)
	}
	empty := false
	for _, d := range t.Shape {
		if d < 0 {
			return 0, fmt.Errorf("tensor %q: negative axis in shape %v", t.Name, t.Shape)
		}
		empty = empty || d == 0
	}
	if empty {
		return 0, nil
	}
	for _, d := range t.Shape {
		if size > math.MaxInt64/int64(d) {
			return 0, fmt.Errorf("tensor %q: shape %v has too many elements", t.Name, t.Shape)
		}
		size *= int64(d)
	}
	return size, nil
}

// Tensor is a tensor to be written. Its values are Data, rounded to DType (F32,
// F16 or BF16), or, where Data is nil, Raw: little-endian elements of any DType.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []float32
	Raw   []byte
}

// Info is t without its values.
func (t Tensor) Info() Info { return Info{t.Name, t.DType, t.Shape} }

// Float32 is a tensor of float32 that shares data.
func Float32(name string, shape []int, data []float32) Tensor {
	return Tensor{Name: name, DType: F32, Shape: shape, Data: data}
}

// Uint64 is a vector of integers, such as the state of a random number generator
// or a step count.
func Uint64(name string, values ...uint64) Tensor {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = le.AppendUint64(raw, v)
	}
	return Tensor{Name: name, DType: U64, Shape: []int{len(values)}, Raw: raw}
}
