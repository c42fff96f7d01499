package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// pngImage is a w x h PNG whose pixels depend on seed.
func pngImage(t testing.TB, w, h int, seed uint8) []byte {
	t.Helper()
	m := raster.NewImage(w, h)
	for i := range m.Pix {
		m.Pix[i] = uint8(i)*7 + seed
	}
	b, err := raster.EncodePNG(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// saliencyMap is a w x h 16-bit PNG, bright to the right.
func saliencyMap(t testing.TB, w, h int) []byte {
	t.Helper()
	p := raster.NewPlane(w, h)
	for i := range p.Pix {
		p.Pix[i] = float32(i%w) / float32(w)
	}
	b, err := raster.EncodeMap(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// annotated is a folder with two images and one map.
func annotated(t testing.TB) fstest.MapFS {
	return fstest.MapFS{
		"root/labels.csv":      {Data: []byte("file,label,split,group,more\na.png,live,validation,g1,x\nsub/b ä.png,spoof,train,,y\n")},
		"root/img/a.png":       {Data: pngImage(t, 8, 4, 1)},
		"root/img/sub/b ä.png": {Data: pngImage(t, 8, 4, 2)},
		"root/maps/a.png":      {Data: saliencyMap(t, 16, 8)},
	}
}

func folderOf(files fs.FS) Folder {
	return Folder{FS: files, Root: "root", Images: "img", Labels: "labels.csv", Maps: "maps",
		Classes: []string{"live", "spoof"}, Workers: 2}
}

// drain reads a source from a row on: the samples, and the errors of the rows
// that cannot be used.
func drain(t testing.TB, s Source, from int64) (samples []Sample, bad []*RowError) {
	t.Helper()
	for x, err := range s.Samples(context.Background(), from) {
		var row *RowError
		switch {
		case errors.As(err, &row):
			bad = append(bad, row)
		case err != nil:
			t.Fatal(err)
		default:
			samples = append(samples, x)
		}
	}
	return samples, bad
}

func TestAFolderGivesItsSamplesInTheOrderOfItsCSVFile(t *testing.T) {
	files := annotated(t)
	s, err := OpenFolder(folderOf(files))
	if err != nil {
		t.Fatal(err)
	}
	want := []Sample{
		{ID: "a.png", Image: Encoded{files["root/img/a.png"].Data, "a.png"}, Label: 0, Split: "val", Group: "g1",
			Saliency: Encoded{files["root/maps/a.png"].Data, "a.png"}, SaliencySource: SourceHuman, SaliencyQuality: NoQuality()},
		{ID: "sub/b ä.png", Image: Encoded{files["root/img/sub/b ä.png"].Data, "b ä.png"}, Label: 1, Split: "train", SaliencyQuality: NoQuality()},
	}
	for from := range want {
		got, bad := drain(t, s, int64(from))
		if diff := cmp.Diff(want[from:], got, sampleEqual); diff != "" || len(bad) > 0 {
			t.Errorf("from row %d: bad rows %v, difference %s", from, bad, diff)
		}
	}
}

func TestAFolderOfTheOperatingSystemIsReadToo(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, annotated(t)); err != nil {
		t.Fatal(err)
	}
	f := folderOf(nil)
	f.Root = filepath.Join(dir, "root")
	s, err := OpenFolder(f)
	if err != nil {
		t.Fatal(err)
	}
	if samples, bad := drain(t, s, 0); len(samples) != 2 || len(bad) != 0 {
		t.Errorf("got %d samples and errors %v, want 2 and none", len(samples), bad)
	}
	inMemory, err := OpenFolder(folderOf(annotated(t)))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := fingerprintOf(t, s), fingerprintOf(t, inMemory); a != b {
		t.Errorf("fingerprint %s, elsewhere %s", a, b)
	}
}

func fingerprintOf(t testing.TB, s Source) string {
	t.Helper()
	sum, err := s.Fingerprint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestTheFingerprintChangesWithEveryFileThatIsRead(t *testing.T) {
	open := func(files fs.FS) string {
		s, err := OpenFolder(folderOf(files))
		if err != nil {
			t.Fatal(err)
		}
		return fingerprintOf(t, s)
	}
	before := open(annotated(t))
	for name := range annotated(t) {
		files := annotated(t)
		files[name].Data = append(bytes.Clone(files[name].Data), '\n')
		if open(files) == before {
			t.Errorf("%s changed, the fingerprint did not", name)
		}
	}
	files := annotated(t)
	files["root/img/unlisted.png"] = &fstest.MapFile{Data: []byte{1}}
	if open(files) != before {
		t.Error("a file that is not listed changed the fingerprint")
	}
}

func TestWhatIsWrongWithAFolderIsSaidOnceAndClearly(t *testing.T) {
	for name, c := range map[string]struct {
		csv    string
		change func(fstest.MapFS, *Folder)
		want   string
	}{
		"empty file":          {csv: "", want: `"root/labels.csv": the file is empty`},
		"header alone":        {csv: "file,label\n", want: "no lines below the header"},
		"missing column":      {csv: "file,labels\na.png,live\n", want: `line 1: no column "label" among ["file" "labels"]`},
		"near column":         {csv: "file,labels\na.png,live\n", want: `(did you mean "labels"?)`},
		"column twice":        {csv: "file,label,label\n", want: `line 1: column "label" is there twice`},
		"semicolons":          {csv: "file;label\na.png;live\n", want: "separated by commas"},
		"short line":          {csv: "file,label\na.png\n", want: "record on line 2: wrong number of fields"},
		"file twice":          {csv: "file,label\na.png,live\n./a.png,spoof\n", want: `line 3: file "./a.png" is listed in line 2 already`},
		"no file name":        {csv: "file,label\n,live\n", want: "line 2: no file name"},
		"path upwards":        {csv: "file,label\n../a.png,live\n", want: `line 2: file "../a.png", want a path inside`},
		"absolute path":       {csv: "file,label\n/a.png,live\n", want: `line 2: file "/a.png", want a path inside`},
		"unknown class":       {csv: "file,label\na.png,life\n", want: `line 2: "a.png": label "life" is none of the classes ["live" "spoof"] (did you mean "live"?)`},
		"index too large":     {csv: "file,label\na.png,2\n", want: `label 2, want a class index from 0 to 1`},
		"negative index":      {csv: "file,label\na.png,-1\n", want: `label -1, want a class index from 0 to 1`},
		"class with no image": {csv: "file,label\na.png,live\n", want: `class "spoof" has no image`},
		"odd split":           {csv: "file,label,split\na.png,live,a/b\n", want: `line 2: file "a.png": split "a/b", want a word`},
		"not UTF-8":           {csv: "file,label\na\xff.png,live\n", want: "line 2: file \"a\\xff.png\": the line is not UTF-8"},
		"quote left open":     {csv: "file,label\n\"a.png,live\n", want: "line 2"},
		"class given twice":   {change: func(_ fstest.MapFS, f *Folder) { f.Classes = []string{"live", "live"} }, want: `class "live": given twice`},
		"no CSV file":         {change: func(m fstest.MapFS, _ *Folder) { delete(m, "root/labels.csv") }, want: `"root/labels.csv": file does not exist`},
		"no image folder":     {change: func(_ fstest.MapFS, f *Folder) { f.Images = "image" }, want: `images: "root/image": file does not exist`},
		"no map folder":       {change: func(_ fstest.MapFS, f *Folder) { f.Maps = "mops" }, want: `"root/mops": file does not exist`},
		"map folder a file":   {change: func(_ fstest.MapFS, f *Folder) { f.Maps = "labels.csv" }, want: "want a folder, found a file"},
		"two maps": {change: func(m fstest.MapFS, _ *Folder) { m["root/maps/a.jpg"] = m["root/maps/a.png"] },
			want: `image "a.png" has 2 maps: ["a.jpg" "a.png"]`},
		"maps of other images": {change: func(m fstest.MapFS, _ *Folder) {
			m["root/maps/z.png"] = m["root/maps/a.png"]
			delete(m, "root/maps/a.png")
		}, want: `none of the 1 maps in "root/maps", such as "z", has the name of an image, such as "a.png"`},
		"one map for two": {csv: "file,label\na.png,live\na.jpg,spoof\n", want: `images "a.png" and "a.jpg" have the same map "a.png"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := annotated(t)
			f := folderOf(files)
			if c.change == nil {
				files["root/labels.csv"].Data = []byte(c.csv)
			} else {
				c.change(files, &f)
			}
			_, err := OpenFolder(f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestABadImageOrMapSparesTheOtherRows(t *testing.T) {
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		want   string
	}{
		"missing image": {func(m fstest.MapFS) { delete(m, "root/img/a.png") }, "line 2: image: file does not exist"},
		"image cut off": {func(m fstest.MapFS) { m["root/img/a.png"].Data = m["root/img/a.png"].Data[:60] }, "line 2: image: decode PNG"},
		"text as image": {func(m fstest.MapFS) { m["root/img/a.png"].Data = []byte("hello") }, `line 2: image: decode image: unknown image format: found bytes "hello"`},
		"empty image":   {func(m fstest.MapFS) { m["root/img/a.png"].Data = nil }, "found no data"},
		"map cut off":   {func(m fstest.MapFS) { m["root/maps/a.png"].Data = m["root/maps/a.png"].Data[:60] }, `line 2: map "a.png": decode PNG`},
		"map of another shape": {func(m fstest.MapFS) { m["root/maps/a.png"].Data = saliencyMap(t, 8, 8) },
			`line 2: map "a.png": found 8 x 8 pixels, want the shape of the image as displayed, 8 x 4`},
	} {
		t.Run(name, func(t *testing.T) {
			files := annotated(t)
			c.change(files)
			s, err := OpenFolder(folderOf(files))
			if err != nil {
				t.Fatal(err)
			}
			samples, bad := drain(t, s, 0)
			if len(samples) != 1 || samples[0].ID != "sub/b ä.png" || len(bad) != 1 {
				t.Fatalf("got %d samples and bad rows %v, want 1 of each", len(samples), bad)
			}
			if b := bad[0]; b.Source != "root/labels.csv" || b.Row != 0 || b.ID != "a.png" || !strings.Contains(b.Error(), c.want) {
				t.Errorf("got error %v, want row 0 and %q", b, c.want)
			}
		})
	}
}

func TestAMapMayBeOffByTwoPerCent(t *testing.T) {
	image := 1000
	for w, ok := range map[int]bool{979: false, 981: true, 1000: true, 1019: true, 1021: false} {
		err := checkMap(saliencyMap(t, w, 50), image, 50)
		if (err == nil) != ok {
			t.Errorf("map %d wide over an image %d wide: got error %v", w, image, err)
		}
	}
}

func TestClassesAreTheLabelsFoundWhereNoneAreGiven(t *testing.T) {
	for csv, want := range map[string][]string{
		"file,label\na.png,spoof\nsub/b ä.png,live\n": {"live", "spoof"},
		"file,label\na.png,3\nsub/b ä.png,\n":         nil,
		"file,label\na.png,3\nsub/b ä.png,b\n":        {"3", "b"},
	} {
		files := annotated(t)
		files["root/labels.csv"].Data = []byte(csv)
		f := folderOf(files)
		f.Classes = nil
		s, err := OpenFolder(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Schema().Classes; !slices.Equal(got, want) {
			t.Errorf("%q: got classes %q, want %q", csv, got, want)
		}
	}
}

func TestLabelsAreNamesBeforeTheyAreNumbers(t *testing.T) {
	for _, c := range []struct {
		text    string
		classes []string
		want    int64
	}{
		{"", []string{"a"}, NoLabel}, {"a", []string{"b", "a"}, 1}, {"1", []string{"b", "a"}, 1},
		{"1", []string{"1", "0"}, 0}, {"7", nil, 7},
	} {
		if got, err := parseLabel(c.text, c.classes); err != nil || got != c.want {
			t.Errorf("%q of %q: got %d, %v, want %d", c.text, c.classes, got, err, c.want)
		}
	}
}

func TestNestedImagesFindFlatMaps(t *testing.T) {
	files := annotated(t)
	files["root/maps/b ä.PNG"] = files["root/maps/a.png"]
	s, err := OpenFolder(folderOf(files))
	if err != nil {
		t.Fatal(err)
	}
	samples, _ := drain(t, s, 0)
	if len(samples) != 2 || samples[1].Saliency.Path != "b ä.PNG" {
		t.Errorf("got %d samples, the second with map %q", len(samples), samples[1].Saliency.Path)
	}
}

func TestReadingASourceStopsWithItsContext(t *testing.T) {
	s, err := OpenFolder(folderOf(annotated(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range s.Samples(ctx, 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want %v", err, context.Canceled)
		}
	}
	if _, err := s.Fingerprint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestResultsComeInOrderFromAnyNumberOfWorkers(t *testing.T) {
	for workers := range 5 {
		for stop := range 8 {
			i := 0
			for v := range inOrder(workers, 7, func(i int) string { return fmt.Sprint(i) }) {
				if i == stop {
					break
				}
				if v != fmt.Sprint(i) {
					t.Errorf("%d workers: result %d is %s", workers, i, v)
				}
				i++
			}
			if i != min(stop, 7) {
				t.Errorf("%d workers: %d results, want %d", workers, i, min(stop, 7))
			}
		}
	}
}

func TestTheCoffeeLeavesAreRead(t *testing.T) {
	root := os.Getenv("SURROGAZE_COFFEE")
	if root == "" {
		t.Skip("SURROGAZE_COFFEE is not set")
	}
	s, err := OpenFolder(Folder{Root: root, Images: "images", Labels: "labels.csv", Maps: "masks", Classes: []string{"miner", "rust"}, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	mapped := 0
	for _, x := range samples {
		if x.Saliency.Present() {
			mapped++
		}
	}
	// The set's README: 802 leaves, of which 214 have a mask that is not empty.
	if len(samples) != 802 || len(bad) != 0 || mapped != 214 {
		t.Errorf("got %d samples, %d of them with maps, and %d bad rows", len(samples), mapped, len(bad))
	}
}

func FuzzLabels(f *testing.F) {
	for _, seed := range []string{"file,label\na,1\n", "\ufefffile,label,split\n\"a\nb\",x,dev\n", "label,file\n", "file,label\n../a,b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, classes, err := readLabels(text, nil)
		if err != nil {
			return
		}
		schema := Schema{Classes: classes}
		for _, r := range rows {
			s := Sample{ID: r.file, Image: Encoded{Bytes: []byte{1}}, Label: r.label, Split: r.split, Group: r.group}
			if err := schema.check(&s); err != nil {
				t.Fatalf("accepted a row that cannot be written: %v", err)
			}
		}
	})
}
