package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sampleEqual takes two NaN qualities for equal. It compares bytes as a whole,
// which is much faster than one by one.
var sampleEqual = cmp.Options{cmpopts.EquateNaNs(), cmp.Comparer(func(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
})}

func writeSet(t testing.TB, dir string, schema Schema, layout Layout, samples []Sample) {
	t.Helper()
	w, err := CreateWith(dir, schema, layout)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, d *Dataset) []Sample {
	t.Helper()
	var out []Sample
	for s, err := range d.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// blob is n bytes that depend on seed.
func blob(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*31 + seed
	}
	return b
}

// numbered are n samples of one split with images of size bytes.
func numbered(n, size int, split string) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		samples[i] = Sample{
			ID: fmt.Sprintf("%s/%d", split, i), Image: Encoded{Bytes: blob(size, byte(i)), Path: "x.png"},
			Label: int64(i % 2), SaliencyQuality: NoQuality(), Split: split,
		}
	}
	return samples
}

func encodedGen(always bool) *rapid.Generator[Encoded] {
	return rapid.Custom(func(t *rapid.T) Encoded {
		if !always && rapid.Bool().Draw(t, "absent") {
			return Encoded{}
		}
		return Encoded{
			Bytes: blob(rapid.IntRange(1, 2000).Draw(t, "size"), rapid.Byte().Draw(t, "seed")),
			Path:  rapid.SampledFrom([]string{"", "a.png", "ä b.jpg"}).Draw(t, "path"),
		}
	})
}

var everyKind = []Column{{"flag", Bool}, {"count", Int64}, {"half", Float32}, {"real", Float64}, {"word", String}, {"raw", Bytes}}

func sampleGen(id int) *rapid.Generator[Sample] {
	return rapid.Custom(func(t *rapid.T) Sample {
		s := Sample{
			ID:              fmt.Sprintf("id %d", id),
			Image:           encodedGen(true).Draw(t, "image"),
			Label:           rapid.Int64Range(NoLabel, 2).Draw(t, "label"),
			Saliency:        encodedGen(false).Draw(t, "saliency"),
			SaliencySource:  rapid.SampledFrom([]string{"", SourceHuman}).Draw(t, "source"),
			SaliencyModel:   rapid.SampledFrom([]string{"", "key"}).Draw(t, "model"),
			SaliencyQuality: NoQuality(),
			Reference:       encodedGen(false).Draw(t, "reference"),
			Predicted:       encodedGen(false).Draw(t, "predicted"),
			Split:           rapid.SampledFrom([]string{"train", "val", "test"}).Draw(t, "split"),
			Group:           rapid.SampledFrom([]string{"", "g1", "g2"}).Draw(t, "group"),
		}
		if s.Saliency.Present() && rapid.Bool().Draw(t, "judged") {
			s.SaliencyQuality = rapid.Float32Range(-1, 1).Draw(t, "quality")
		}
		values := []any{true, int64(math.MinInt64), float32(0.5), 1e300, "", []byte{}}
		if rapid.Bool().Draw(t, "extra") {
			s.Extra = make([]any, len(values))
			for i, v := range values {
				if i == 0 || rapid.Bool().Draw(t, "value") {
					s.Extra[i] = v
				}
			}
		}
		return s
	})
}

func TestSamplesComeBackAsTheyWereWritten(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "samples")
		samples := make([]Sample, n)
		for i := range samples {
			samples[i] = sampleGen(i).Draw(t, "sample")
		}
		runs++
		dir := filepath.Join(base, fmt.Sprint(runs))
		schema := Schema{Classes: []string{"live", "spoof", "ä"}, References: true, Predictions: true, Extra: everyKind}
		w, err := CreateWith(dir, schema, Layout{RowGroupBytes: rapid.Int64Range(1, 9000).Draw(t, "group"), ShardBytes: 20000})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if err := w.Append(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(schema, d.Schema()); diff != "" {
			t.Fatal(diff)
		}
		want := slices.Clone(samples)
		slices.SortStableFunc(want, func(a, b Sample) int { return strings.Compare(a.Split, b.Split) })
		var got []Sample
		for s, err := range d.All(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s)
		}
		if diff := cmp.Diff(want, got, sampleEqual); diff != "" {
			t.Fatal(diff)
		}
		for i, r := range d.Rows() {
			s := want[i]
			light := Row{s.ID, s.Label, s.Split, s.Group, s.SaliencySource, s.SaliencyModel, s.SaliencyQuality,
				s.Saliency.Present(), s.Reference.Present(), s.Predicted.Present()}
			if diff := cmp.Diff(light, r, sampleEqual); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestTheSameSamplesGiveTheSameBytes(t *testing.T) {
	layout := Layout{RowGroupBytes: 20000, ShardBytes: 60000}
	samples := append(numbered(50, 3000, "train"), numbered(9, 100, "val")...)
	a, b := t.TempDir(), t.TempDir()
	writeSet(t, a, Schema{Classes: []string{"x", "y"}}, layout, samples)
	writeSet(t, b, Schema{Classes: []string{"x", "y"}}, layout, samples)
	if diff := cmp.Diff(folder(t, a), folder(t, b)); diff != "" {
		t.Error(diff)
	}
}

// folder maps the names of the files in a data set to their content.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	return tree(t, filepath.Join(dir, dataFolder))
}

func TestRowGroupsAndShardsAreCutByBytes(t *testing.T) {
	dir := t.TempDir()
	// A row counts as its 10000 bytes and less than 1000 for itself, so that 5 of
	// them fit 60000 bytes, and two such groups a shard of 110000.
	writeSet(t, dir, Schema{}, Layout{RowGroupBytes: 60000, ShardBytes: 115000}, numbered(23, 10000, "train"))
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []RowGroup{{0, 5}, {5, 5}, {10, 5}, {15, 5}, {20, 3}}
	if diff := cmp.Diff(want, d.Groups()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, f := range d.Files() {
		names = append(names, filepath.Base(f))
	}
	if diff := cmp.Diff([]string{"train-00000-of-00003.parquet", "train-00001-of-00003.parquet", "train-00002-of-00003.parquet"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestARowLargerThanARowGroupStandsAlone(t *testing.T) {
	dir := t.TempDir()
	samples := numbered(3, 10, "train")
	samples[1].Image.Bytes = blob(5000, 1)
	writeSet(t, dir, Schema{}, Layout{RowGroupBytes: 2000, ShardBytes: 3000}, samples)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]RowGroup{{0, 1}, {1, 1}, {2, 1}}, d.Groups()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(samples, readAll(t, d), sampleEqual); diff != "" {
		t.Error(diff)
	}
}

func TestRowsAreReadInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	samples := numbered(60, 1000, "train")
	writeSet(t, dir, Schema{}, Layout{RowGroupBytes: 8000, ShardBytes: 30000}, samples)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.cache.keep = false
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOf(rapid.IntRange(0, len(samples)-1)).Draw(t, "rows")
		i := 0
		for s, err := range d.WithWindow(rapid.IntRange(1, 3).Draw(t, "window")).Read(context.Background(), rows) {
			if err != nil {
				t.Fatal(err)
			}
			if s.ID != samples[rows[i]].ID || !bytes.Equal(s.Image.Bytes, samples[rows[i]].Image.Bytes) {
				t.Fatalf("row %d: got %q, want %q", rows[i], s.ID, samples[rows[i]].ID)
			}
			i++
		}
		if i != len(rows) {
			t.Fatalf("got %d rows, want %d", i, len(rows))
		}
	})
}

func TestReadingInOrderReadsEachGroupOnce(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{}, Layout{RowGroupBytes: 8000, ShardBytes: 1 << 20}, numbered(100, 1000, "train"))
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.cache.keep = false
	const window = 3
	d = d.WithWindow(window)
	r := newGroupReader(d, Order(d.Groups(), nil, 7, 1, window))
	loads, last := 0, map[int]bool{}
	for i, row := range r.rows {
		if _, err := r.sample(i, row); err != nil {
			t.Fatal(err)
		}
		if len(r.held) > window {
			t.Fatalf("%d groups held, want at most %d", len(r.held), window)
		}
		now := map[int]bool{}
		for _, h := range r.held {
			now[h.number] = true
			if !last[h.number] {
				loads++
			}
		}
		last = now
	}
	r.stop()
	if loads != len(d.Groups()) {
		t.Errorf("%d groups read, want each of the %d once", loads, len(d.Groups()))
	}
}

func TestOrderVisitsEveryKeptRowOnceWithinItsWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var groups []RowGroup
		n := 0
		for _, l := range rapid.SliceOf(rapid.IntRange(0, 9)).Draw(t, "lengths") {
			groups = append(groups, RowGroup{n, l})
			n += l
		}
		window := rapid.IntRange(0, 4).Draw(t, "window")
		seed, epoch := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 1000).Draw(t, "epoch")
		keep := func(row int) bool { return row%3 != 0 }
		order := Order(groups, keep, seed, epoch, window)
		if again := Order(groups, keep, seed, epoch, window); !slices.Equal(order, again) {
			t.Fatal("the same arguments gave another order")
		}
		sorted := slices.Sorted(slices.Values(order))
		var want []int
		for i := range n {
			if keep(i) {
				want = append(want, i)
			}
		}
		if !slices.Equal(sorted, want) {
			t.Fatalf("got rows %v, want %v", sorted, want)
		}
	})
}

func TestOrderIsThatOfOneGroupWhereAWindowHoldsAll(t *testing.T) {
	const rows = 11
	whole := Order([]RowGroup{{0, rows}}, nil, 3, 5, 4)
	for _, cuts := range [][]RowGroup{{{0, 10}, {10, 1}}, {{0, 2}, {2, 3}, {5, 1}, {6, 5}}} {
		if got := Order(cuts, nil, 3, 5, 4); !slices.Equal(got, whole) {
			t.Errorf("in %d groups: got %v, want %v", len(cuts), got, whole)
		}
	}
}

func TestOrderIsTheSameForEver(t *testing.T) {
	groups := []RowGroup{{0, 3}, {3, 3}, {6, 2}}
	// Written down: a change here breaks the resumption of runs begun before it, and
	// raises the versions of the stages that train.
	for _, c := range []struct {
		epoch, window int
		want          []int
	}{
		{0, 1, orderGolden[0]}, {1, 1, orderGolden[1]}, {0, 3, orderGolden[2]},
	} {
		if got := Order(groups, nil, 42, c.epoch, c.window); !slices.Equal(got, c.want) {
			t.Errorf("epoch %d, window %d: got %v, want %v", c.epoch, c.window, got, c.want)
		}
	}
}

func TestTruncatedParquetIsRefusedWithItsName(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{}, DefaultLayout, numbered(4, 1000, "train"))
	path := filepath.Join(dir, dataFolder, "train-00000-of-00001.parquet")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 8, 100, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%d of %d bytes: got error %v, want one that names %q", n, len(whole), err, path)
		}
	}
}

func TestDamagedParquetIsAnErrorAndNoPanic(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{Classes: []string{"a", "b"}}, DefaultLayout, numbered(4, 300, "train"))
	path := filepath.Join(dir, dataFolder, "train-00000-of-00001.parquet")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		damaged := bytes.Clone(whole)
		damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			return
		}
		for range d.All(context.Background()) {
		}
	})
}

func TestIncompleteDataSetsAreRefused(t *testing.T) {
	layout := Layout{RowGroupBytes: 3000, ShardBytes: 3000}
	for name, c := range map[string]struct {
		change func(data string) error
		want   string
	}{
		"a missing shard": {func(data string) error { return os.Remove(filepath.Join(data, "train-00001-of-00003.parquet")) },
			"train-00001-of-00003.parquet"},
		"a shard being written": {func(data string) error { return os.WriteFile(filepath.Join(data, "val-00000.writing"), nil, 0o644) },
			"val-00000.writing: the data set was not finished"},
		"no files": {func(data string) error {
			return errors.Join(os.RemoveAll(data), os.Mkdir(data, 0o755))
		}, "no files data/"},
		"no folder": {os.RemoveAll, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeSet(t, dir, Schema{}, layout, numbered(6, 1000, "train"))
			if err := c.change(filepath.Join(dir, dataFolder)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestShardsOfDifferentSchemasAreRefused(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	writeSet(t, a, Schema{Classes: []string{"x", "y"}}, DefaultLayout, numbered(2, 10, "train"))
	writeSet(t, b, Schema{Classes: []string{"y", "x"}}, DefaultLayout, numbered(2, 10, "val"))
	name := "val-00000-of-00001.parquet"
	if err := os.Rename(filepath.Join(b, dataFolder, name), filepath.Join(a, dataFolder, name)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(a); err == nil || !strings.Contains(err.Error(), "another schema") {
		t.Errorf("got error %v, want one about another schema", err)
	}
}

func TestBadSamplesAreRefusedWithTheirID(t *testing.T) {
	good := numbered(1, 10, "train")[0]
	for name, c := range map[string]struct {
		change func(*Sample)
		want   string
	}{
		"no id":                 {func(s *Sample) { s.ID = "" }, "without id"},
		"no image":              {func(s *Sample) { s.Image.Bytes = nil }, `"train/0": no image`},
		"label too large":       {func(s *Sample) { s.Label = 2 }, `"train/0": label 2, want -1 (none) or 0 to 1`},
		"label too small":       {func(s *Sample) { s.Label = -2 }, "label -2"},
		"no split":              {func(s *Sample) { s.Split = "" }, `split ""`},
		"split with a slash":    {func(s *Sample) { s.Split = "a/b" }, `split "a/b"`},
		"reference unasked":     {func(s *Sample) { s.Reference.Bytes = []byte{1} }, "saliency_reference"},
		"prediction unasked":    {func(s *Sample) { s.Predicted.Bytes = []byte{1} }, "saliency_predicted"},
		"extra of wrong type":   {func(s *Sample) { s.Extra = []any{1} }, `column "n" holds int, want int64`},
		"too many extra values": {func(s *Sample) { s.Extra = []any{nil, nil} }, "2 extra values"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := Create(t.TempDir(), Schema{Classes: []string{"a", "b"}, Extra: []Column{{"n", Int64}}})
			if err != nil {
				t.Fatal(err)
			}
			s := good
			c.change(&s)
			if err := w.Append(s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASecondSampleOfTheSameIDIsRefused(t *testing.T) {
	dir := t.TempDir()
	samples := numbered(9, 900, "train")
	layout := Layout{RowGroupBytes: 3000, ShardBytes: 5000}
	w, err := CreateWith(dir, Schema{}, layout)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
		s.Split = "val"
		if err := w.Append(s); !errors.Is(err, ErrDuplicateID) {
			t.Fatalf("got error %v, want %v", err, ErrDuplicateID)
		}
	}
	w.closeFiles() // as a kill would
	w, err = Continue(dir, Schema{}, layout)
	if err != nil {
		t.Fatal(err)
	}
	done := w.Done()["train"]
	if done == 0 {
		t.Fatal("no shard was finished")
	}
	for i, s := range samples {
		if err := w.Append(s); errors.Is(err, ErrDuplicateID) != (i < done) {
			t.Errorf("row %d of which %d are in finished shards: got error %v", i, done, err)
		}
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefusesAFolderThatHoldsADataSet(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{}, DefaultLayout, numbered(1, 10, "train"))
	if _, err := Create(dir, Schema{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrExist)
	}
}

func TestASetThatCannotBeContinuedStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	layout := Layout{RowGroupBytes: 3000, ShardBytes: 8000}
	writeSet(t, dir, Schema{}, layout, numbered(40, 900, "train"))
	shards, err := shardPaths(dir)
	if err != nil || len(shards) < 3 {
		t.Fatalf("found files %q, %v, want several", shards, err)
	}
	if err := os.Remove(shards[1]); err != nil {
		t.Fatal(err)
	}
	want := folder(t, dir)
	if _, err := Continue(dir, Schema{}, layout); err == nil {
		t.Error("a set with a gap is continued")
	}
	if diff := cmp.Diff(want, folder(t, dir)); diff != "" {
		t.Error("the files have changed")
	}
}

func TestClearRemovesWhatIsUnfinishedAndOursAlone(t *testing.T) {
	for name, x := range map[string]struct {
		files, left []string
		cleared     bool
	}{
		"nothing":          {nil, nil, true},
		"unfinished":       {[]string{"train-00000.writing"}, nil, true},
		"and of others":    {[]string{"train-00000.writing", "notes.txt"}, []string{"notes.txt"}, true},
		"a finished shard": {[]string{"train-00000.part", "train-00001.writing"}, []string{"train-00000.part", "train-00001.writing"}, false},
		"a closed set":     {[]string{"train-00000-of-00001.parquet"}, []string{"train-00000-of-00001.parquet"}, false},
	} {
		dir := t.TempDir()
		if len(x.files) > 0 {
			if err := os.Mkdir(filepath.Join(dir, dataFolder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range x.files {
			if err := os.WriteFile(filepath.Join(dir, dataFolder, file), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cleared, err := Clear(dir)
		if err != nil || cleared != x.cleared {
			t.Errorf("%s: found %v, %v, want %v", name, cleared, err, x.cleared)
		}
		left, err := FolderEntries(filepath.Join(dir, dataFolder))
		if diff := cmp.Diff(x.left, left); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestContinueEndsByteEqualToAnUnbrokenWriter(t *testing.T) {
	layout := Layout{RowGroupBytes: 3000, ShardBytes: 8000}
	var samples []Sample
	for i, s := range numbered(40, 900, "train") {
		if i%4 == 0 {
			s.Split = "val"
		}
		samples = append(samples, s)
	}
	whole := t.TempDir()
	writeSet(t, whole, Schema{}, layout, samples)
	want := folder(t, whole)
	for stop := range len(samples) + 1 {
		dir := t.TempDir()
		w, err := CreateWith(dir, Schema{}, layout)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples[:stop] {
			if err := w.Append(s); err != nil {
				t.Fatal(err)
			}
		}
		w.closeFiles() // as a kill would
		w, err = Continue(dir, Schema{}, layout)
		if err != nil {
			t.Fatal(err)
		}
		done := w.Done()
		for _, s := range samples {
			if done[s.Split] > 0 {
				done[s.Split]--
				continue
			}
			if err := w.Append(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, folder(t, dir)); diff != "" {
			t.Fatalf("stopped after %d samples: %s", stop, diff)
		}
	}
}

// failingDisk fails the n-th call that changes something, and all after it, as a
// full disk does.
type failingDisk struct {
	osDisk
	left int
}

var errFull = fmt.Errorf("write: %w", syscall.ENOSPC)

func (d *failingDisk) step() error {
	d.left--
	if d.left < 0 {
		return errFull
	}
	return nil
}

func (d *failingDisk) MkdirAll(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.osDisk.MkdirAll(path)
}

func (d *failingDisk) Create(path string) (diskFile, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Create(path)
	return &failingFile{f, d}, err
}

func (d *failingDisk) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.osDisk.Rename(from, to)
}

type failingFile struct {
	diskFile
	disk *failingDisk
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.disk.step(); err != nil {
		n, _ := f.diskFile.Write(p[:len(p)/2])
		return n, err
	}
	return f.diskFile.Write(p)
}

func (f *failingFile) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	return f.diskFile.Sync()
}

var _ io.Writer = (*failingFile)(nil)

func TestAFullDiskLeavesNothingUnderAFinalName(t *testing.T) {
	layout := Layout{RowGroupBytes: 3000, ShardBytes: 8000}
	samples := numbered(20, 900, "train")
	write := func(d disk, dir string) error {
		w, err := create(d, dir, Schema{}, layout)
		if err != nil {
			return err
		}
		for _, s := range samples {
			if err := w.Append(s); err != nil {
				return err
			}
		}
		return w.Close()
	}
	for n := 0; ; n++ {
		dir := t.TempDir()
		err := write(&failingDisk{left: n}, dir)
		if err == nil {
			if n < 10 {
				t.Fatalf("no failure at call %d: the faults reach nothing", n)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("call %d fails: got error %v, want %v", n, err, syscall.ENOSPC)
		}
		if _, err := Open(dir); err == nil {
			t.Fatalf("call %d fails: what is left opens as a data set", n)
		}
	}
}

func TestAbortLeavesAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	w, err := CreateWith(dir, Schema{}, Layout{RowGroupBytes: 3000, ShardBytes: 8000})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range numbered(20, 900, "train") {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if files := folder(t, dir); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
}

func TestReadingStopsWhenTheContextEnds(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{}, DefaultLayout, numbered(5, 10, "train"))
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	var last error
	for _, err := range d.All(ctx) {
		if last = err; err == nil {
			n++
		}
		if n == 2 {
			cancel()
		}
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("got %d samples and error %v, want 2 and %v", n, last, context.Canceled)
	}
}

// orderGolden holds the orders of TestOrderIsTheSameForEver.
var orderGolden = [][]int{
	{1, 0, 2, 6, 7, 4, 3, 5},
	{0, 2, 1, 7, 6, 4, 3, 5},
	{5, 1, 2, 7, 4, 3, 0, 6},
}
