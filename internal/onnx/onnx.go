// Package onnx writes networks as ONNX files, which many runtimes read.
//
// It knows the parts of the format that networks for images need, as plain values,
// and how they are encoded; what an operator of ours becomes is decided where the
// operators are. Source: the messages of onnx.proto
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) and the operators of
// https://onnx.ai/onnx/operators/.
package onnx

// Opset is the version of the operators that files ask for: the first in which
// reductions take their axes as the present one does. Runtimes read all older ones.
const Opset = 18

// irVersion is the version of the file format that goes with Opset.
const irVersion = 8

// Model is a file: a graph, and what it says of itself.
type Model struct {
	Doc      string            // for people
	Metadata map[string]string // for programs
	Graph    *Graph
}

// Graph is a network: nodes in the order of their computation, which pass values on
// by name.
type Graph struct {
	Name    string
	Inputs  []Value
	Outputs []Value
	Nodes   []Node
	Tensors []Tensor // values that are given, such as weights
}

// Value is an input or output of float32.
type Value struct {
	Name string
	// Shape has a number for each axis; 0 is free, and the same in all values: the
	// number of images.
	Shape []int
}

// freeAxis names the axis that is free.
const freeAxis = "N"

// Node is an operator with the names of its operands and results.
type Node struct {
	Op         string
	In, Out    []string
	Attributes []Attribute
}

// Attribute is a constant of a node. Value is an int, a float32, a string or an
// []int.
type Attribute struct {
	Name  string
	Value any
}

// Int64 is what the attribute "to" of Cast calls int64.
const Int64 = elementInt64

// Tensor is a constant: of float32, or of int64 if Floats is nil.
type Tensor struct {
	Name   string
	Shape  []int
	Floats []float32
	Ints   []int64
}
