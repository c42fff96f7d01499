package weights

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPyTorchsTensorsReadAsTheyWereMeant(t *testing.T) {
	upTo := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i)
		}
		return values
	}
	want := []Tensor{
		{Name: "bf16", DType: BF16, Shape: []int{3}, Data: []float32{1, -3, infinity}},
		{Name: "bool", DType: Bool, Shape: []int{3}, Data: []float32{1, 0, 1}},
		{Name: "channels last", DType: F32, Shape: []int{1, 3, 2, 2}, Data: upTo(12)},
		{Name: "empty", DType: F32, Shape: []int{0, 4}, Data: []float32{}},
		{Name: "every fifth", DType: F32, Shape: []int{5}, Data: []float32{3, 8, 13, 18, 23}},
		{Name: "f16", DType: F16, Shape: []int{4}, Data: []float32{1, -65504, 0x1p-24, 0.0999755859375}},
		{Name: "f32", DType: F32, Shape: []int{2, 3}, Data: []float32{1, -2, 0.1, 1e-45, infinity, float32(math.Copysign(0, -1))}},
		{Name: "f64", DType: F64, Shape: []int{1}, Data: []float32{0.1}},
		{Name: "i16", DType: I16, Shape: []int{1}, Data: []float32{-300}},
		{Name: "i32", DType: I32, Shape: []int{1}, Data: []float32{-70000}},
		{Name: "i64", DType: I64, Shape: []int{}, Data: []float32{-7}},
		{Name: "i8", DType: I8, Shape: []int{2}, Data: []float32{-128, 127}},
		{Name: "parameter", DType: F32, Shape: []int{1}, Data: []float32{42}},
		{Name: "repeated", DType: F32, Shape: []int{3, 2}, Data: []float32{22, 23, 22, 23, 22, 23}},
		{Name: "slice", DType: F32, Shape: []int{4}, Data: []float32{4, 5, 6, 7}},
		{Name: "transposed", DType: F32, Shape: []int{4, 2, 3}, Data: []float32{
			0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23,
		}},
		{Name: "u8", DType: U8, Shape: []int{3}, Data: []float32{0, 127, 255}},
		{Name: "whole", DType: F32, Shape: []int{2, 3, 4}, Data: upTo(24)},
	}
	for _, file := range []string{"state.pth", "legacy_state.pth"} {
		if diff := cmp.Diff(want, fileValues(t, file), cmp.Comparer(sameBits)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// fileValues are the tensors of a file of testdata with their values.
func fileValues(t *testing.T, name string) []Tensor {
	t.Helper()
	f, err := Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return values(t, f)
}

// values are the tensors of a file with their values.
func values(t testing.TB, f *File) []Tensor {
	t.Helper()
	var list []Tensor
	for _, info := range f.Tensors() {
		data, err := f.Float32(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape, Data: data})
	}
	return list
}

func TestAStateDictIsFoundInWhatTrainingScriptsSave(t *testing.T) {
	for file, prefix := range map[string]string{
		"plain.pth": "", "checkpoint.pth": "", "protocol4.pth": "", "parallel.pth": "module.",
		"legacy.pth": "", "legacy_checkpoint.pth": "",
	} {
		_, tensors, err := ReadFile(filepath.Join("testdata", file))
		want := []Tensor{
			Float32(prefix+"bias", []int{2}, []float32{-1, 1}),
			Float32(prefix+"weight", []int{2, 3}, []float32{0, 1, 2, 3, 4, 5}),
		}
		if diff := cmp.Diff(want, tensors); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", file, err, diff)
		}
	}
}

func TestFilesOfMoreThanTensorsAreRefusedUnread(t *testing.T) {
	for file, want := range map[string]string{
		"code.pth":        `pickle: byte 229: holds code ("posix.system"): want a state_dict of tensors only`,
		"legacy_code.pth": `holds code ("posix.system"): want a state_dict of tensors only`,
		"module.pth":      `holds code ("torch.nn.modules.linear.Linear"): want a state_dict of tensors only`,
		"complex.pth":     `holds tensors of "torch.ComplexFloatStorage": want real numbers, integers or bools`,
	} {
		if _, err := Open(filepath.Join("testdata", file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found %v, want an error with %q", file, err, want)
		}
	}
}

func unpickle(pickle string, limits Limits) (any, error) {
	return newUnpickler(strings.NewReader(pickle), 0, int64(len(pickle)), limits).load()
}

func TestNumbersOfEveryWidthAreRead(t *testing.T) {
	for operation, want := range map[string]any{
		"K\xff":                              int64(255),
		"M\xff\xff":                          int64(65535),
		"J\xfe\xff\xff\xff":                  int64(-2),
		"\x8a\x00":                           int64(0),
		"\x8a\x01\xfe":                       int64(-2),
		"\x8a\x05\x00\x00\x00\x00\x01":       int64(1 << 32),
		"\x8a\x09" + string(make([]byte, 9)): long(make([]byte, 9)),
		"G\x3f\xd0\x00\x00\x00\x00\x00\x00":  0.25,
	} {
		if got, err := unpickle(pickled(operation), DefaultLimits); err != nil || got != want {
			t.Errorf("%q: found %v, %v; want %v", operation, got, err, want)
		}
	}
}

// A pickler of the operations that torch.save writes.

func pickled(operations ...string) string { return "\x80\x02" + strings.Join(operations, "") + "." }

func text(s string) string { return "X" + number(len(s))[1:] + s }

func number(n int) string { return "J" + string(le.AppendUint32(nil, uint32(n))) }

func numbers(list ...int) string {
	b := "("
	for _, n := range list {
		b += number(n)
	}
	return b + "t"
}

func items(pairs ...string) string { return "}(" + strings.Join(pairs, "") + "u" }

func floats(key string, n int) string { return typed("Float", key, n) }

func typed(dtype, key string, n int) string {
	return "(" + text("storage") + "ctorch\n" + dtype + "Storage\n" + text(key) + text("cpu") + number(n) + "tQ"
}

func listed(values ...string) string { return "](" + strings.Join(values, "") + "e" }

func rebuilt(storage string, offset int, shape, strides []int) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape...) + numbers(strides...) + "\x89}tR"
}

type record struct {
	name string
	data []byte
}

// zipped is an archive like torch.save's.
func zipped(t testing.TB, pickle string, records ...record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, r := range append([]record{{"archive/data.pkl", []byte(pickle)}}, records...) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: r.name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(r.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drawView draws a tensor whose axes lie in any order, with gaps.
func drawView(t *rapid.T) (offset int, shape, strides []int, size int) {
	axes := rapid.IntRange(0, 4).Draw(t, "axes")
	shape, strides = make([]int, axes), make([]int, axes)
	offset = rapid.IntRange(0, 3).Draw(t, "offset")
	size = 1
	for _, axis := range rapid.Permutation(sequence(axes)).Draw(t, "order") {
		shape[axis] = rapid.IntRange(0, 3).Draw(t, "length")
		strides[axis] = size
		size *= max(1, shape[axis]*rapid.IntRange(1, 2).Draw(t, "gap"))
	}
	return offset, shape, strides, offset + size
}

func sequence(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestViewsReadAsTheirIndicesSay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		offset, shape, strides, size := drawView(r)
		var data []byte
		for i := range size {
			data = le.AppendUint32(data, math.Float32bits(float32(i)))
		}
		f := open(t, zipped(t, pickled(items(text("a"), rebuilt(floats("0", size), offset, shape, strides))), record{"archive/data/0", data}))
		want := make([]float32, Info{Shape: shape}.Len())
		for i := range want { // the index of the i-th element in C order, digit by digit
			at, rest := offset, i
			for axis := len(shape) - 1; axis >= 0; axis-- {
				at += rest % shape[axis] * strides[axis]
				rest /= shape[axis]
			}
			want[i] = float32(at)
		}
		if diff := cmp.Diff([]Tensor{{Name: "a", DType: F32, Shape: shape, Data: want}}, values(t, f)); diff != "" {
			r.Fatal(diff)
		}
	})
}

func TestHostilePicklesAreRefused(t *testing.T) {
	tensor := func(operations string) string { return pickled(items(text("a"), operations)) }
	good := rebuilt(floats("0", 2), 0, []int{2}, []int{1})
	for name, c := range map[string]struct{ pickle, want string }{
		"code":                    {pickled("cos\nsystem\n(" + text("true") + "tR"), `holds code ("os.system")`},
		"code by protocol 4":      {pickled("\x8c\x02os\x8c\x06system\x93"), `holds code ("os.system")`},
		"code beside tensors":     {pickled(items(text("a"), good, text("b"), "cbuiltins\neval\n")), `holds code ("builtins.eval")`},
		"an object":               {pickled("ctorch\nFloatStorage\n)\x81"), `a new object of torch.FloatStorage: want a tensor`},
		"an object of code":       {pickled("cos\nPathLike\n)\x81"), `holds code ("os.PathLike")`},
		"an object with keywords": {pickled("ctorch\nFloatStorage\n)}\x92"), `operation 0x92: none that a state_dict needs`},
		"a parameter never set":   {tensor("ctorch.nn.parameter\nParameter\n)\x81"), `tensor "a": `},
		"a called storage":        {pickled("ctorch\nFloatStorage\n)R"), "a call of torch.FloatStorage, which is no constructor"},
		"attributes of a tensor":  {tensor(good + "}b"), "found a dict, want a tuple"},
		"a later protocol":        {"\x80\x06N.", "pickle protocol 6, want at most 5"},
		"an empty stack":          {pickled("\x85"), "want 1 values on the stack, found 0"},
		"values below a mark":     {pickled("N(\x85"), "want 1 values on the stack, found 0"},
		"no mark":                 {pickled("t"), "want a mark on the stack, found none"},
		"no result":               {pickled(""), "want 1 values on the stack, found 0"},
		"an empty memo":           {pickled("h\x07"), "memo 7 is empty"},
		"half an item":            {pickled("}(" + text("a") + "u"), "a key without a value"},
		"items of a list":         {pickled("](NNu"), "found a list, want a dict"},
		"a list of a dict":        {pickled("}(NNe"), "found a dict, want a list"},
		"no dict":                 {pickled(numbers(1, 2)), "found a tuple, want a state_dict"},
		"a number for a tensor":   {pickled(items(text("epoch"), number(3))), `"epoch": found a number, want a tensor, or a state_dict under one of the names ["state_dict" "model_state_dict" "model"]`},
		"a dict in itself":        {pickled("}q\x00" + text("a") + "h\x00s"), `"a": found a dict, want a tensor`},
		"a wrapper in itself":     {pickled("}q\x00" + text("model") + "h\x00s"), `"model": found a dict, want a tensor`},
		"no storage":              {tensor(rebuilt("N", 0, []int{2}, []int{1})), "found None, want a storage"},
		"another persistent id":   {pickled(text("storage") + "\x85Q"), "a persistent id of 1 parts, want a storage's 5 or 6"},
		"a persistent text":       {pickled(text("storage") + "Q"), "found a string, want a tuple"},
		"a storage of no type":    {tensor(strings.ReplaceAll(good, "ctorch\nFloatStorage\n", "ccollections\nOrderedDict\n")), "storage: found a name for a type"},
		"few arguments":           {pickled("ctorch._utils\n_rebuild_tensor_v2\n)R"), "found 0 arguments, want at least 4"},
		"an empty parameter":      {pickled("ctorch._utils\n_rebuild_parameter\n)R"), "found no arguments, want a tensor"},
		"a parameter of nothing":  {pickled("ctorch._utils\n_rebuild_parameter\nN\x85R"), "found None, want a tensor"},
		"an OrderedDict of two":   {pickled("ccollections\nOrderedDict\n]]\x86R"), "found 2 arguments, want at most 1"},
		"an OrderedDict of None":  {pickled("ccollections\nOrderedDict\nN\x85R"), "found None, want a list"},
		"an OrderedDict of names": {pickled("ccollections\nOrderedDict\n" + listed(text("a")) + "\x85R"), "found a string for an item, want a list of 2"},
		"half an OrderedDict":     {pickled("ccollections\nOrderedDict\n" + listed(listed(text("a"))) + "\x85R"), "found a list for an item, want a list of 2"},
		"a negative length":       {tensor(rebuilt(floats("0", -2), 0, nil, nil)), "found -2, want 0 or more"},
		"a negative offset":       {tensor(rebuilt(floats("0", 2), -1, []int{1}, []int{1})), "found -1, want 0 or more"},
		"a negative axis":         {tensor(rebuilt(floats("0", 2), 0, []int{-1}, []int{1})), "found -1, want 0 or more"},
		"a negative stride":       {tensor(rebuilt(floats("0", 2), 1, []int{2}, []int{-1})), "found -1, want 0 or more"},
		"a text for an axis":      {tensor(strings.ReplaceAll(good, numbers(2), text("2")+"\x85")), "found a string, want a number"},
		"axes without strides":    {tensor(rebuilt(floats("0", 2), 0, []int{2}, nil)), "found 1 axes and 0 strides"},
		"many axes":               {tensor(rebuilt(floats("0", 2), 0, make([]int, 33), make([]int, 33))), "found 33 axes, want at most 32"},
		"a shape that overflows":  {tensor(rebuilt(floats("0", 2), 0, []int{1 << 30, 1 << 30, 1 << 30}, []int{0, 0, 0})), "has too many elements"},
		"a shape past the data":   {tensor(rebuilt(floats("0", 2), 0, []int{3}, []int{1})), "shape [3] with strides [1] from 0 on does not fit a storage of 2"},
		"an offset past the data": {tensor(rebuilt(floats("0", 2), 1, []int{2}, []int{1})), "from 1 on does not fit"},
		"nothing past the data":   {tensor(rebuilt(floats("0", 2), 3, []int{0}, []int{1})), "from 3 on does not fit"},
		"a stride past the data":  {tensor(rebuilt(floats("0", 2), 0, []int{2}, []int{math.MaxInt32})), "does not fit"},
		"an expanded tensor":      {tensor(rebuilt(floats("0", 2), 0, []int{1 << 30}, []int{0})), "does not fit a storage of 2"},
		"a storage of two sizes":  {pickled(items(text("a"), good, text("b"), rebuilt(floats("0", 1), 0, nil, nil))), `storage "0": found 2 F32 and 1 F32`},
		"a storage of two types":  {pickled(items(text("a"), good, text("b"), rebuilt(typed("Long", "0", 2), 0, nil, nil))), `storage "0": found 2 F32 and 2 I64`},
		"a part past its storage": {tensor(rebuilt(partOf("0", 2, 1, 2), 0, []int{2}, []int{1})), `storage "0": a view of 2 from 1 on does not fit its 2`},
		"a part behind it":        {tensor(rebuilt(partOf("0", 2, 3, 0), 0, []int{0}, []int{1})), `a view of 0 from 3 on does not fit its 2`},
		"a part of two parts":     {tensor(rebuilt(strings.ReplaceAll(partOf("0", 2, 0, 2), "NJ", "J"), 0, []int{2}, []int{1})), `found a view of 2 parts, want 3`},
		"a part that is a number": {tensor(rebuilt("("+text("storage")+"ctorch\nFloatStorage\n"+text("0")+text("cpu")+number(2)+number(1)+"tQ", 0, nil, nil)), "found a number, want a tuple"},
		"a view past its part":    {tensor(rebuilt(partOf("0", 2, 1, 1), 0, []int{2}, []int{1})), "does not fit a storage of 1"},
		"a name of bytes":         {pickled(items(text("\xff"), good)), "the name is not UTF-8"},
		"a long name":             {pickled(items(text(strings.Repeat("n", 2000)), good)), "a name of 2000 bytes, want at most 1024"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, zipped(t, c.pickle, record{"archive/data/0", make([]byte, 8)}), DefaultLimits, c.want)
		})
		t.Run("legacy: "+name, func(t *testing.T) {
			var records []record
			if strings.Contains(c.pickle, "tQ") { // the form has no room for storages that the pickle does not name
				records = append(records, record{"0", make([]byte, 8)})
			}
			refused(t, legacyFile(c.pickle, records...), DefaultLimits, c.want)
		})
	}
}

func TestPicklesThatEndEarlyAreRefused(t *testing.T) {
	for _, pickle := range []string{"\x80\x02}", "\x80\x02X\xff\xff\xff\xffabc", "\x80\x02J\x00", "\x80\x02cos\nsystem"} {
		refused(t, zipped(t, pickle), DefaultLimits, "unexpected EOF")
		refused(t, []byte(legacyPreamble+pickle), DefaultLimits, "unexpected EOF")
	}
}

// refused wants an error that says so.
func refused(t *testing.T, data []byte, limits Limits, want string) {
	t.Helper()
	_, err := Read(bytes.NewReader(data), int64(len(data)), limits)
	if err == nil || !strings.HasPrefix(err.Error(), "read PyTorch file: ") || !strings.Contains(err.Error(), want) {
		t.Errorf("found %v, want an error with %q", err, want)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	pickle := pickled(items(text("a"), rebuilt(floats("0", 2), 0, []int{2}, []int{1})))
	data := record{"archive/data/0", make([]byte, 8)}
	good := zipped(t, pickle, data)
	open(t, good)
	var deflated bytes.Buffer
	w := zip.NewWriter(&deflated)
	f, err := w.Create("archive/data.pkl")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The central directory holds a record's sizes 20 bytes behind its signature.
	directory := bytes.LastIndex(good, []byte("PK\x01\x02"))
	sized := func(stored, full uint32) []byte {
		b := slices.Clone(good)
		le.PutUint32(b[directory+20:], stored)
		le.PutUint32(b[directory+24:], full)
		return b
	}
	of := func(storage string) []byte {
		return zipped(t, pickled(items(text("a"), rebuilt(storage, 0, nil, nil))), data)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"another length":      {of(floats("0", 1)), `tensor "a": storage of 8 bytes, want 1 F32`},
		"no such storage":     {of(floats("1", 2)), `tensor "a": record "data/1": not in the file`},
		"cut":                 {good[:len(good)-30], "not a valid zip file"},
		"no end":              {good[:40], "not a valid zip file"},
		"no pickle":           {bytes.ReplaceAll(good, []byte("data.pkl"), []byte("data.txt")), "a zip archive without data.pkl"},
		"two pickles":         {zipped(t, pickle, record{"other/data.pkl", nil}), `pickles in "archive" and "other", want one`},
		"two of a name":       {zipped(t, pickle, data, data), `record "archive/data/0": more than one of this name`},
		"big endian":          {zipped(t, pickle, data, record{"archive/byteorder", []byte("big")}), `byte order "big", want little`},
		"a long byte order":   {zipped(t, pickle, data, record{"archive/byteorder", make([]byte, 17)}), "17 bytes, want at most 16"},
		"a compressed pickle": {deflated.Bytes(), `record "data.pkl": compressed`},
		"a bomb of one size":  {sized(8, 1<<31), `record "data/0": compressed`},
		"a bomb of two sizes": {sized(1<<31, 1<<31), `record "data/0": its 2147483648 bytes end past the file's`},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.file, DefaultLimits, c.want) })
	}
}

func TestLimitsHoldForPyTorchsFiles(t *testing.T) {
	tensor := rebuilt(floats("0", 2), 0, []int{2}, []int{1})
	pickle := pickled(items(text("a"), tensor, text("b"), tensor))
	zip, legacy := zipped(t, pickle, record{"archive/data/0", make([]byte, 8)}), legacyFile(pickle, record{"0", make([]byte, 8)})
	for want, change := range map[string]func(*Limits){
		"more than 20 operations":       func(l *Limits) { l.Ops = 20 },
		"more than 1 tensors":           func(l *Limits) { l.Tensors = 1 },
		"found 1 axes, want at most 0":  func(l *Limits) { l.Axes = 0 },
		"name of 1 bytes, want at most": func(l *Limits) { l.Name = 0 },
	} {
		limits := DefaultLimits
		change(&limits)
		refused(t, zip, limits, want)
		refused(t, legacy, limits, want)
	}
	short := DefaultLimits
	short.Header = 50
	refused(t, zip, short, "bytes, want at most 50")
	refused(t, legacy, short, "pickles of more than 50 bytes")
}

func TestManyViewsOfTheSameDataAreRefused(t *testing.T) {
	const n = 1 << 12
	tensor := rebuilt(floats("0", n), 0, []int{n}, []int{1})
	var pairs []string
	for i := range maxViews + 8 {
		pairs = append(pairs, text(fmt.Sprint(i)), tensor)
	}
	data := record{"archive/data/0", make([]byte, 4*n)}
	open(t, zipped(t, pickled(items(pairs[:2*maxViews]...)), data))
	refused(t, zipped(t, pickled(items(pairs...)), data), DefaultLimits, "tensors share their data: found more than 8 times")
}

func TestAPyTorchFileThatEndsEarlyIsReported(t *testing.T) {
	data := zipped(t, pickled(items(text("a"), rebuilt(floats("0", 4), 0, []int{2, 2}, []int{1, 2}))), record{"archive/data/0", make([]byte, 16)})
	f := open(t, data)
	f.r = bytes.NewReader(data[:f.tensors[0].offset+12])
	if _, err := f.Float32("a"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("found %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// FuzzPickle wants of any pickle no more than tensors that make sense in themselves.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(pickled(items(text("a"), rebuilt(floats("0", 2), 0, []int{2}, []int{1})))))
	f.Add([]byte(pickled("}q\x00" + text("a") + "h\x00s")))
	f.Add([]byte(pickled("\x8c\x02os\x8c\x06system\x93")))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := unpickle(string(data), DefaultLimits)
		if err != nil {
			return
		}
		tensors, err := stateDict(root)
		if err != nil {
			return
		}
		for name, v := range tensors {
			numbers := slices.Concat(v.shape, v.strides, []int{v.offset, v.len})
			if v.dtype.Size() == 0 || len(v.shape) != len(v.strides) || slices.Min(numbers) < 0 {
				t.Errorf("%q: found %+v", name, v)
			}
		}
	})
}

// FuzzPTH wants of any file that can be read that its tensors can be, too, and that
// written as safetensors they read the same.
func FuzzPTH(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil || len(files) == 0 {
		f.Fatalf("found %q, %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(rereads)
}
