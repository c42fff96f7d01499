package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// classes of the foreign sets, in another order than testdata/gen.py's, so that
// labels must go by name.
var foreignClasses = []string{"spoof", "live"}

func openFiles(t testing.TB, f Files) Source {
	t.Helper()
	s, err := OpenFiles(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// foreignSamples are the rows of testdata/gen.py, without the one whose image is
// broken, row 5. Labels are as there: 0 is live and 1 spoof.
func foreignSamples(t testing.TB) []Sample {
	t.Helper()
	labels := []int64{0, 1, 0, NoLabel, 1, 0, 1}
	groups := []string{"g1", "g1", "g2", "g2", "", "g3", "g3"}
	scores := []any{float32(0.5), float32(1.5), float32(-2), float32(3.25), nil, float32(5), float32(6)}
	var samples []Sample
	for i := range labels {
		name := fmt.Sprintf("%d.png", i)
		image, err := os.ReadFile(filepath.Join("testdata", "parquet", "paths", name))
		if err != nil {
			t.Fatal(err)
		}
		s := Sample{ID: fmt.Sprintf("ä %d", i), Image: Encoded{image, name}, Label: labels[i], Group: groups[i],
			SaliencyQuality: NoQuality(), Extra: []any{scores[i]}}
		if scores[i] == nil {
			s.Extra = nil
		}
		samples = append(samples, s)
	}
	return slices.Delete(samples, 5, 6)
}

// checkForeign reads a file of testdata/gen.py from every row on.
func checkForeign(t *testing.T, s Source, change func(*Sample)) {
	t.Helper()
	if s.Rows() != 7 {
		t.Fatalf("got %d rows, want 7", s.Rows())
	}
	want := foreignSamples(t)
	for i := range want {
		change(&want[i])
	}
	const broken = 5
	for from := range 8 {
		start := from
		if from > broken {
			start--
		}
		got, bad := drain(t, s, int64(from))
		if diff := cmp.Diff(want[start:], got, sampleEqual, cmp.Transformer("nil", func(x []Sample) []Sample { return append([]Sample{}, x...) })); diff != "" {
			t.Errorf("from row %d: %s", from, diff)
		}
		if from > broken && len(bad) > 0 || from <= broken && (len(bad) != 1 || bad[0].ID != "ä 5" || !strings.Contains(bad[0].Error(), "unknown image format")) {
			t.Errorf("from row %d: got bad rows %v, want that of row 5", from, bad)
		}
	}
}

func TestParquetOfManyWritersIsRead(t *testing.T) {
	noPath := func(s *Sample) { s.Image.Path = "" }
	same := func(*Sample) {}
	for name, change := range map[string]func(*Sample){
		"none": same, "snappy": same, "gzip": same, "brotli": same, "zstd": same, "v2": same, "plain": same, "delta": same,
		"required": same, "swapped": same, "binary": noPath, "large": noPath, "paths/t": same, "pandas": same, "polars": same,
		"label-int8": same, "label-uint8": same, "label-int32": same, "label-uint32": same, "label-float32": same, "label-float64": same,
	} {
		t.Run(name, func(t *testing.T) {
			checkForeign(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/" + name + ".parquet"}), change)
		})
	}
	byName := func(s *Sample) {
		if s.Label != NoLabel {
			s.Label = 1 - s.Label
		}
	}
	for _, name := range []string{"label-string", "label-dictionary", "datasets"} {
		t.Run(name, func(t *testing.T) {
			checkForeign(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/" + name + ".parquet", Classes: foreignClasses}), byName)
		})
	}
}

func TestClassNamesComeFromTheFilesWhereNoneAreGiven(t *testing.T) {
	s := openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/datasets.parquet"})
	// gen.py writes the names in this order, and the indices accordingly.
	if diff := cmp.Diff([]string{"spoof", "live"}, s.Schema().Classes); diff != "" {
		t.Error(diff)
	}
}

func TestColumnsThatCannotBeKeptAreNamed(t *testing.T) {
	s := openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/none.parquet"})
	want := []string{
		`column "when": of type Timestamp(isAdjustedToUTC=false, timeUnit=milliseconds, is_from_converted_type=false, force_set_converted_type=false), want one of ["bool" "int64" "float32" "float64" "string" "binary"]`,
		`column "boxes": of type list or nested struct, want one of ["bool" "int64" "float32" "float64" "string" "binary"]`,
		`column "saliency": the name has another meaning here`,
	}
	if diff := cmp.Diff(want, s.LeftOut()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Column{{"score", Float32}}, s.Schema().Extra); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownCompressionIsAnErrorWithTheFilesName(t *testing.T) {
	s := openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/lz4.parquet"})
	for _, err := range s.Samples(context.Background(), 0) {
		if err == nil || !strings.Contains(err.Error(), "lz4.parquet") || !strings.Contains(err.Error(), "LZ4") {
			t.Errorf("got error %v, want one that names the file and LZ4", err)
		}
	}
}

func TestColumnsAreFoundByTheirNames(t *testing.T) {
	s := openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/none.parquet",
		Columns: map[string]string{"id": "group", "group": "id"}})
	got, _ := drain(t, s, 0)
	if got[0].ID != "g1" || got[0].Group != "ä 0" {
		t.Errorf("got id %q and group %q, want them exchanged", got[0].ID, got[0].Group)
	}
}

func TestRowsWithoutAnIDAreCalledByFileAndRow(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.parquet", filepath.Join("sub", "x.parquet")} {
		copyFile(t, "testdata/parquet/none.parquet", filepath.Join(dir, name))
	}
	columns := map[string]string{"group": "id"} // takes the id away
	s := openFiles(t, Files{Format: "parquet", Path: dir, Columns: columns})
	got, bad := drain(t, s, 0)
	var ids []string
	for _, x := range got {
		ids = append(ids, x.ID)
	}
	want := []string{"sub/x-0", "sub/x-1", "sub/x-2", "sub/x-3", "sub/x-4", "sub/x-6", "x-0", "x-1", "x-2", "x-3", "x-4", "x-6"}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
	if len(bad) != 2 || bad[1].Row != 5 || bad[1].Source != filepath.Join(dir, "x.parquet") {
		t.Errorf("got bad rows %v, want row 5 of each file", bad)
	}
	// From a row in the second file on, the first is not opened.
	if err := os.Remove(filepath.Join(dir, "sub", "x.parquet")); err != nil {
		t.Fatal(err)
	}
	if got, _ := drain(t, s, 8); len(got) != 5 || got[0].ID != "x-1" {
		t.Errorf("from row 8 on: got %d samples, the first %q", len(got), got[0].ID)
	}
}

func TestAColumnCanBeLeftAlone(t *testing.T) {
	for _, file := range []string{"datasets", "pandas"} { // labels of a class, and floats
		s := openFiles(t, Files{
			Format: "parquet", Path: filepath.Join("testdata", "parquet", file+".parquet"),
			Columns: map[string]string{"label": ""}, Classes: []string{"cat", "dog"},
		})
		samples, _ := drain(t, s, 0)
		if len(samples) == 0 {
			t.Errorf("%s: found no samples", file)
		}
		for _, x := range samples {
			if x.Label != NoLabel {
				t.Errorf("%s: %q: found label %d, want none", file, x.ID, x.Label)
			}
		}
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSplitsAreReadOffTheNamesOfFiles(t *testing.T) {
	for name, want := range map[string]string{
		"train-00000-of-00001.parquet": "train", "validation-00000-of-00002.parquet": "val", "dev-0-of-1.arrow": "val",
		"data-00000-of-00001.arrow": "", "train.parquet": "", "pretrain-00000-of-00001.parquet": "",
	} {
		if got := splitOfFile(name); got != want {
			t.Errorf("%s: got split %q, want %q", name, got, want)
		}
	}
}

func TestFilesThatCannotBeReadAreRefusedWithTheReason(t *testing.T) {
	const good = "testdata/parquet/none.parquet"
	for name, c := range map[string]struct {
		files Files
		want  string
	}{
		"unknown format":    {Files{Format: "csv", Path: good}, `format "csv", want parquet, arrow or huggingface`},
		"missing file":      {Files{Format: "parquet", Path: "testdata/x.parquet"}, `read "testdata/x.parquet": no such file`},
		"empty pattern":     {Files{Format: "parquet", Path: "testdata/x*.parquet"}, "no file matches"},
		"empty folder":      {Files{Format: "parquet", Path: "testdata/arrow"}, "no files with the ending .parquet or .pq"},
		"foreign file":      {Files{Format: "parquet", Path: "testdata/gen.py"}, `"testdata/gen.py": truncated or not Parquet`},
		"unknown role":      {Files{Format: "parquet", Path: good, Columns: map[string]string{"images": "x"}}, `columns: "images", want one of`},
		"no such image":     {Files{Format: "parquet", Path: good, Columns: map[string]string{"image": "imag"}}, `no image column "imag" among "id" (String), "image" (struct<bytes: BYTE_ARRAY, path: String>)`},
		"did you mean":      {Files{Format: "parquet", Path: good, Columns: map[string]string{"image": "imag"}}, `(did you mean "image"?)`},
		"image of numbers":  {Files{Format: "parquet", Path: good, Columns: map[string]string{"image": "score"}}, `image column "score" is of type FLOAT`},
		"no such label":     {Files{Format: "parquet", Path: good, Columns: map[string]string{"label": "class"}}, `no column "class" among`},
		"group of lists":    {Files{Format: "parquet", Path: good, Columns: map[string]string{"group": "boxes"}}, `column "boxes" is of type list`},
		"class given twice": {Files{Format: "parquet", Path: good, Classes: []string{"a", "a"}}, `class "a": given twice`},
		"other format":      {Files{Format: "arrow", Path: good}, "not Arrow IPC"},
		"not saved":         {Files{Format: "huggingface", Path: "testdata/parquet"}, "not a folder of save_to_disk"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenFiles(context.Background(), c.files)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestLabelsOutsideTheClassesAreBadRows(t *testing.T) {
	for file, want := range map[string]string{
		"datasets":     `label "spoof" is none of the classes ["live" "dead"]`,
		"label-string": `label "spoof" is none of the classes ["live" "dead"]`,
	} {
		_, bad := drain(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/" + file + ".parquet", Classes: []string{"live", "dead"}}), 0)
		if len(bad) != 4 || !strings.Contains(bad[0].Error(), want) {
			t.Errorf("%s: got bad rows %v, want 3 with %q and the broken one", file, bad, want)
		}
	}
	_, bad := drain(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/none.parquet", Classes: []string{"live"}}), 0)
	if want := `label 1, want a class index from 0 to 0`; len(bad) != 4 || !strings.Contains(bad[0].Error(), want) {
		t.Errorf("got bad rows %v, want 3 with %q and the broken one", bad, want)
	}
	_, bad = drain(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/label-string.parquet"}), 0)
	if want := `label "live", want a whole number, as no class names are given`; len(bad) != 6 || !strings.Contains(bad[0].Error(), want) {
		t.Errorf("got bad rows %v, want 5 with %q and the broken one", bad, want)
	}
}

func TestTruncatedFilesEndInAnErrorWithTheirName(t *testing.T) {
	for _, c := range []struct{ format, file string }{
		{"parquet", "parquet/snappy.parquet"}, {"arrow", "arrow/file.arrow"}, {"arrow", "arrow/stream.arrows"}, {"arrow", "arrow/lz4.arrows"},
	} {
		whole, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "cut"+filepath.Ext(c.file))
		for n := 0; n < len(whole); n += 1 + len(whole)/97 {
			if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
				t.Fatal(err)
			}
			if err := readForeign(Files{Format: c.format, Path: path}); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s cut to %d of %d bytes: got error %v, want one that names it", c.file, n, len(whole), err)
			}
		}
	}
}

// readForeign is the error that ends the reading of a set, if any.
func readForeign(f Files) error {
	s, err := OpenFiles(context.Background(), f)
	if err != nil {
		return err
	}
	for _, err := range s.Samples(context.Background(), 0) {
		var row *RowError
		if err != nil && !errors.As(err, &row) {
			return err
		}
	}
	return nil
}

func TestTheFingerprintOfASavedSetKnowsItsSplit(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/saved/one")); err != nil {
		t.Fatal(err)
	}
	files := Files{Format: "huggingface", Path: dir}
	before := fingerprintOf(t, openFiles(t, files))
	state, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	state = bytes.Replace(state, []byte(`"_split": null`), []byte(`"_split": "test"`), 1)
	if err := os.WriteFile(filepath.Join(dir, "state.json"), state, 0o644); err != nil {
		t.Fatal(err)
	}
	if fingerprintOf(t, openFiles(t, files)) == before {
		t.Error("found the same fingerprint of another split")
	}
}

func TestTheFingerprintOfFilesCoversImagesBesideThem(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/parquet/paths")); err != nil {
		t.Fatal(err)
	}
	files := Files{Format: "parquet", Path: dir, Workers: 2}
	before := fingerprintOf(t, openFiles(t, files))
	if again := fingerprintOf(t, openFiles(t, Files{Format: "parquet", Path: "testdata/parquet/paths/*.parquet"})); again != before {
		t.Errorf("fingerprint %s, elsewhere %s", before, again)
	}
	image := filepath.Join(dir, "3.png")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, bytes.ToUpper(b), 0o644); err != nil {
		t.Fatal(err)
	}
	if fingerprintOf(t, openFiles(t, files)) == before {
		t.Error("an image changed, the fingerprint did not")
	}
}

func TestPathsDoNotLeadOutOfTheFolderOfTheFile(t *testing.T) {
	p := part{path: "testdata/parquet/paths/t.parquet"}
	for _, name := range []string{"../paths/0.png", "/etc/passwd", "a/../../x"} {
		if _, err := p.image(nil, name); err == nil || !strings.Contains(err.Error(), "does not lead below") {
			t.Errorf("%q: got error %v", name, err)
		}
	}
	if _, err := p.image(nil, "0.png"); err != nil {
		t.Error(err)
	}
}

func TestArrowFilesAndStreamsAreRead(t *testing.T) {
	same := func(*Sample) {}
	byName := func(s *Sample) {
		if s.Label != NoLabel {
			s.Label = 1 - s.Label
		}
	}
	for name, c := range map[string]struct {
		classes []string
		change  func(*Sample)
	}{
		"file.arrow": {}, "stream.arrows": {}, "zstd.arrow": {}, "lz4.arrows": {}, "uint16.arrow": {}, "legacy.arrows": {},
		"polars.arrow": {}, "view.arrow": {},
		"large.arrow":       {change: func(s *Sample) { s.Image.Path = "" }},
		"dictionary.arrow":  {foreignClasses, byName},
		"dictionary.arrows": {foreignClasses, byName},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = same
			}
			checkForeign(t, openFiles(t, Files{Format: "arrow", Path: "testdata/arrow/" + name, Classes: c.classes}), c.change)
		})
	}
}

func TestFoldersOfSaveToDiskAreRead(t *testing.T) {
	// gen.py's label 0 is called live, the name with index 1 here.
	byName := func(s *Sample) {
		if s.Label != NoLabel {
			s.Label = 1 - s.Label
		}
	}
	t.Run("one", func(t *testing.T) {
		checkForeign(t, openFiles(t, Files{Format: "huggingface", Path: "testdata/saved/one"}), byName)
	})
	t.Run("a folder a split", func(t *testing.T) {
		splits := map[string]string{"ä 5": "val", "ä 6": "val"}
		checkForeign(t, openFiles(t, Files{Format: "huggingface", Path: "testdata/saved/dict"}), func(s *Sample) {
			byName(s)
			s.Split = "train"
			if w := splits[s.ID]; w != "" {
				s.Split = w
			}
		})
	})
}

func FuzzParquetFiles(f *testing.F) {
	fuzzFiles(f, "parquet", "snappy.parquet", "v2.parquet", "zstd.parquet")
}

func FuzzArrowFiles(f *testing.F) {
	fuzzFiles(f, "arrow", "file.arrow", "stream.arrows", "zstd.arrow", "dictionary.arrows")
}

// fuzzFiles: damaged files end in an error, never in a panic or out of memory.
func fuzzFiles(f *testing.F, format string, seeds ...string) {
	for _, name := range seeds {
		whole, err := os.ReadFile(filepath.Join("testdata", format, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
	}
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenFiles(context.Background(), Files{Format: format, Path: path})
		if err != nil {
			return
		}
		n := 0
		for range s.Samples(context.Background(), 0) {
			if n++; n > 1000 {
				return
			}
		}
	})
}

func TestAFlippedByteIsAnErrorAndNoPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for _, c := range []struct{ format, file string }{
		{"parquet", "snappy.parquet"}, {"parquet", "v2.parquet"}, {"arrow", "file.arrow"}, {"arrow", "dictionary.arrows"},
	} {
		whole, err := os.ReadFile(filepath.Join("testdata", c.format, c.file))
		if err != nil {
			t.Fatal(err)
		}
		step := 31
		if testing.Short() {
			step = 307
		}
		for i := 0; i < len(whole); i += step {
			damaged := bytes.Clone(whole)
			damaged[i] ^= []byte{1, 0x80, 0xff}[i%3]
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			readForeign(Files{Format: c.format, Path: path}) // it need not notice
		}
	}
}

func TestForeignSetsAreReadInAQuarterOfTheirSize(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 48 MB")
	}
	// One row group of 48 MB: only reading page by page stays within 12 MB.
	dir := t.TempDir()
	const rows, size = 96, 512 << 10
	image := append(pngImage(t, 8, 4, 1), make([]byte, size)...)
	samples := make([]Sample, rows)
	for i := range samples {
		samples[i] = Sample{ID: fmt.Sprint(i), Image: Encoded{Bytes: image}, Label: NoLabel, Split: "train", SaliencyQuality: NoQuality()}
	}
	writeSet(t, dir, Schema{}, Layout{RowGroupBytes: 1 << 30, ShardBytes: 1 << 30}, samples)
	s := openFiles(t, Files{Format: "parquet", Path: dir})
	n, most := 0, uint64(0)
	before := heapInUse()
	for _, err := range s.Samples(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%8 == 0 {
			most = max(most, heapInUse())
		}
	}
	if limit := uint64(rows * size / 4); n != rows || most > before+limit {
		t.Errorf("%d rows with %d bytes of heap beyond the %d before, want %d rows with at most %d", n, most-before, before, rows, limit)
	}
}

// heapInUse is the size of what the garbage collector cannot free.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestExtraColumnsOfAllFilesAreKeptUnlessTheirTypesDiffer(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		columns []Column
		values  []any
	}{
		"a": {[]Column{{"n", Int64}, {"odd", Int64}}, []any{int64(1), int64(2)}},
		"b": {[]Column{{"word", String}, {"n", Int64}, {"odd", Bool}}, []any{"w", int64(3), true}},
	} {
		s := numbered(1, 10, name)[0]
		s.Image.Bytes, s.Extra = pngImage(t, 2, 2, 0), c.values
		writeSet(t, filepath.Join(dir, name), Schema{Extra: c.columns}, DefaultLayout, []Sample{s})
	}
	s := openFiles(t, Files{Format: "parquet", Path: dir})
	if diff := cmp.Diff([]Column{{"n", Int64}, {"word", String}}, s.Schema().Extra); diff != "" {
		t.Error(diff)
	}
	left := strings.Join(s.LeftOut(), "\n")
	if !strings.Contains(left, `column "odd": INT64 in`) || !strings.Contains(left, "BOOLEAN in") {
		t.Errorf("left out: %s, want the column odd with both types", left)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 2 || len(bad) != 0 {
		t.Fatalf("got %d samples and bad rows %v, want 2 and none", len(samples), bad)
	}
	if diff := cmp.Diff([][]any{{int64(1), nil}, {int64(3), "w"}}, [][]any{samples[0].Extra, samples[1].Extra}); diff != "" {
		t.Error(diff)
	}
}

func TestAPanicOfTheReaderIsTheReaders(t *testing.T) {
	for format, path := range map[string]string{"parquet": "testdata/parquet/none.parquet", "arrow": "testdata/arrow/file.arrow"} {
		s := openFiles(t, Files{Format: format, Path: path})
		func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("%s: got panic %v, want the reader's own", format, p)
				}
			}()
			for range s.Samples(context.Background(), 0) {
				panic("mine")
			}
		}()
	}
}
