package weights

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// partOf is a storage that is a part of another.
func partOf(key string, total, start, length int) string {
	part := "(N" + number(start) + number(length) + "t"
	return "(" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(total) + part + "tQ"
}

var legacyPreamble = pickled("\x8a\x0a"+string(legacyNumber)) + pickled(number(1001)) + pickled("}")

// legacyFile is a file of the legacy form; its records are of float32.
func legacyFile(pickle string, records ...record) []byte {
	var keys []string
	var data []byte
	for _, r := range records {
		keys = append(keys, text(r.name))
		data = le.AppendUint64(data, uint64(len(r.data)/4))
		data = append(data, r.data...)
	}
	return append([]byte(legacyPreamble+pickle+pickled(listed(keys...))), data...)
}

// ascending are the float32 0, 1, 2, ...
func ascending(n int) []byte {
	var b []byte
	for i := range n {
		b = le.AppendUint32(b, math.Float32bits(float32(i)))
	}
	return b
}

func TestStoragesThatArePartsOfOthersAreRead(t *testing.T) {
	want := []Tensor{
		Float32("part", []int{2, 3}, []float32{4, 5, 6, 7, 8, 9}),
		Float32("transposed part", []int{2, 2}, []float32{6, 8, 7, 9}),
		Float32("whole", []int{3, 4}, []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),
	}
	if diff := cmp.Diff(want, fileValues(t, "legacy_views.pth")); diff != "" {
		t.Error(diff)
	}
}

func TestViewsOfPartsReadAsTheirIndicesSay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		offset, shape, strides, size := drawView(r)
		before, after := rapid.IntRange(0, 3).Draw(r, "before"), rapid.IntRange(0, 3).Draw(r, "after")
		total := before + size + after
		read := func(pickle string) []Tensor {
			return values(t, open(t, legacyFile(pickled(items(text("a"), pickle)), record{"0", ascending(total)})))
		}
		whole := read(rebuilt(floats("0", total), before+offset, shape, strides))
		part := read(rebuilt(partOf("0", total, before, size), offset, shape, strides))
		if diff := cmp.Diff(whole, part); diff != "" {
			r.Fatal(diff)
		}
	})
}

func TestWhatPython2AndEarlyVersionsOfPyTorchWroteIsRead(t *testing.T) {
	old := func(s string) string { return "U" + string(rune(len(s))) + s } // SHORT_BINSTRING
	long := func(s string) string { return "T" + string(le.AppendUint32(nil, uint32(len(s)))) + s }
	storage := "(" + old("storage") + "ctorch\nFloatStorage\n" + long("0") + old("cpu") + "\x8a\x01\x03" + "NtQ"
	tensor := "ctorch._utils\n_rebuild_tensor\n(" + storage + number(1) + numbers(2) + numbers(1) + "tR"
	param := "ctorch.nn.parameter\nParameter\n"
	dict := func(tensor string) string {
		return "ccollections\nOrderedDict\n" + listed(listed(old("a"), tensor)) + "\x85R"
	}
	want := []Tensor{Float32("a", []int{2}, []float32{1, 2})}
	for name, pickle := range map[string]string{
		"an OrderedDict of its items":     dict(tensor),
		"a parameter that is set":         dict(param + ")\x81(" + tensor + "N}\x88\x89tb"),
		"a parameter with attributes":     dict(param + tensor + "\x85\x81(\x88\x89}tb"),
		"a parameter without attributes":  dict(param + tensor + "\x85\x81)b"),
		"a parameter called":              dict(param + tensor + "\x88\x86R"),
		"a dict with attributes":          dict(tensor) + "}b",
		"a parameter set, and used again": dict(param+")\x81q\x00("+tensor+"N}\x88\x89tb") + text("a") + "h\x00s",
	} {
		f := open(t, legacyFile(pickled(pickle), record{"0", ascending(3)}))
		if diff := cmp.Diff(want, values(t, f)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHostileLegacyFilesAreRefused(t *testing.T) {
	pickle := pickled(items(text("a"), rebuilt(floats("0", 2), 0, []int{2}, []int{1})))
	data := record{"0", make([]byte, 8)}
	good := legacyFile(pickle, data)
	open(t, good)
	after := func(keys string, data ...uint64) []byte {
		b := []byte(legacyPreamble + pickle + pickled(keys))
		for _, v := range data {
			b = le.AppendUint64(b, v)
		}
		return b
	}
	key := listed(text("0"))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"another pickle":       {[]byte(pickle), "magic number: found a dict, want a number"},
		"another number":       {bytes.Replace(good, []byte(legacyNumber), []byte("0123456789"), 1), "magic number: found 30313233343536373839, want 6cfc9c46f9206aa85019"},
		"another version":      {bytes.Replace(good, []byte(number(1001)), []byte(number(1002)), 1), "version 1002, want 1001"},
		"a version of text":    {bytes.Replace(good, []byte(number(1001)), []byte(text("")), 1), "version: found a string, want a number"},
		"code for the machine": {bytes.Replace(good, []byte("}."), []byte("cos\nsystem\n)R."), 1), `machine: byte 25: holds code ("os.system")`},
		"code for the keys":    {after("cos\nsystem\n)R"), `holds code ("os.system")`},
		"no list of keys":      {after("}"), "storages: found a dict, want a list"},
		"a number for a key":   {after(listed(number(0))), "storages: found a number for a key, want a string"},
		"an unknown key":       {after(listed(text("1"))), `storage "1": not in the pickle`},
		"no such storage":      {after("]"), `tensor "a": storage "0": not in the file`},
		"the same key twice":   {after(listed(text("0"), text("0")), 2, 0, 2, 0), `storage "0": more than one of this key`},
		"another length":       {after(key, 1, 0), `storage "0": found 1 elements, want 2`},
		"an absurd length":     {after(key, math.MaxUint64), `storage "0": found 18446744073709551615 elements, want 2`},
		"no data":              {after(key, 2), `storage "0": its 2 F32 end past the file's`},
		"a storage beyond all bytes": {
			append([]byte(legacyPreamble+pickled(items(text("a"), rebuilt(strings.ReplaceAll(floats("0", 2), number(2), "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), 0, []int{2}, []int{1})))+pickled(key)),
				"\xff\xff\xff\xff\xff\xff\xff\x7f\x00\x00\x00\x00\x00\x00\x00\x00"...),
			`storage "0": its 9223372036854775807 F32 end past the file's`,
		},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.file, DefaultLimits, c.want) })
	}
}

func TestALegacyFileCutAnywhereIsRefused(t *testing.T) {
	pickle := pickled(items(text("a"), rebuilt(floats("0", 2), 0, []int{2}, []int{1}), text("b"), rebuilt(floats("1", 1), 0, nil, nil)))
	good := legacyFile(pickle, record{"0", ascending(2)}, record{"1", ascending(1)})
	open(t, good)
	for n := 2; n < len(good); n++ {
		refused(t, good[:n], DefaultLimits, "")
	}
}

func TestAnErrorOfReadingALegacyFileIsKept(t *testing.T) {
	good := legacyFile(pickled(items(text("a"), rebuilt(floats("0", 2), 0, []int{2}, []int{1}))), record{"0", ascending(2)})
	for n := 9; n < len(good)-8; n++ {
		if _, err := Read(brokenAt(good[:n]), int64(len(good)), DefaultLimits); !errors.Is(err, errBroken) {
			t.Errorf("%d bytes: found %v, want %v", n, err, errBroken)
		}
	}
}

// brokenAt reads so far.
type brokenAt []byte

var errBroken = errors.New("bad sector")

func (b brokenAt) ReadAt(p []byte, offset int64) (int, error) {
	n := copy(p, b[min(offset, int64(len(b))):])
	if n < len(p) {
		return n, errBroken
	}
	return n, nil
}

func TestAListUsedAgainAndAgainTakesNoMoreThanItsOperations(t *testing.T) {
	pairs := slices.Repeat([]string{listed(text("a"), "N")}, 100)
	again := slices.Repeat([]string{"ccollections\nOrderedDict\nh\x00\x85R"}, 100)
	pickle := pickled(listed(pairs...) + "q\x00" + strings.Join(again, ""))
	limits := DefaultLimits
	limits.Ops = 10 * len(pairs) * 2
	refused(t, legacyFile(pickle), limits, "more than 2000 operations")
}

func TestALegacyFileThatEndsEarlyIsReported(t *testing.T) {
	data := legacyFile(pickled(items(text("a"), rebuilt(floats("0", 4), 0, []int{2, 2}, []int{1, 2}))), record{"0", ascending(4)})
	f := open(t, data)
	f.r = bytes.NewReader(data[:f.tensors[0].offset+12])
	if _, err := f.Float32("a"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("found %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
