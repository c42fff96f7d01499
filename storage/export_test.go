package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// exportable is a small set of real images.
func exportable(t testing.TB, n int) *Dataset {
	t.Helper()
	dir := t.TempDir()
	var samples []Sample
	for i := range n {
		s := Sample{ID: fmt.Sprintf("%d.png", i), Image: Encoded{pngImage(t, 8, 4, uint8(i)), "x.png"}, Label: int64(i % 2),
			Saliency: Encoded{saliencyMap(t, 8, 4), "m.png"}, SaliencySource: SourceHuman, SaliencyQuality: NoQuality(), Split: "train"}
		if i%3 == 2 {
			s.Split, s.Saliency, s.SaliencySource, s.Label = "val", Encoded{}, "", NoLabel
		}
		samples = append(samples, s)
	}
	writeSet(t, dir, Schema{Classes: []string{"live", "spoof"}}, Layout{RowGroupBytes: 2000, ShardBytes: 4000}, samples)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exportTo(t testing.TB, format, dir string, set *Dataset) *ExportSummary {
	t.Helper()
	e, err := NewExporter(format, 2)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := e.Export(context.Background(), set, dir)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// tree maps the files below a folder to their content.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var exportFormats = []string{"hf-parquet", "imagefolder"}

func TestAnExportIsADataSetAgain(t *testing.T) {
	set := exportable(t, 9)
	dir := filepath.Join(t.TempDir(), "a", "b")
	summary := exportTo(t, "hf-parquet", dir, set)
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(readAll(t, set), readAll(t, again), sampleEqual); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"train": 6, "val": 3}, summary.Samples); diff != "" || len(summary.Notes) != 0 {
		t.Errorf("got notes %v and samples %s", summary.Notes, diff)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v beside the export", entries, err)
	}
}

func TestASummaryCountsWhatAFormatHasNoPlaceFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	summary := exportTo(t, "imagefolder", dir, exportable(t, 9))
	files := tree(t, dir)
	// 6 samples with image and map, 3 with an image alone, 2 metadata files, the card.
	if summary.Files != 18 || len(files) != 19 {
		t.Errorf("got %d files in the summary and %d in the folder, want 18 and the mark", summary.Files, len(files))
	}
	bytes := int64(0)
	for name, content := range files {
		if name != exportMark {
			bytes += int64(len(content))
		}
	}
	want := &ExportSummary{Format: "imagefolder", Samples: map[string]int{"train": 6, "val": 3}, Files: 18, Bytes: bytes,
		Notes: []ExportNote{{6, "maps lost precision on the way to 8 bits"}, {6, "maps lost the file names that they came with"}}}
	if diff := cmp.Diff(want, summary); diff != "" {
		t.Error(diff)
	}
}

func TestACrashInAnExportLeavesTheEarlierOneOrTheNew(t *testing.T) {
	one, two := exportable(t, 1), exportable(t, 2)
	for _, format := range exportFormats {
		t.Run(format, func(t *testing.T) {
			want := map[bool]map[string]string{}
			for later, set := range map[bool]*Dataset{false: one, true: two} {
				dir := filepath.Join(t.TempDir(), "x")
				exportTo(t, format, dir, set)
				want[later] = tree(t, dir)
			}
			for n := 0; ; n++ {
				dir := filepath.Join(t.TempDir(), "x")
				exportTo(t, format, dir, one)
				made, err := NewExporter(format, 1)
				if err != nil {
					t.Fatal(err)
				}
				failing := *made.(*exporter)
				failing.disk = &failingStore{failingDisk{left: n}}
				_, err = failing.Export(context.Background(), two, dir)
				if err != nil && !errors.Is(err, errFull) {
					t.Fatalf("call %d fails: got error %v, want %v", n, err, errFull)
				}
				place := dir
				if !exists(dir) {
					place = filepath.Join(filepath.Dir(dir), ".x.old")
				}
				if got := tree(t, place); !cmp.Equal(got, want[true]) && (err == nil || !cmp.Equal(got, want[false])) {
					t.Fatalf("call %d fails: %q holds neither export", n, place)
				}
				exportTo(t, format, dir, two)
				entries, readErr := os.ReadDir(filepath.Dir(dir))
				if got := tree(t, dir); !cmp.Equal(got, want[true]) || readErr != nil || len(entries) != 1 {
					t.Fatalf("call %d fails: the next export leaves %v", n, entries)
				}
				if err == nil {
					if n < 10 {
						t.Fatalf("no failure at call %d: the faults reach nothing", n)
					}
					return
				}
			}
		})
	}
}

func TestAnExportDoesNotReplaceWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	set := exportable(t, 2)
	exportTo(t, "hf-parquet", filepath.Join(dir, "empty"), set)
	note := filepath.Join(dir, "mine", "note.txt")
	if err := os.MkdirAll(filepath.Dir(note), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{filepath.Dir(note), note} {
		e, err := NewExporter("imagefolder", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Export(context.Background(), set, place); err == nil {
			t.Errorf("%q was replaced", place)
		}
	}
	if text, err := os.ReadFile(note); err != nil || string(text) != "mine" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAnExportWithAFileOfSomebodyElseIsNotReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	set := exportable(t, 2)
	exportTo(t, "imagefolder", dir, set)
	note := filepath.Join(dir, "train", "note.txt")
	if err := os.WriteFile(note, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := NewExporter("imagefolder", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Export(context.Background(), set, dir); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("got error %v, want the folder to be refused", err)
	}
	if text, err := os.ReadFile(note); err != nil || string(text) != "mine" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAnExportEndsWithItsContextAndLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, format := range exportFormats {
		dir := t.TempDir()
		e, err := NewExporter(format, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Export(ctx, exportable(t, 3), filepath.Join(dir, "x")); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v, want %v", format, err, context.Canceled)
		}
		if files := tree(t, dir); len(files) != 0 {
			t.Errorf("%s: %d files are left", format, len(files))
		}
	}
}

func TestTwoExportsToOnePlaceDoNotMix(t *testing.T) {
	dir := t.TempDir()
	e := &exporter{name: "x", disk: osStoreDisk{}}
	e.write = func(ctx context.Context, x *export) error {
		second := &exporter{"y", osStoreDisk{}, func(context.Context, *export) error { return nil }}
		_, err := second.Export(ctx, x.set, filepath.Join(dir, "x"))
		return err
	}
	if _, err := e.Export(context.Background(), exportable(t, 1), filepath.Join(dir, "x")); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("got error %v, want one about the process that is writing it", err)
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	if _, err := NewExporter("coco", 1); err == nil || !strings.Contains(err.Error(), `"coco", want hf-parquet or imagefolder`) {
		t.Errorf("got error %v", err)
	}
}

func TestFileNamesOfExportsAreSafeAndDistinct(t *testing.T) {
	word := rapid.StringOfN(rapid.SampledFrom([]rune("aAb.-_/\\ é2\x00*")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		given, seen := names{}, map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "files") {
			name := given.pick(word.Draw(t, "id"))
			if seen[strings.ToLower(name)] {
				t.Fatalf("%q was given out twice", name)
			}
			seen[strings.ToLower(name)] = true
			if !filepath.IsLocal(name) || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\ \x00*") || !utf8.ValidString(name) {
				t.Fatalf("name %q", name)
			}
		}
	})
	for id, want := range map[string]string{
		"a.png": "a", "a.b": "a.b", "x/y.JPG": "x_y", "...": "image", "": "image", strings.Repeat("ä", 80): strings.Repeat("ä", 50),
	} {
		if got := safeName(id); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

func TestMasksOf8BitsAreKeptToTheLevel(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	mask, exact, err := mask8(b.Bytes())
	if err != nil || !exact {
		t.Fatalf("exact %v, error %v", exact, err)
	}
	back, err := png.Decode(bytes.NewReader(mask))
	if err != nil {
		t.Fatal(err)
	}
	if grey, ok := back.(*image.Gray); !ok || !bytes.Equal(grey.Pix, m.Pix) {
		t.Errorf("got %T, want the same levels of grey", back)
	}
}
