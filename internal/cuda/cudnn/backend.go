//go:build gpu

package cudnn

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "api.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// kind is cudnnBackendDescriptorType_t. The numbers here and below are those of
// cudnn_graph.h of version 9, and the same in version 8.
type kind C.int

const (
	convolutionKind kind = 1
	engineKind      kind = 2
	configKind      kind = 3
	heuristicsKind  kind = 4
	planKind        kind = 5
	knobKind        kind = 7
	graphKind       kind = 15
	packKind        kind = 16
	tensorKind      kind = 17
)

// attribute is cudnnBackendAttributeName_t.
type attribute C.int

const (
	convolutionComputeType attribute = 100
	convolutionMode        attribute = 101
	convolutionDilations   attribute = 102
	convolutionStrides     attribute = 103
	convolutionPostPadding attribute = 104
	convolutionPrePadding  attribute = 105
	convolutionDimensions  attribute = 106

	heuristicsMode    attribute = 200
	heuristicsGraph   attribute = 201
	heuristicsResults attribute = 202

	configEngine attribute = 300
	configKnobs  attribute = 302

	planHandle    attribute = 400
	planConfig    attribute = 401
	planWorkspace attribute = 402

	knobType  attribute = 600
	knobValue attribute = 601

	graphHandle     attribute = 800
	graphOperations attribute = 801

	tensorAlignment  attribute = 900
	tensorType       attribute = 901
	tensorDimensions attribute = 902
	tensorStrides    attribute = 903
	tensorID         attribute = 906

	packIDs       attribute = 1000
	packPointers  attribute = 1001
	packWorkspace attribute = 1003

	engineIndex          attribute = 1301
	engineNumericalNotes attribute = 1303
	engineBehaviorNotes  attribute = 1305
)

// operations are the kinds of operations with their attributes. Of x, w and y that which
// is computed is the gradient, if the direction is backward.
var operations = [...]struct {
	kind                              kind
	alpha, beta, convolution, w, x, y attribute
}{
	Forward:         {10, 700, 701, 702, 703, 704, 705},
	BackwardData:    {12, 706, 707, 708, 709, 710, 711},
	BackwardWeights: {11, 712, 713, 714, 715, 716, 717},
}

// Of cudnnBackendAttributeType_t.
const (
	handleType         C.int = 0
	dataTypeType       C.int = 1
	int64Type          C.int = 3
	floatType          C.int = 4
	pointerType        C.int = 6
	modeType           C.int = 7
	heuristicType      C.int = 8
	knobTypeType       C.int = 9
	numericalNotesType C.int = 11
	descriptorType     C.int = 15
	behaviorNotesType  C.int = 19
	characterType      C.int = 24
)

// dataType is cudnnDataType_t, mode cudnnConvolutionMode_t, heuristic
// cudnnBackendHeurMode_t.
type (
	dataType  C.int
	mode      C.int
	heuristic C.int
)

const (
	float32Data  dataType = 0
	bfloat16Data dataType = 9

	crossCorrelation mode = 1

	heuristicB        heuristic = 1
	heuristicFallback heuristic = 2
	heuristicA        heuristic = 3
)

// Bits of what the library notes of an engine: cudnnBackendNumericalNote_t and
// cudnnBackendBehaviorNote_t.
const (
	tensorCoreNote       = 1 << 0
	downConvertNote      = 1 << 1
	reducedPrecisionNote = 1 << 2
	nondeterministicNote = 1 << 4
	winogradNote         = 1 << 5

	compilationNote = 1 << 0
)

// descriptor is cudnnBackendDescriptor_t.
type descriptor unsafe.Pointer

// builder makes descriptors and owns them. After its first error it does nothing more.
type builder struct {
	api  *C.api
	made []descriptor
	err  error
}

func (b *builder) check(status C.int, format string, args ...any) {
	if b.err == nil {
		b.err = statusError(b.api, status, format, args...)
	}
}

// statusError is nil for success. It must be called on the thread of the call that
// failed.
func statusError(api *C.api, status C.int, format string, args ...any) error {
	if status == 0 {
		return nil
	}
	text := C.GoString(C.api_status_text(api, status))
	var detail [512]C.char
	C.api_last_error(api, &detail[0], C.size_t(len(detail)))
	if d, _, _ := strings.Cut(C.GoString(&detail[0]), "\n"); d != "" {
		text += " (" + d + ")"
	}
	return fmt.Errorf(format+": %s", append(args, text)...)
}

func (b *builder) create(k kind) descriptor {
	if b.err != nil {
		return nil
	}
	var d unsafe.Pointer
	b.check(C.api_make(b.api, C.int(k), &d), "make a descriptor of kind %d", k)
	if b.err == nil {
		b.made = append(b.made, descriptor(d))
	}
	return descriptor(d)
}

func (b *builder) finalize(d descriptor, name string) {
	if b.err == nil {
		b.check(C.api_finalize(b.api, unsafe.Pointer(d)), "finalize the %s", name)
	}
}

// close destroys what was made, the last first.
func (b *builder) close() {
	for i := len(b.made) - 1; i >= 0; i-- {
		C.api_drop(b.api, unsafe.Pointer(b.made[i]))
	}
	b.made = nil
}

// element is a Go type of an attribute's values.
type element interface {
	int64 | float32 | byte | uint64 | unsafe.Pointer | descriptor | dataType | mode | heuristic
}

// typeOf is the attribute type of a Go type.
func typeOf[T element]() C.int {
	var value T
	switch any(value).(type) {
	case dataType:
		return dataTypeType
	case int64:
		return int64Type
	case float32:
		return floatType
	case byte:
		return characterType
	case uint64:
		return pointerType
	case mode:
		return modeType
	case heuristic:
		return heuristicType
	case descriptor:
		return descriptorType
	}
	return handleType
}

// set gives an attribute its values. A byte is a character, a uint64 an address on the
// device, an unsafe.Pointer the library's handle.
func set[T element](b *builder, d descriptor, name attribute, values ...T) {
	if b.err == nil {
		b.check(C.api_set(b.api, unsafe.Pointer(d), C.int(name), typeOf[T](), C.int64_t(len(values)), unsafe.Pointer(&values[0])), "set attribute %d", name)
	}
}

// get reads at most len(values) values of an attribute and returns how many there are.
func get[T any](b *builder, d descriptor, name attribute, kind C.int, values []T) int {
	if b.err != nil {
		return 0
	}
	var count C.int64_t
	b.check(C.api_get(b.api, unsafe.Pointer(d), C.int(name), kind, C.int64_t(len(values)), &count, unsafe.Pointer(unsafe.SliceData(values))), "get attribute %d", name)
	return int(count)
}

// notes reads the notes of an engine as bits.
func notes(b *builder, engine descriptor, name attribute, kind C.int) uint32 {
	var list [32]C.int
	var bits uint32
	for _, note := range list[:min(get(b, engine, name, kind, list[:]), len(list))] {
		bits |= 1 << uint32(note)
	}
	return bits
}
