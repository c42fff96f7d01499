package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// open reads a file from memory.
func open(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(data), int64(len(data)), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t testing.TB, meta map[string]string, tensors ...Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var infinity = float32(math.Inf(1))

// reference is what testdata/gen.py hands to the reference implementation. Values
// that float32 cannot hold (2^64-1, 0.1 in float64) are rounded.
var reference = map[string]struct {
	info   Info
	values []float32
}{
	"conv.weight":              {Info{"conv.weight", F32, []int{2, 1, 3}}, []float32{1, -2, 0.1, 1e-45, infinity, float32(math.Copysign(0, -1))}},
	"conv.bias":                {Info{"conv.bias", F16, []int{5}}, []float32{1, -65504, 0x1p-24, 0.0999755859375, infinity}},
	"norm.weight":              {Info{"norm.weight", BF16, []int{3}}, []float32{1, -3, infinity}},
	"norm.num_batches_tracked": {Info{"norm.num_batches_tracked", I64, []int{}}, []float32{-7}},
	"rng":                      {Info{"rng", U64, []int{2}}, []float32{0x1p64, 3}},
	"double":                   {Info{"double", F64, []int{1}}, []float32{0.1}},
	"mask":                     {Info{"mask", Bool, []int{3}}, []float32{1, 0, 1}},
	"bytes":                    {Info{"bytes", U8, []int{3}}, []float32{0, 127, 255}},
	"signed":                   {Info{"signed", I8, []int{2}}, []float32{-128, 127}},
	"short":                    {Info{"short", I16, []int{1}}, []float32{-300}},
	"ushort":                   {Info{"ushort", U16, []int{1}}, []float32{65535}},
	"int":                      {Info{"int", I32, []int{1}}, []float32{-70000}},
	"uint":                     {Info{"uint", U32, []int{1}}, []float32{4000000000}},
	"empty":                    {Info{"empty", F32, []int{0, 4}}, []float32{}},
	"odd \"name\"\n<ü>":        {Info{"odd \"name\"\n<ü>", F32, []int{1}}, []float32{42}},
}

func readReference(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTheReferencesFileReadsAsItWasMeant(t *testing.T) {
	f := open(t, readReference(t))
	if diff := cmp.Diff(map[string]string{"format": "pt"}, f.Metadata()); diff != "" {
		t.Errorf("metadata: %s", diff)
	}
	if len(f.Tensors()) != len(reference) {
		t.Errorf("found %d tensors, want %d", len(f.Tensors()), len(reference))
	}
	for name, want := range reference {
		info, ok := f.Info(name)
		if diff := cmp.Diff(want.info, info); !ok || diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
		values, err := f.Float32(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if diff := cmp.Diff(want.values, values, cmp.Comparer(sameBits)); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}
	if rng, err := f.Uint64("rng"); err != nil || !slices.Equal(rng, []uint64{math.MaxUint64, 3}) {
		t.Errorf("rng: found %v, %v", rng, err)
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func TestWhatWeWriteEqualsTheReferencesFileByteForByte(t *testing.T) {
	want := readReference(t)
	f := open(t, want)
	var tensors []Tensor
	for _, info := range f.Tensors() {
		tensor := Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape}
		var err error
		switch info.DType {
		case F32, F16, BF16:
			tensor.Data = reference[info.Name].values
		default:
			if tensor.Raw, err = f.Raw(info.Name); err != nil {
				t.Fatal(err)
			}
		}
		tensors = append(tensors, tensor)
	}
	if got := write(t, map[string]string{"format": "pt"}, tensors...); !bytes.Equal(got, want) {
		t.Errorf("found\n%q\nwant\n%q", got, want)
	}
}

func TestTheOrderOfArgumentsDoesNotReachTheFile(t *testing.T) {
	a, b, c := Float32("a", []int{1}, []float32{1}), Float32("b", []int{1}, []float32{2}), Uint64("c", 3)
	meta := map[string]string{}
	for i := range 30 {
		meta[fmt.Sprint(i)] = "x"
	}
	if !bytes.Equal(write(t, meta, a, b, c), write(t, maps.Clone(meta), c, b, a)) {
		t.Error("the files differ")
	}
}

func TestTensorsComeBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(0, 8, -1), 0, 6, rapid.ID).Draw(t, "names")
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, "meta")
		var tensors []Tensor
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")
			n := Info{Shape: shape}.Len()
			tensors = append(tensors, Float32(name, shape, rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "data")))
		}
		var b bytes.Buffer
		if err := Write(&b, meta, tensors); err != nil {
			t.Skip(err) // the reserved name
		}
		f, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if len(meta) > 0 && !maps.Equal(meta, f.Metadata()) {
			t.Fatalf("metadata: found %q, want %q", f.Metadata(), meta)
		}
		for _, want := range tensors {
			data, err := f.Float32(want.Name)
			if err != nil || !slices.EqualFunc(data, want.Data, sameBits) {
				t.Fatalf("%q: found %v, %v; want %v", want.Name, data, err, want.Data)
			}
		}
	})
}

func TestLargeTensorsAreStreamed(t *testing.T) {
	// More than one chunk, and not a multiple of one.
	data := make([]float32, 3*chunk/4+17)
	for i := range data {
		data[i] = float32(i)
	}
	f := open(t, write(t, nil, Float32("big", []int{len(data)}, data)))
	got := make([]float32, len(data))
	if err := f.ReadFloat32("big", got); err != nil || !slices.Equal(got, data) {
		t.Errorf("%v, or values differ", err)
	}
	allocated := testing.AllocsPerRun(5, func() {
		if err := f.ReadFloat32("big", got); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > 2 {
		t.Errorf("%v allocations, want one buffer", allocated)
	}
}

func TestHalfPrecisionRoundsToNearestEven(t *testing.T) {
	// Every finite binary16 survives; between two neighbours the nearer wins, and
	// the even one in the middle.
	for h := range uint32(0x7c00) {
		v, next := fromHalf(uint16(h)), fromHalf(uint16(h+1))
		if toHalf(v) != uint16(h) || toHalf(-v) != uint16(h)|0x8000 {
			t.Fatalf("%#04x (%v) does not survive", h, v)
		}
		if h == 0x7bff {
			break
		}
		middle := v + (next-v)/2
		for _, c := range []struct {
			v    float32
			want uint32
		}{{middle, h + h&1}, {math.Nextafter32(middle, 0), h}, {math.Nextafter32(middle, infinity), h + 1}} {
			if got := toHalf(c.v); got != uint16(c.want) {
				t.Fatalf("%v: found %#04x, want %#04x", c.v, got, c.want)
			}
		}
	}
	// 65520 lies midway between the largest, 65504, and 2^16.
	if toHalf(65519.996) != 0x7bff || toHalf(65520) != 0x7c00 {
		t.Error("overflow does not begin at 65520")
	}
}

func TestBrainFloatRoundsToNearestEven(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, // ties go to the even one
		{0x7f7fffff, 0x7f80},                       // the largest float32 rounds to infinity
		{0x7f800000, 0x7f80}, {0xff800000, 0xff80}, // infinities stay
		{0x7f800001, 0x7fc0}, // NaN stays NaN though its upper half is infinity's
	} {
		if got := toBrain(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("%#08x: found %#04x, want %#04x", c.bits, got, c.want)
		}
	}
}

func TestNaNSurvivesNarrowing(t *testing.T) {
	nan := float32(math.NaN())
	if v := fromHalf(toHalf(nan)); v == v {
		t.Errorf("F16: found %v", v)
	}
}

// raw is a file with this header and so many bytes of data.
func raw(header string, data int) []byte {
	b := le.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestHostileHeadersAreRefused(t *testing.T) {
	one := func(entry string) string { return `{"a":` + entry + `}` }
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"too short":           {[]byte("1234"), "found 4 bytes, want at least 8"},
		"length past the end": {le.AppendUint64(nil, 1<<62), "truncated, or no safetensors file"},
		"length beyond int64": {le.AppendUint64(nil, math.MaxUint64), "truncated, or no safetensors file"},
		"empty header":        {raw("", 0), "want a JSON object"},
		"no object":           {raw(`["a"]`, 0), "want a JSON object"},
		"cut":                 {raw(`{"a":{"dtype":"F32"`, 0), "unexpected EOF"},
		"not UTF-8":           {raw("{\"\xff\":1}", 0), "not UTF-8"},
		"trailing":            {raw(`{}x`, 0), "after the object"},
		"unknown dtype":       {raw(one(`{"dtype":"F33","shape":[1],"data_offsets":[0,4]}`), 4), `unknown dtype "F33"`},
		"no shape":            {raw(one(`{"dtype":"F32","data_offsets":[0,4]}`), 4), "no shape"},
		"negative axis":       {raw(one(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`), 4), "negative axis"},
		"fractional axis":     {raw(one(`{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}`), 4), `tensor "a"`},
		"product overflows":   {raw(one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}`), 0), "too many elements"},
		"shape and data":      {raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), 4), "found 4 bytes, want 8 for F32 [2]"},
		"offsets backwards":   {raw(one(`{"dtype":"F32","shape":[1],"data_offsets":[4,0]}`), 4), "want begin and end"},
		"negative offset":     {raw(one(`{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}`), 4), "want begin and end"},
		"one offset":          {raw(one(`{"dtype":"F32","shape":[1],"data_offsets":[0]}`), 4), "want begin and end"},
		"many axes":           {raw(one(`{"dtype":"U8","shape":[`+strings.Repeat("1,", 40)+`1],"data_offsets":[0,1]}`), 1), "41 axes"},
		"truncated data":      {raw(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), 4), "truncated"},
		"data without tensor": {raw(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), 8), "found 8 bytes of data, want 4"},
		"gap":                 {raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), `tensor "b": its data begin at 2, want 1`},
		"overlap":             {raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), "inside another tensor"},
		"same data twice":     {raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2), "inside another tensor"},
		"duplicate name":      {raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "more than one"},
		"duplicate metadata":  {raw(`{"__metadata__":{"k":"1","k":"2"}}`, 0), "more than one"},
		"metadata number":     {raw(`{"__metadata__":{"k":1}}`, 0), `metadata "k"`},
		"metadata null":       {raw(`{"__metadata__":{"k":null}}`, 0), "want a string"},
		"metadata list":       {raw(`{"__metadata__":[]}`, 0), "want an object"},
		"deep nesting":        {raw(one(strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), 0), `tensor "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.file), int64(len(c.file)), DefaultLimits)
			if err == nil || !strings.HasPrefix(err.Error(), "read safetensors: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestLimitsHold(t *testing.T) {
	data := write(t, nil, Uint64("a", 1), Uint64("b", 1))
	for want, limits := range map[string]Limits{
		"header of":           {Header: 10, Tensors: 2, Axes: 1, Name: 1},
		"more than 1 tensors": {Header: 1000, Tensors: 1, Axes: 1, Name: 1},
		"1 axes":              {Header: 1000, Tensors: 2, Axes: 0, Name: 1},
		"want at most 0":      {Header: 1000, Tensors: 2, Axes: 1, Name: 0},
	} {
		if _, err := Read(bytes.NewReader(data), int64(len(data)), limits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want an error with %q", err, want)
		}
	}
}

func TestAWrongSizeTakesNoMemory(t *testing.T) {
	// A terabyte by the header and by the size, but not in the reader.
	header := `{"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}`
	data := raw(header, 16)
	f, err := Read(bytes.NewReader(data), int64(8+len(header))+1<<40, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Raw("a"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Raw: found %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if _, err := f.Float32("a"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Float32: found %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestInconsistentTensorsAreNotWritten(t *testing.T) {
	for want, tensors := range map[string][]Tensor{
		"found 1 values, want 2 for shape [2]":   {Float32("a", []int{2}, []float32{1})},
		"found 3 bytes, want 4 for F32 [1]":      {{Name: "a", DType: F32, Shape: []int{1}, Raw: make([]byte, 3)}},
		"unknown dtype":                          {{Name: "a", DType: "F1", Shape: []int{1}}},
		"cannot write float32 data as I64":       {{Name: "a", DType: I64, Shape: []int{1}, Data: []float32{1}}},
		"more than one":                          {Uint64("a", 1), Uint64("a", 2)},
		"reserved":                               {Uint64("__metadata__", 1)},
		"text is not UTF-8":                      {Uint64("\xff", 1)},
		"negative axis in shape [-1]":            {Float32("a", []int{-1}, nil)},
		"found 0 bytes, want 8 for U64 [1]":      {{Name: "a", DType: U64, Shape: []int{1}}},
		"shape [4611686018427387904 4] has too ": {{Name: "a", DType: U64, Shape: []int{1 << 62, 4}}},
	} {
		var b bytes.Buffer
		err := Write(&b, nil, tensors)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want an error with %q", err, want)
		}
		if b.Len() > 0 {
			t.Errorf("%q: %d bytes were written before the error", want, b.Len())
		}
	}
}

// fullDisk takes so many bytes.
type fullDisk int

var errFull = errors.New("no space left")

func (d *fullDisk) Write(b []byte) (int, error) {
	if len(b) > int(*d) {
		return 0, errFull
	}
	*d -= fullDisk(len(b))
	return len(b), nil
}

func TestAFullDiskIsReported(t *testing.T) {
	tensor := Float32("a", []int{1}, []float32{1})
	for _, room := range []fullDisk{0, fullDisk(len(write(t, nil, tensor)) - 1)} {
		if err := Write(&room, nil, []Tensor{tensor}); !errors.Is(err, errFull) {
			t.Errorf("found %v, want %v", err, errFull)
		}
	}
}

func TestMissingAndUnfitTensorsAreNamed(t *testing.T) {
	f := open(t, write(t, nil, Float32("a", []int{2}, []float32{1, 2}), Tensor{Name: "q", DType: F8E4M3, Shape: []int{1}, Raw: []byte{1}}))
	_, absent := f.Float32("b")
	_, unreadable := f.Float32("q")
	_, integer := f.Uint64("a")
	for want, err := range map[string]error{
		`tensor "b": not in the file`:                  absent,
		`tensor "q": cannot read F8_E4M3 as float32`:   unreadable,
		`tensor "a": found F32, want U64`:              integer,
		`tensor "a": found 2 values of shape [2], wan`: f.ReadFloat32("a", make([]float32, 3)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, want an error with %q", err, want)
		}
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, []byte("no such thing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("found %v, want an error with %q", err, path)
	}
	if err := os.WriteFile(path, write(t, nil, Uint64("step", 5)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v, err := f.Uint64("step"); err != nil || !slices.Equal(v, []uint64{5}) {
		t.Errorf("found %v, %v", v, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(readReference(f))
	f.Add(raw(`{}`, 0))
	f.Add(raw(`{"__metadata__":{"a":"b"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))
	f.Fuzz(rereads)
}

// rereads wants what can be read to be written, and to read the same again, but for
// the one name that safetensors has no room for.
func rereads(t *testing.T, data []byte) {
	file, err := Read(bytes.NewReader(data), int64(len(data)), DefaultLimits)
	if err != nil {
		return
	}
	if _, ok := file.Info(metadataKey); ok {
		return
	}
	var tensors []Tensor
	for _, info := range file.Tensors() {
		raw, err := file.Raw(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape, Raw: raw})
	}
	again := open(t, write(t, file.Metadata(), tensors...))
	if diff := cmp.Diff(file.Tensors(), again.Tensors()); diff != "" {
		t.Fatal(diff)
	}
	for _, want := range tensors {
		if got, err := again.Raw(want.Name); err != nil || !bytes.Equal(got, want.Raw) {
			t.Fatalf("%q: found %x, %v; want %x", want.Name, got, err, want.Raw)
		}
	}
}

func BenchmarkFloat32(b *testing.B) {
	data := make([]float32, 1<<20)
	f := open(b, write(b, nil, Float32("a", []int{len(data)}, data)))
	b.SetBytes(4 << 20)
	for b.Loop() {
		if err := f.ReadFloat32("a", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	data := make([]float32, 1<<20)
	b.SetBytes(4 << 20)
	for b.Loop() {
		if err := Write(io.Discard, nil, []Tensor{Float32("a", []int{len(data)}, data)}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAWholeFileIsReadByName(t *testing.T) {
	data := write(t, map[string]string{"k": "v"}, Float32("b", []int{2}, []float32{1, 2}), Tensor{Name: "a", DType: F16, Shape: []int{1}, Data: []float32{0.5}})
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	meta, tensors, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Tensor{Float32("a", []int{1}, []float32{0.5}), Float32("b", []int{2}, []float32{1, 2})}
	if meta["k"] != "v" || !cmp.Equal(tensors, want) {
		t.Errorf("found %v and %v, want k = v and %v", meta, tensors, want)
	}
	if _, _, err := ReadFile(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: error %v", err)
	}
}
