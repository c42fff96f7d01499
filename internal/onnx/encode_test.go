package onnx

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// tiny is the model of testdata/gen.py.
func tiny() *Model {
	return &Model{
		Doc:      "für Tests",
		Metadata: map[string]string{"kind": "classifier", "classes": `["live","spoof"]`},
		Graph: &Graph{
			Name:    "tiny",
			Inputs:  []Value{{"image", []int{0, 3, 2, 2}}},
			Outputs: []Value{{"map", []int{0, 16}}},
			Nodes: []Node{
				{"Conv", []string{"image", "weight"}, []string{"conv"}, []Attribute{{"group", 1}, {"kernel_shape", []int{1, 1}}}},
				{"LeakyRelu", []string{"conv"}, []string{"relu"}, []Attribute{{"alpha", float32(0.25)}}},
				{"Resize", []string{"relu", "", "scales"}, []string{"larger"}, []Attribute{{"mode", "nearest"}}},
				{"Reshape", []string{"larger", "shape"}, []string{"map"}, nil},
			},
			Tensors: []Tensor{
				{Name: "weight", Shape: []int{1, 3, 1, 1}, Floats: []float32{0.5, -1.5, 3e-8}},
				{Name: "scales", Shape: []int{4}, Floats: []float32{1, 1, 2, 2}},
				{Name: "shape", Shape: []int{2}, Ints: []int64{-1, 16}},
			},
		},
	}
}

func encoded(t *testing.T, m *Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// official is ModelProto as onnx.proto declares it.
func official(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	text, err := os.ReadFile("testdata/onnx.descriptor")
	if err != nil {
		t.Fatal(err)
	}
	var described descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(&described, new(protoregistry.Files))
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("ModelProto")
}

func parse(t *testing.T, as protoreflect.MessageDescriptor, data []byte) proto.Message {
	t.Helper()
	m := dynamicpb.NewMessage(as)
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAModelIsWhatTheReferenceWrites(t *testing.T) {
	want, err := os.ReadFile("testdata/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	as := official(t)
	got := parse(t, as, encoded(t, tiny()))
	if reference := parse(t, as, want); !proto.Equal(got, reference) {
		t.Errorf("found\n%s\nwant\n%s", prototext.Format(got), prototext.Format(reference))
	}
}

func TestTheSameModelGivesTheSameBytes(t *testing.T) {
	if !bytes.Equal(encoded(t, tiny()), encoded(t, tiny())) {
		t.Error("found other bytes")
	}
}

func TestWhatCannotBeEncodedIsNamed(t *testing.T) {
	for want, change := range map[string]func(*Graph){
		`tensor "weight": found 3 values, want 6 for shape [2 3 1 1]`: func(g *Graph) { g.Tensors[0].Shape[0] = 2 },
		`node LeakyRelu: attribute "alpha": found float64`:            func(g *Graph) { g.Nodes[1].Attributes[0].Value = 0.25 },
	} {
		m := tiny()
		change(m.Graph)
		var b bytes.Buffer
		if err := m.Write(&b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want %s", err, want)
		}
		if b.Len() > 0 {
			t.Errorf("found %d bytes written, want none", b.Len())
		}
	}
}

// fullDisk takes some bytes and then no more.
type fullDisk struct{ room int }

var errFull = errors.New("full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestAFullDiskIsAnError(t *testing.T) {
	m := tiny()
	m.Graph.Tensors = append(m.Graph.Tensors, Tensor{Name: "large", Shape: []int{9000}, Floats: make([]float32, 9000)})
	for _, room := range []int{0, 5000, 36000} {
		if err := m.Write(&fullDisk{room}); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: found %v, want %v", room, err, errFull)
		}
	}
}
