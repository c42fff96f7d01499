package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/file"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// predicted yields n predictions of a classifier, of which the third has no label, and
// then err if that is not nil.
func predicted(t testing.TB, n int, err error) iter.Seq2[Prediction, error] {
	t.Helper()
	return func(yield func(Prediction, error) bool) {
		for i := range n {
			x := Prediction{
				ID: fmt.Sprintf("a/%d.png", i), Image: Encoded{Bytes: pngImage(t, 8, 4, uint8(i))}, Label: int64(i % 2),
				Map: Encoded{Bytes: saliencyMap(t, 4, 2)}, Quality: NoQuality(),
				Class: 1, Scores: []float64{0.25, 0.75}, Logits: []float32{float32(i), 2},
			}
			if i == 2 {
				x.Label = NoLabel
			}
			if !yield(x, nil) {
				return
			}
		}
		if err != nil {
			yield(Prediction{}, err)
		}
	}
}

// leavesOf reads the names of a Parquet file's columns, and the values and levels of
// the one of float64.
func leavesOf(t testing.TB, path string) (names []string, values []float64, defined, repeated []int16) {
	t.Helper()
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range f.MetaData().Schema.NumColumns() {
		names = append(names, f.MetaData().Schema.Column(i).Path())
		column, err := f.RowGroup(0).Column(i)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := column.(*file.Float64ColumnChunkReader)
		if !ok {
			continue
		}
		values, defined, repeated = make([]float64, 64), make([]int16, 64), make([]int16, 64)
		n, k, err := r.ReadBatch(64, values, defined, repeated)
		if err != nil {
			t.Fatal(err)
		}
		values, defined, repeated = values[:k], defined[:n], repeated[:n]
	}
	return names, values, defined, repeated
}

func TestPredictionsOfAClassifierAreAParquetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.parquet")
	if err := WritePredictions(path, Predictions{Classified: true, Classes: []string{"live", "spoof"}}, predicted(t, 3, nil)); err != nil {
		t.Fatal(err)
	}
	names, values, defined, repeated := leavesOf(t, path)
	want := []string{"id", "label", "prediction", "score.list.element", "logits.list.element", "cam.bytes", "cam.path"}
	if !slices.Equal(names, want) {
		t.Errorf("found the columns %q, want %q", names, want)
	}
	if !slices.Equal(values, []float64{0.25, 0.75, 0.25, 0.75, 0.25, 0.75}) ||
		!slices.Equal(defined, []int16{3, 3, 3, 3, 3, 3}) || !slices.Equal(repeated, []int16{0, 1, 0, 1, 0, 1}) {
		t.Errorf("found the scores %v at levels %v and %v, want lists of two", values, defined, repeated)
	}
}

func TestPredictionsOfAPredictorAreASetOfImages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.parquet")
	if err := WritePredictions(path, Predictions{}, predicted(t, 3, nil)); err != nil {
		t.Fatal(err)
	}
	s := openFiles(t, Files{Format: "parquet", Path: path, Columns: map[string]string{"image": "saliency"}})
	got, bad := drain(t, s, 0)
	if len(got) != 3 || len(bad) != 0 || got[0].ID != "a/0.png" || got[1].Label != 1 || got[2].Label != NoLabel {
		t.Errorf("found %+v and %v, want the three maps under their ids and labels", got, bad)
	}
}

func TestPredictionsAppearWholeOrNotAtAll(t *testing.T) {
	broken := errors.New("broken")
	dir := t.TempDir()
	err := WritePredictions(filepath.Join(dir, "p.parquet"), Predictions{Classified: true}, predicted(t, 3, broken))
	if !errors.Is(err, broken) {
		t.Errorf("found %v, want %v", err, broken)
	}
	err = WriteOverlays(t.Context(), filepath.Join(dir, "overlays"), 2, predicted(t, 3, broken))
	if !errors.Is(err, broken) {
		t.Errorf("found %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteOverlays(ctx, filepath.Join(dir, "overlays"), 2, predicted(t, 3, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v, want %v", err, context.Canceled)
	}
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("found %v, want nothing", left)
	}
}

func TestAnOverlayIsTheMapOverItsImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlays")
	if err := os.Mkdir(dir, 0o755); err != nil { // an empty folder is no hindrance
		t.Fatal(err)
	}
	if err := WriteOverlays(t.Context(), dir, 3, predicted(t, 9, nil)); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("a_%d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := raster.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		image, err := raster.Decode(pngImage(t, 8, 4, uint8(i)))
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := raster.DecodeMap(saliencyMap(t, 4, 2))
		if err != nil {
			t.Fatal(err)
		}
		if want := raster.Overlay(image, drawn); !slices.Equal(got.Pix, want.Pix) {
			t.Errorf("overlay %d is another picture", i)
		}
	}
	err := WriteOverlays(t.Context(), dir, 1, predicted(t, 1, nil))
	if err == nil || !strings.Contains(err.Error(), `the folder holds "a_0.png": want a new or an empty one`) {
		t.Errorf("found %v, want that the folder is not empty", err)
	}
}

func TestImagesAreFoundBelowFoldersAndByName(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"x/b.png": pngImage(t, 8, 4, 1), "x/a/c.PNG": pngImage(t, 8, 4, 2), "x/notes.txt": []byte("no image"),
		"x/.hidden/d.png": pngImage(t, 8, 4, 3), "x/broken.jpg": []byte("no image"), "single": pngImage(t, 8, 4, 4),
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	single := filepath.Join(dir, "single")
	for _, workers := range []int{1, 3} {
		s, err := OpenImages(Images{Paths: []string{filepath.Join(dir, "x"), single}, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		good, bad := drain(t, s, 0)
		var ids []string
		for _, x := range good {
			ids = append(ids, x.ID)
			if x.Label != NoLabel || len(x.Image.Bytes) == 0 {
				t.Errorf("found %+v, want an image without a label", x)
			}
		}
		if want := []string{"a/c.PNG", "b.png", filepath.ToSlash(single)}; !slices.Equal(ids, want) {
			t.Errorf("found %q, want %q", ids, want)
		}
		if len(bad) != 1 || bad[0].ID != "broken.jpg" || bad[0].Row != 2 {
			t.Errorf("found the unusable rows %v, want broken.jpg in row 2", bad)
		}
		if s.Rows() != 4 {
			t.Errorf("found %d rows, want 4", s.Rows())
		}
	}
	if _, err := OpenImages(Images{Paths: []string{filepath.Join(dir, "nowhere")}, Workers: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v, want that the path does not exist", err)
	}
}

func TestAFingerprintOfImagesKnowsTheirContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	var sums []string
	for seed := range uint8(2) {
		if err := os.WriteFile(path, pngImage(t, 8, 4, seed), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenImages(Images{Paths: []string{path}, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fingerprintOf(t, s))
	}
	if sums[0] == sums[1] {
		t.Error("found the same fingerprint of other images")
	}
}

func TestImagesOfSeveralFoldersHaveIDsThatTellThemApart(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a/x.png", "b/x.png", "b/y.png"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pngImage(t, 8, 4, uint8(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, x := range []struct{ paths, want []string }{
		{[]string{"b"}, []string{"x.png", "y.png"}},
		{[]string{"a", "b/y.png"}, []string{"x.png", "b/y.png"}},
		{[]string{"a", "b"}, []string{"a/x.png", "b/x.png", "b/y.png"}},
		{[]string{"?"}, []string{"a/x.png", "b/x.png", "b/y.png"}},
		{[]string{"*/x.png"}, []string{"a/x.png", "b/x.png"}},
	} {
		sources, err := OpenEachImages(x.paths, 1)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, s := range sources {
			good, _ := drain(t, s, 0)
			for _, x := range good {
				ids = append(ids, x.ID)
			}
		}
		if !slices.Equal(ids, x.want) {
			t.Errorf("%q: found %q, want %q", x.paths, ids, x.want)
		}
	}
}
