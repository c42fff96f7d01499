package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// What a pickle may hold, beside bool, int64, float64, string and nil.
type (
	dict  map[string]any // items under keys that are no text are left out
	tuple []any
	list  struct{} // its items are left out: no tensor is made of them
	long  struct{} // a number beyond int64

	// global is a name of Python's, module and all. Those that unpickling lets pass
	// are [constructors] and [storages].
	global string

	// storage is a run of elements that tensors are views of.
	storage struct {
		dtype DType
		key   string // name of the record that holds it
		len   int
	}

	// view is a tensor: the elements of a storage at offset + index . strides, all
	// counted in elements.
	view struct {
		storage
		offset         int
		shape, strides []int
	}
)

// describe is what errors call a value.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case dict:
		return "a dict"
	case tuple:
		return "a tuple"
	case list:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a bool"
	case int64, float64, long:
		return "a number"
	case global:
		return "a name"
	case storage:
		return "a storage"
	}
	return "a tensor"
}

const (
	orderedDict      global = "collections.OrderedDict"
	rebuildTensor    global = "torch._utils._rebuild_tensor_v2"
	rebuildParameter global = "torch._utils._rebuild_parameter"
)

// constructors are what REDUCE may call, which calls nothing but these.
var constructors = map[global]func(*unpickler, tuple) (any, error){
	orderedDict:      (*unpickler).newDict,
	rebuildTensor:    (*unpickler).newTensor,
	rebuildParameter: (*unpickler).newParameter,
}

// storages are PyTorch's types of storages.
var storages = map[global]DType{
	"torch.FloatStorage":    F32,
	"torch.DoubleStorage":   F64,
	"torch.HalfStorage":     F16,
	"torch.BFloat16Storage": BF16,
	"torch.LongStorage":     I64,
	"torch.IntStorage":      I32,
	"torch.ShortStorage":    I16,
	"torch.CharStorage":     I8,
	"torch.ByteStorage":     U8,
	"torch.BoolStorage":     Bool,
}

// unpickler is Python's stack machine, less all that runs code. Its first error
// stays, and what it does after it is of no account.
type unpickler struct {
	data    []byte // what is left of the pickle
	stack   []any
	marks   []int // heights of the stack
	memo    map[int]any
	tensors int
	limits  Limits
	err     error
}

// unpickle is the value of a pickle of protocol 2 to 5. It takes memory in
// proportion to the number of its operations, which limits bound.
func unpickle(data []byte, limits Limits) (any, error) {
	u := unpickler{data: data, memo: map[int]any{}, limits: limits}
	for ops := 0; ; ops++ {
		at := len(data) - len(u.data)
		if ops == limits.Ops {
			return nil, fmt.Errorf("more than %d operations", limits.Ops)
		}
		code := u.take(1)
		if u.err == nil && code[0] == stop {
			v := u.pop()
			return v, u.err
		}
		if u.err == nil {
			u.do(code[0])
		}
		if u.err != nil {
			return nil, fmt.Errorf("byte %d: %w", at, u.err)
		}
	}
}

const stop = '.'

// operations are those that torch.save writes, by their codes, with their names in
// Python's pickletools.
var operations = map[byte]func(*unpickler){
	0x80: func(u *unpickler) { u.protocol(u.take(1)) },                   // PROTO
	0x95: func(u *unpickler) { u.take(8) },                               // FRAME
	'(':  func(u *unpickler) { u.marks = append(u.marks, len(u.stack)) }, // MARK

	'N':  func(u *unpickler) { u.push(nil) },                                                      // NONE
	0x88: func(u *unpickler) { u.push(true) },                                                     // NEWTRUE
	0x89: func(u *unpickler) { u.push(false) },                                                    // NEWFALSE
	'K':  func(u *unpickler) { u.push(int64(u.unsigned(1))) },                                     // BININT1
	'M':  func(u *unpickler) { u.push(int64(u.unsigned(2))) },                                     // BININT2
	'J':  func(u *unpickler) { u.push(int64(int32(u.unsigned(4)))) },                              // BININT
	0x8a: func(u *unpickler) { u.pushLong(u.take(int(u.unsigned(1)))) },                           // LONG1
	'G':  func(u *unpickler) { u.push(math.Float64frombits(binary.BigEndian.Uint64(u.take(8)))) }, // BINFLOAT
	'X':  func(u *unpickler) { u.push(string(u.take(int(u.unsigned(4))))) },                       // BINUNICODE
	0x8c: func(u *unpickler) { u.push(string(u.take(int(u.unsigned(1))))) },                       // SHORT_BINUNICODE

	'}':  func(u *unpickler) { u.push(dict{}) },            // EMPTY_DICT
	']':  func(u *unpickler) { u.push(list{}) },            // EMPTY_LIST
	')':  func(u *unpickler) { u.push(tuple{}) },           // EMPTY_TUPLE
	't':  func(u *unpickler) { u.push(u.popMark()) },       // TUPLE
	0x85: func(u *unpickler) { u.push(u.popN(1)) },         // TUPLE1
	0x86: func(u *unpickler) { u.push(u.popN(2)) },         // TUPLE2
	0x87: func(u *unpickler) { u.push(u.popN(3)) },         // TUPLE3
	's':  func(u *unpickler) { u.setItems(u.popN(2)) },     // SETITEM
	'u':  func(u *unpickler) { u.setItems(u.popMark()) },   // SETITEMS
	'a':  func(u *unpickler) { u.pop(); top[list](u) },     // APPEND
	'e':  func(u *unpickler) { u.popMark(); top[list](u) }, // APPENDS

	'q':  func(u *unpickler) { u.put(int(u.unsigned(1))) }, // BINPUT
	'r':  func(u *unpickler) { u.put(int(u.unsigned(4))) }, // LONG_BINPUT
	0x94: func(u *unpickler) { u.put(len(u.memo)) },        // MEMOIZE
	'h':  func(u *unpickler) { u.get(int(u.unsigned(1))) }, // BINGET
	'j':  func(u *unpickler) { u.get(int(u.unsigned(4))) }, // LONG_BINGET

	'c':  func(u *unpickler) { u.pushGlobal(u.line(), u.line()) },                           // GLOBAL
	0x93: func(u *unpickler) { name := pop[string](u); u.pushGlobal(pop[string](u), name) }, // STACK_GLOBAL
	'Q':  func(u *unpickler) { u.pushStorage(pop[tuple](u)) },                               // BINPERSID
	'R':  func(u *unpickler) { args := pop[tuple](u); u.call(pop[global](u), args) },        // REDUCE
	'b':  func(u *unpickler) { u.pop(); top[dict](u) },                                      // BUILD: attributes of an OrderedDict
}

func (u *unpickler) do(code byte) {
	operation, ok := operations[code]
	if !ok {
		u.fail("operation 0x%02x: none that a state_dict needs", code)
		return
	}
	operation(u)
}

func (u *unpickler) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf(format, args...)
	}
}

// take is the next n bytes; some zeros where there are not so many.
func (u *unpickler) take(n int) []byte {
	if uint(n) > uint(len(u.data)) {
		u.fail("%w", io.ErrUnexpectedEOF)
		return make([]byte, 8)
	}
	b := u.data[:n]
	u.data = u.data[n:]
	return b
}

// unsigned is the next number of n bytes, at most 4.
func (u *unpickler) unsigned(n int) uint32 {
	var b [4]byte
	copy(b[:], u.take(n))
	return le.Uint32(b[:])
}

// line is the text up to the next line feed.
func (u *unpickler) line() string {
	text, rest, ok := bytes.Cut(u.data, []byte("\n"))
	if !ok {
		u.fail("%w", io.ErrUnexpectedEOF)
	}
	u.data = rest
	return string(text)
}

func (u *unpickler) protocol(version []byte) {
	if version[0] > 5 {
		u.fail("pickle protocol %d, want at most 5", version[0])
	}
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

// pushLong pushes a number in two's complement.
func (u *unpickler) pushLong(b []byte) {
	if len(b) > 8 {
		u.push(long{})
		return
	}
	var full [8]byte
	copy(full[:], b)
	unused := 64 - 8*len(b)
	u.push(int64(le.Uint64(full[:])<<unused) >> unused)
}

// popN takes n values off the stack, but none from below a mark.
func (u *unpickler) popN(n int) tuple {
	floor := 0
	if len(u.marks) > 0 {
		floor = u.marks[len(u.marks)-1]
	}
	if len(u.stack)-floor < n {
		u.fail("want %d values on the stack, found %d", n, len(u.stack)-floor)
		return make(tuple, n)
	}
	return u.cut(len(u.stack) - n)
}

// popMark takes all values off the stack that lie above the last mark.
func (u *unpickler) popMark() tuple {
	if len(u.marks) == 0 {
		u.fail("want a mark on the stack, found none")
		return nil
	}
	height := u.marks[len(u.marks)-1]
	u.marks = u.marks[:len(u.marks)-1]
	return u.cut(height)
}

// cut takes all values off the stack above a height.
func (u *unpickler) cut(height int) tuple {
	values := tuple(slices.Clone(u.stack[height:]))
	u.stack = u.stack[:height]
	return values
}

func (u *unpickler) pop() any { return u.popN(1)[0] }

// pop takes a value of one type off the stack.
func pop[T any](u *unpickler) T { return as[T](u, u.pop()) }

// top is the value of one type that stays on top of the stack.
func top[T any](u *unpickler) T {
	v := u.pop()
	u.push(v)
	return as[T](u, v)
}

func as[T any](u *unpickler, v any) T {
	t, ok := v.(T)
	if !ok {
		u.fail("found %s, want %s", describe(v), describe(*new(T)))
	}
	return t
}

func (u *unpickler) setItems(pairs tuple) {
	into := top[dict](u)
	if len(pairs)%2 != 0 {
		u.fail("found a key without a value")
	}
	if u.err != nil {
		return
	}
	for pair := range slices.Chunk(pairs, 2) {
		if key, ok := pair[0].(string); ok {
			into[key] = pair[1]
		}
	}
}

func (u *unpickler) put(index int) {
	v := u.pop()
	u.push(v)
	u.memo[index] = v
}

func (u *unpickler) get(index int) {
	v, ok := u.memo[index]
	if !ok {
		u.fail("memo %d is empty", index)
	}
	u.push(v)
}

func (u *unpickler) pushGlobal(module, name string) {
	g := global(module + "." + name)
	_, isConstructor := constructors[g]
	_, isStorage := storages[g]
	switch {
	case isConstructor || isStorage:
		u.push(g)
	case module == "torch" && strings.HasSuffix(name, "Storage"):
		u.fail("holds tensors of %.100q: want real numbers, integers or bools", string(g))
	default:
		u.fail("holds code (%.100q): want a state_dict of tensors only", string(g))
	}
}

func (u *unpickler) call(g global, args tuple) {
	if u.err != nil {
		return
	}
	construct, ok := constructors[g]
	if !ok {
		u.fail("a call of %s, which is no constructor", g)
		return
	}
	v, err := construct(u, args)
	if err != nil {
		u.fail("%s: %w", g, err)
	}
	u.push(v)
}

// pushStorage pushes the storage that a persistent id names: "storage", type, key,
// device, elements.
func (u *unpickler) pushStorage(id tuple) {
	if u.err != nil {
		return
	}
	if len(id) != 5 || id[0] != "storage" {
		u.fail("found a persistent id of %d parts, want a storage's 5", len(id))
		return
	}
	dtype, ok := storages[as[global](u, id[1])]
	if !ok {
		u.fail("storage: found %s for a type", describe(id[1]))
	}
	u.push(storage{dtype, as[string](u, id[2]), u.natural(id[4])})
}

// natural is a number that a length or a stride may be.
func (u *unpickler) natural(v any) int {
	n := as[int64](u, v)
	if n < 0 || n > math.MaxInt {
		u.fail("found %d, want 0 or more", n)
	}
	return int(n)
}

func (u *unpickler) naturals(v any) []int {
	values := as[tuple](u, v)
	if len(values) > u.limits.Axes {
		u.fail("found %d axes, want at most %d", len(values), u.limits.Axes)
		return nil
	}
	list := make([]int, len(values))
	for i, v := range values {
		list[i] = u.natural(v)
	}
	return list
}

func (*unpickler) newDict(args tuple) (any, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("found %d arguments, want none", len(args))
	}
	return dict{}, nil
}

// newTensor takes the arguments storage, offset, shape, strides, and three that
// are of no account.
func (u *unpickler) newTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("found %d arguments, want at least 4", len(args))
	}
	if u.tensors++; u.tensors > u.limits.Tensors {
		return nil, fmt.Errorf("more than %d tensors", u.limits.Tensors)
	}
	v := &view{as[storage](u, args[0]), u.natural(args[1]), u.naturals(args[2]), u.naturals(args[3])}
	if u.err == nil && len(v.shape) != len(v.strides) {
		return nil, fmt.Errorf("found %d axes and %d strides", len(v.shape), len(v.strides))
	}
	return v, nil
}

// newParameter takes a tensor and two arguments that are of no account.
func (*unpickler) newParameter(args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("found no arguments, want a tensor")
	}
	if v, ok := args[0].(*view); ok {
		return v, nil
	}
	return nil, fmt.Errorf("found %s, want a tensor", describe(args[0]))
}

// wrappers are the names under which training scripts save a state_dict beside
// other things.
var wrappers = []string{"state_dict", "model_state_dict", "model"}

// stateDict finds the tensors in a pickle's value.
func stateDict(root any) (map[string]*view, error) {
	d, ok := root.(dict)
	if !ok {
		return nil, fmt.Errorf("found %s, want a state_dict", describe(root))
	}
	for _, name := range wrappers {
		if inner, ok := d[name].(dict); ok {
			d = inner
			break
		}
	}
	tensors := make(map[string]*view, len(d))
	for _, name := range slices.Sorted(maps.Keys(d)) {
		t, ok := d[name].(*view)
		if !ok {
			return nil, fmt.Errorf("%q: found %s, want a tensor, or a state_dict under one of the names %q", name, describe(d[name]), wrappers)
		}
		tensors[name] = t
	}
	return tensors, nil
}
