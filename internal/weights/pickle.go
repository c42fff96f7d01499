package weights

import (
	"bufio"
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
	list  struct{ items []any } // used by pointer: it grows while others refer to it
	long  string                // a number beyond int64: little endian, in two's complement

	// global is a name of Python's, module and all. Those that unpickling lets pass
	// are [constructors] and [storages].
	global string

	// storage is a run of elements that tensors are views of: a record of the file,
	// or len elements of one from start on.
	storage struct {
		dtype      DType
		key        string // name of the record
		total      int    // elements of the record
		start, len int
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
	case *list:
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
	oldRebuildTensor global = "torch._utils._rebuild_tensor" // of before PyTorch 0.4
	rebuildTensor    global = "torch._utils._rebuild_tensor_v2"
	rebuildParameter global = "torch._utils._rebuild_parameter"
	parameter        global = "torch.nn.parameter.Parameter"
)

// constructors are what REDUCE may call, which calls nothing but these.
var constructors = map[global]func(*unpickler, tuple) (any, error){
	orderedDict:      (*unpickler).newDict,
	oldRebuildTensor: (*unpickler).newTensor,
	rebuildTensor:    (*unpickler).newTensor,
	rebuildParameter: (*unpickler).newParameter,
	parameter:        (*unpickler).newParameter,
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

// unpickler is Python's stack machine, less all that runs code. It reads pickles that
// lie one after another. Its first error stays, and what it does after it is of no
// account.
type unpickler struct {
	r       *bufio.Reader
	at, end int64 // bytes taken, and bytes that there are
	limits  Limits
	ops     int                // operations so far
	tensors int                // tensors so far
	records map[string]storage // whole, by key
	err     error

	// Of the pickle that is read:
	stack []any
	marks []int // heights of the stack
	memo  map[int]any
}

// newUnpickler reads pickles from size bytes of r, from offset on.
func newUnpickler(r io.ReaderAt, offset, size int64, limits Limits) *unpickler {
	return &unpickler{
		r:       bufio.NewReader(io.NewSectionReader(r, offset, size)),
		end:     size,
		limits:  limits,
		records: map[string]storage{},
	}
}

// load is the value of the next pickle, of protocol 2 to 5. It takes memory in
// proportion to the number of its operations, which limits bound.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[int]any{}
	for u.err == nil {
		at := u.at
		u.spend(1)
		code := u.take(1)[0]
		if code == stop {
			v := u.pop()
			return v, u.err
		}
		u.do(code)
		if u.err != nil {
			u.err = fmt.Errorf("byte %d: %w", at, u.err)
		}
	}
	return nil, u.err
}

// loadAs is the value of the next pickle, which must be of one type.
func loadAs[T any](u *unpickler) (T, error) {
	v, err := u.load()
	if err != nil {
		return *new(T), err
	}
	t := as[T](u, v)
	return t, u.err
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
	0x8a: func(u *unpickler) { u.pushLong(u.take(u.unsigned(1))) },                                // LONG1
	'G':  func(u *unpickler) { u.push(math.Float64frombits(binary.BigEndian.Uint64(u.take(8)))) }, // BINFLOAT
	'U':  func(u *unpickler) { u.push(string(u.take(u.unsigned(1)))) },                            // SHORT_BINSTRING, of Python 2
	'T':  func(u *unpickler) { u.push(string(u.take(u.unsigned(4)))) },                            // BINSTRING, of Python 2
	'X':  func(u *unpickler) { u.push(string(u.take(u.unsigned(4)))) },                            // BINUNICODE
	0x8c: func(u *unpickler) { u.push(string(u.take(u.unsigned(1)))) },                            // SHORT_BINUNICODE

	'}':  func(u *unpickler) { u.push(dict{}) },          // EMPTY_DICT
	']':  func(u *unpickler) { u.push(&list{}) },         // EMPTY_LIST
	')':  func(u *unpickler) { u.push(tuple{}) },         // EMPTY_TUPLE
	't':  func(u *unpickler) { u.push(u.popMark()) },     // TUPLE
	0x85: func(u *unpickler) { u.push(u.popN(1)) },       // TUPLE1
	0x86: func(u *unpickler) { u.push(u.popN(2)) },       // TUPLE2
	0x87: func(u *unpickler) { u.push(u.popN(3)) },       // TUPLE3
	's':  func(u *unpickler) { u.setItems(u.popN(2)) },   // SETITEM
	'u':  func(u *unpickler) { u.setItems(u.popMark()) }, // SETITEMS
	'a':  func(u *unpickler) { u.extend(u.popN(1)) },     // APPEND
	'e':  func(u *unpickler) { u.extend(u.popMark()) },   // APPENDS

	'q':  func(u *unpickler) { u.put(int(u.unsigned(1))) }, // BINPUT
	'r':  func(u *unpickler) { u.put(int(u.unsigned(4))) }, // LONG_BINPUT
	0x94: func(u *unpickler) { u.put(len(u.memo)) },        // MEMOIZE
	'h':  func(u *unpickler) { u.get(int(u.unsigned(1))) }, // BINGET
	'j':  func(u *unpickler) { u.get(int(u.unsigned(4))) }, // LONG_BINGET

	'c':  func(u *unpickler) { u.pushGlobal(u.line(), u.line()) },                           // GLOBAL
	0x93: func(u *unpickler) { name := pop[string](u); u.pushGlobal(pop[string](u), name) }, // STACK_GLOBAL
	'Q':  func(u *unpickler) { u.pushStorage(pop[tuple](u)) },                               // BINPERSID
	'R':  func(u *unpickler) { args := pop[tuple](u); u.call(pop[global](u), args) },        // REDUCE
	0x81: func(u *unpickler) { args := pop[tuple](u); u.create(pop[global](u), args) },      // NEWOBJ
	'b':  func(u *unpickler) { u.build(u.pop()) },                                           // BUILD
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

// spend counts operations.
func (u *unpickler) spend(n int) {
	if u.ops += n; u.ops > u.limits.Ops {
		u.fail("more than %d operations", u.limits.Ops)
	}
}

// take is the next n bytes; some zeros where there are not so many.
func (u *unpickler) take(n uint32) []byte {
	b, err := u.next(n)
	if err != nil {
		u.fail("%w", err)
		return make([]byte, 8)
	}
	return b
}

// next takes no memory for more bytes than there are.
func (u *unpickler) next(n uint32) ([]byte, error) {
	if int64(n) > u.end-u.at {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	read, err := io.ReadFull(u.r, b)
	u.at += int64(read)
	return b, unexpected(err)
}

// unsigned is the next number of n bytes, at most 4.
func (u *unpickler) unsigned(n uint32) uint32 {
	var b [4]byte
	copy(b[:], u.take(n))
	return le.Uint32(b[:])
}

// line is the text up to the next line feed.
func (u *unpickler) line() string {
	text, err := u.r.ReadString('\n')
	u.at += int64(len(text))
	if err != nil {
		u.fail("%w", unexpected(err))
	}
	return strings.TrimSuffix(text, "\n")
}

// unexpected is an error of reading where there is more to be read.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
		u.push(long(b))
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

func (u *unpickler) extend(items tuple) {
	if l := top[*list](u); u.err == nil {
		l.items = append(l.items, items...)
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

// create pushes a new object, which only a parameter may be: PyTorch before version
// 0.4 made it of nothing, and set its data with BUILD.
func (u *unpickler) create(g global, args tuple) {
	switch {
	case u.err == nil && g != parameter:
		u.fail("a new object of %s: want a tensor", g)
	case len(args) == 0:
		u.push(&view{storage: storage{dtype: F32}, shape: []int{0}, strides: []int{1}})
	default:
		u.call(g, args)
	}
}

// build takes the attributes of a dict, which are of no account, or the state of a
// parameter, which begins with its data or is of no account.
func (u *unpickler) build(state any) {
	v := u.pop()
	u.push(v)
	param, ok := v.(*view)
	if !ok {
		as[dict](u, v)
		return
	}
	attributes := as[tuple](u, state)
	if len(attributes) == 0 {
		return
	}
	if data, ok := attributes[0].(*view); ok {
		*param = *data
	}
}

// pushStorage pushes the storage that a persistent id names: "storage", type, key,
// device, elements; and in the legacy form which part of them, None for all.
func (u *unpickler) pushStorage(id tuple) {
	if u.err != nil {
		return
	}
	if len(id) < 5 || len(id) > 6 || id[0] != "storage" {
		u.fail("found a persistent id of %d parts, want a storage's 5 or 6", len(id))
		return
	}
	dtype, ok := storages[as[global](u, id[1])]
	if !ok {
		u.fail("storage: found %s for a type", describe(id[1]))
	}
	total := u.natural(id[4])
	s := storage{dtype: dtype, key: as[string](u, id[2]), total: total, len: total}
	if known, ok := u.records[s.key]; ok && known != s {
		u.fail("storage %.100q: found %d %s and %d %s", s.key, known.total, known.dtype, s.total, s.dtype)
	}
	u.records[s.key] = s
	if len(id) == 6 && id[5] != nil {
		s.start, s.len = u.part(s, as[tuple](u, id[5]))
	}
	u.push(s)
}

// part says where a part of a storage begins and how long it is. Its description is
// a key of its own, which is of no account, begin and length.
func (u *unpickler) part(s storage, description tuple) (start, length int) {
	if len(description) != 3 {
		u.fail("storage %.100q: found a view of %d parts, want 3", s.key, len(description))
		return 0, 0
	}
	start, length = u.natural(description[1]), u.natural(description[2])
	if start > s.total || length > s.total-start {
		u.fail("storage %.100q: a view of %d from %d on does not fit its %d", s.key, length, start, s.total)
	}
	return start, length
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

// newDict takes nothing, or as Python 2 wrote it a list of its items.
func (u *unpickler) newDict(args tuple) (any, error) {
	d := dict{}
	if len(args) == 0 {
		return d, nil
	}
	if len(args) > 1 {
		return nil, fmt.Errorf("found %d arguments, want at most 1", len(args))
	}
	items, ok := args[0].(*list)
	if !ok {
		return nil, fmt.Errorf("found %s, want a list", describe(args[0]))
	}
	u.spend(len(items.items)) // the list may be used again and again
	if u.err != nil {
		return nil, u.err
	}
	for _, item := range items.items {
		pair, ok := item.(*list)
		if !ok || len(pair.items) != 2 {
			return nil, fmt.Errorf("found %s for an item, want a list of 2", describe(item))
		}
		if key, ok := pair.items[0].(string); ok {
			d[key] = pair.items[1]
		}
	}
	return d, nil
}

// newTensor takes the arguments storage, offset, shape, strides, and up to three
// that are of no account.
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

// newParameter takes a tensor and up to two arguments that are of no account.
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
