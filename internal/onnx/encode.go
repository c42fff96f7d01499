package onnx

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields and enumerations of onnx.proto, by message.
const (
	modelIRVersion    = 1
	modelProducer     = 2
	modelDoc          = 6
	modelGraph        = 7
	modelOpsetImport  = 8
	modelMetadata     = 14
	opsetDomain       = 1
	opsetVersion      = 2
	entryKey          = 1
	entryValue        = 2
	graphNode         = 1
	graphName         = 2
	graphTensor       = 5
	graphInput        = 11
	graphOutput       = 12
	valueName         = 1
	valueType         = 2
	typeTensor        = 1
	tensorTypeElement = 1
	tensorTypeShape   = 2
	shapeAxis         = 1
	axisSize          = 1
	axisName          = 2
	nodeIn            = 1
	nodeOut           = 2
	nodeName          = 3
	nodeOp            = 4
	nodeAttribute     = 5
	attributeName     = 1
	attributeFloat    = 2
	attributeInt      = 3
	attributeString   = 4
	attributeInts     = 8
	attributeKind     = 20
	kindFloat         = 1
	kindInt           = 2
	kindString        = 3
	kindInts          = 7
	tensorAxis        = 1
	tensorElement     = 2
	tensorName        = 8
	tensorRaw         = 9
	elementFloat      = 1
	elementInt64      = 7
)

// producer is what files say wrote them.
const producer = "surrogaze"

// standardDomain is that of the operators of the standard.
const standardDomain = ""

// Write writes the model. The same model gives the same bytes. The tensors' values
// are converted as they are written, so that no second copy of them is made.
func (m *Model) Write(w io.Writer) error {
	if err := m.write(w); err != nil {
		return fmt.Errorf("write ONNX: %w", err)
	}
	return nil
}

func (m *Model) write(w io.Writer) error {
	graph, err := m.Graph.encode()
	if err != nil {
		return err
	}
	heads := make([][]byte, len(m.Graph.Tensors))
	size := len(graph)
	for i, t := range m.Graph.Tensors {
		if heads[i], err = t.encodeHead(); err != nil {
			return err
		}
		size += len(heads[i]) + t.rawSize()
	}
	out := bufio.NewWriter(w)
	put := func(b []byte) {
		if err == nil {
			_, err = out.Write(b)
		}
	}
	put(m.encodeHead())
	put(protowire.AppendVarint(protowire.AppendTag(nil, modelGraph, protowire.BytesType), uint64(size)))
	put(graph)
	for i, t := range m.Graph.Tensors {
		put(heads[i])
		if err == nil {
			err = t.writeRaw(out)
		}
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// encodeHead is the model without its graph.
func (m *Model) encodeHead() []byte {
	b := appendInt(nil, modelIRVersion, irVersion)
	b = appendText(b, modelProducer, producer)
	b = appendText(b, modelDoc, m.Doc)
	b = appendBytes(b, modelOpsetImport, appendInt(appendText(nil, opsetDomain, standardDomain), opsetVersion, Opset))
	for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
		b = appendBytes(b, modelMetadata, appendText(appendText(nil, entryKey, key), entryValue, m.Metadata[key]))
	}
	return b
}

// encode is the graph without its tensors.
func (g *Graph) encode() ([]byte, error) {
	b := appendText(nil, graphName, g.Name)
	for i, n := range g.Nodes {
		node, err := n.encode(i)
		if err != nil {
			return nil, err
		}
		b = appendBytes(b, graphNode, node)
	}
	for _, v := range g.Inputs {
		b = appendBytes(b, graphInput, v.encode())
	}
	for _, v := range g.Outputs {
		b = appendBytes(b, graphOutput, v.encode())
	}
	return b, nil
}

func (v Value) encode() []byte {
	var shape []byte
	for _, n := range v.Shape {
		axis := appendText(nil, axisName, freeAxis)
		if n > 0 {
			axis = appendInt(nil, axisSize, n)
		}
		shape = appendBytes(shape, shapeAxis, axis)
	}
	tensor := appendBytes(appendInt(nil, tensorTypeElement, elementFloat), tensorTypeShape, shape)
	return appendBytes(appendText(nil, valueName, v.Name), valueType, appendBytes(nil, typeTensor, tensor))
}

// encode is the i-th node of a graph, whose name is of its operator and place.
func (n Node) encode(i int) ([]byte, error) {
	var b []byte
	for _, name := range n.In {
		b = appendText(b, nodeIn, name)
	}
	for _, name := range n.Out {
		b = appendText(b, nodeOut, name)
	}
	b = appendText(b, nodeName, fmt.Sprintf("%s_%d", n.Op, i))
	b = appendText(b, nodeOp, n.Op)
	for _, a := range n.Attributes {
		attribute, err := a.encode()
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Op, err)
		}
		b = appendBytes(b, nodeAttribute, attribute)
	}
	return b, nil
}

func (a Attribute) encode() ([]byte, error) {
	b := appendText(nil, attributeName, a.Name)
	switch v := a.Value.(type) {
	case int:
		return appendInt(appendInt(b, attributeInt, v), attributeKind, kindInt), nil
	case float32:
		b = protowire.AppendTag(b, attributeFloat, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(v))
		return appendInt(b, attributeKind, kindFloat), nil
	case string:
		return appendInt(appendText(b, attributeString, v), attributeKind, kindString), nil
	case []int:
		for _, n := range v {
			b = appendInt(b, attributeInts, n)
		}
		return appendInt(b, attributeKind, kindInts), nil
	}
	return nil, fmt.Errorf("attribute %q: found %T, want int, float32, string or []int", a.Name, a.Value)
}

// rawSize is the number of bytes that the tensor's values take.
func (t Tensor) rawSize() int { return 4*len(t.Floats) + 8*len(t.Ints) }

// encodeHead is the tensor's field of the graph up to its values.
func (t Tensor) encodeHead() ([]byte, error) {
	element, n, count := elementFloat, 1, len(t.Floats)
	if t.Floats == nil {
		element, count = elementInt64, len(t.Ints)
	}
	var b []byte
	for _, size := range t.Shape {
		n *= size
		b = appendInt(b, tensorAxis, size)
	}
	if n != count {
		return nil, fmt.Errorf("tensor %q: found %d values, want %d for shape %v", t.Name, count, n, t.Shape)
	}
	b = appendInt(b, tensorElement, element)
	b = appendText(b, tensorName, t.Name)
	b = protowire.AppendTag(b, tensorRaw, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(t.rawSize()))
	head := protowire.AppendTag(nil, graphTensor, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(b)+t.rawSize()))
	return append(head, b...), nil
}

// writeRaw writes the tensor's values, little-endian.
func (t Tensor) writeRaw(w *bufio.Writer) error {
	for _, v := range t.Floats {
		if _, err := w.Write(binary.LittleEndian.AppendUint32(w.AvailableBuffer(), math.Float32bits(v))); err != nil {
			return err
		}
	}
	return binary.Write(w, binary.LittleEndian, t.Ints)
}

func appendInt(b []byte, field protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendBytes(b []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
}
