package storage

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// faces is a tree in the layout of the CYBORG reference: two training images of
// which one has a map, one for validation, and two tests.
func faces(t testing.TB) fstest.MapFS {
	return fstest.MapFS{
		"root/csvs/original.csv": {Data: []byte("train,Synthetic,/train/original_data/1_fake/p1_1_fake.png\n" +
			"train,Real,/train/original_data/0_real/p1_1_real.png\ntest,Real,/val/0_real/04408d239.jpg\n")},
		"root/csvs/gan_test_sets/ffhq.csv":              {Data: []byte("test,Real,/test/0_real/ffhq_aligned/01128.png\r\n\r\n")},
		"root/csvs/gan_test_sets/stylegan2.csv":         {Data: []byte("test,Synthetic,/test/1_fake/stylegan2/p1_1_fake.png\n")},
		"root/train/original_data/1_fake/p1_1_fake.png": {Data: pngImage(t, 8, 8, 1)},
		"root/train/original_data/0_real/p1_1_real.png": {Data: pngImage(t, 8, 8, 2)},
		"root/val/0_real/04408d239.jpg":                 {Data: pngImage(t, 8, 8, 3)},
		"root/test/0_real/ffhq_aligned/01128.png":       {Data: pngImage(t, 8, 8, 4)},
		"root/test/1_fake/stylegan2/p1_1_fake.png":      {Data: pngImage(t, 8, 8, 5)},
		"root/train/heatmaps/p1_1_fake.png":             {Data: saliencyMap(t, 8, 8)},
	}
}

func facesOf(files fstest.MapFS) CYBORG {
	return CYBORG{FS: files, Root: "root", Images: ".", Labels: "csvs/original.csv", Maps: "train/heatmaps",
		Tests:   []string{"csvs/gan_test_sets/ffhq.csv", "csvs/gan_test_sets/stylegan2.csv"},
		Classes: []string{"Real", "Synthetic"}, Workers: 2}
}

func TestTheCYBORGReferencesListsAreRead(t *testing.T) {
	files := faces(t)
	s, err := OpenCYBORG(facesOf(files))
	if err != nil {
		t.Fatal(err)
	}
	image := func(name string) Encoded {
		return Encoded{files["root/"+name].Data, name[strings.LastIndexByte(name, '/')+1:]}
	}
	sample := func(name, split, group string, label int64) Sample {
		return Sample{ID: name, Image: image(name), Label: label, Split: split, Group: group, SaliencyQuality: NoQuality()}
	}
	want := []Sample{
		sample("train/original_data/1_fake/p1_1_fake.png", "train", "", 1),
		sample("train/original_data/0_real/p1_1_real.png", "train", "", 0),
		sample("val/0_real/04408d239.jpg", "val", "", 0), // the reference's word for it is test
		sample("test/0_real/ffhq_aligned/01128.png", "test", "ffhq", 0),
		sample("test/1_fake/stylegan2/p1_1_fake.png", "test", "stylegan2", 1), // the base name of an image with a map
	}
	want[0].Saliency, want[0].SaliencySource = image("train/heatmaps/p1_1_fake.png"), SourceHuman
	got, bad := drain(t, s, 0)
	if diff := cmp.Diff(want, got, sampleEqual); diff != "" || len(bad) > 0 {
		t.Errorf("bad rows %v, difference %s", bad, diff)
	}
}

// VISER's lists spell the splits with capitals, and its maps end in _blended.
func TestMapsMayHaveASuffix(t *testing.T) {
	files := fstest.MapFS{
		"root/train.csv":           {Data: []byte("Train,Live,a.png\nTrain,Spoof,b.png\nTest,Live,c.png")},
		"root/a.png":               {Data: pngImage(t, 8, 8, 1)},
		"root/b.png":               {Data: pngImage(t, 8, 8, 2)},
		"root/c.png":               {Data: pngImage(t, 8, 8, 3)},
		"root/maps/a_blended.png":  {Data: saliencyMap(t, 8, 8)},
		"root/maps/b.png":          {Data: saliencyMap(t, 8, 8)},
		"root/maps/notes_blended.": {Data: []byte("text")},
	}
	s, err := OpenCYBORG(CYBORG{FS: files, Root: "root", Images: ".", Labels: "train.csv", Maps: "maps", MapSuffix: "_blended",
		Classes: []string{"Live", "Spoof"}, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 3 || len(bad) != 0 {
		t.Fatalf("got %d samples and bad rows %v, want 3 and none", len(samples), bad)
	}
	for i, want := range []string{"a_blended.png", "", ""} {
		if got := samples[i].Saliency.Path; got != want {
			t.Errorf("sample %q: got map %q, want %q", samples[i].ID, got, want)
		}
	}
}

func TestTheFingerprintOfListsChangesWithEveryFileThatIsRead(t *testing.T) {
	open := func(files fstest.MapFS) string {
		s, err := OpenCYBORG(facesOf(files))
		if err != nil {
			t.Fatal(err)
		}
		return fingerprintOf(t, s)
	}
	before := open(faces(t))
	for name := range faces(t) {
		files := faces(t)
		files[name].Data = append(files[name].Data, '\n')
		if open(files) == before {
			t.Errorf("%s changed, the fingerprint did not", name)
		}
	}
}

func TestWhatIsWrongWithTheCYBORGReferencesListsIsSaidOnceAndClearly(t *testing.T) {
	const labels, test = "root/csvs/original.csv", "root/csvs/gan_test_sets/ffhq.csv"
	for name, c := range map[string]struct {
		file, csv string
		change    func(*CYBORG)
		want      string
	}{
		"empty file":     {file: labels, csv: "\n", want: `"root/csvs/original.csv": the file is empty, want lines of split,class,path`},
		"header":         {file: labels, csv: "split,class,path\n", want: `line 1: split "split", want test or train (the file has no header`},
		"two columns":    {file: labels, csv: "train,Real\n", want: "line 1: found 2 columns, want 3, split,class,path"},
		"quoted comma":   {file: labels, csv: "train,Real,\"a,b.png\"\n", want: "line 1: found 4 columns, want 3, split,class,path, without quotes"},
		"no class":       {file: labels, csv: "\ntrain,,/a.png\n", want: `line 2: "a.png" has no class, want one of ["Real" "Synthetic"]`},
		"unknown class":  {file: labels, csv: "train,Reel,/a.png\n", want: `line 1: "a.png": label "Reel" is none of the classes ["Real" "Synthetic"] (did you mean "Real"?)`},
		"no path":        {file: labels, csv: "train,Real,/\n", want: "line 1: no file name"},
		"path upwards":   {file: labels, csv: "train,Real,/../a.png\n", want: `line 1: file "../a.png", want a path inside`},
		"not UTF-8":      {file: labels, csv: "train,Real,/a\xff.png\n", want: "line 1: file \"a\\xff.png\": the line is not UTF-8"},
		"class missing":  {file: labels, csv: "train,Real,/a.png\n", change: func(c *CYBORG) { c.Tests = nil }, want: `class "Synthetic" has no image`},
		"train in tests": {file: test, csv: "test,Real,/a.png\ntrain,Real,/b.png\n", want: `"root/csvs/gan_test_sets/ffhq.csv": line 2: split "train", want test`},
		"test that trains": {file: test, csv: "test,Real,/train/original_data/0_real/p1_1_real.png\n",
			want: `line 1 of "root/csvs/gan_test_sets/ffhq.csv": file "train/original_data/0_real/p1_1_real.png" is listed in line 2 already`},
		"no list":         {change: func(c *CYBORG) { c.Labels = "original.csv" }, want: `"root/original.csv": file does not exist`},
		"no test":         {change: func(c *CYBORG) { c.Tests[0] = "x.csv" }, want: `"root/x.csv": file does not exist`},
		"no images":       {change: func(c *CYBORG) { c.Images = "img" }, want: `images: "root/img": file does not exist`},
		"no maps":         {change: func(c *CYBORG) { c.Maps = "maps" }, want: `"root/maps": file does not exist`},
		"class twice":     {change: func(c *CYBORG) { c.Classes = []string{"Real", "Real"} }, want: `class "Real": given twice`},
		"suffix unknown":  {change: func(c *CYBORG) { c.MapSuffix = "_x" }, want: `such as "train/original_data/1_fake/p1_1_fake.png", and "_x" before the ending`},
		"maps of no name": {file: labels, csv: "train,Real,/a.png\ntest,Synthetic,/b.png\n", want: `none of the 1 maps in "root/train/heatmaps", such as "p1_1_fake", has the name of an image, such as "a.png"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := faces(t)
			f := facesOf(files)
			if c.file != "" {
				files[c.file].Data = []byte(c.csv)
			}
			if c.change != nil {
				c.change(&f)
			}
			_, err := OpenCYBORG(f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAMissingImageOfATestListNamesItsLine(t *testing.T) {
	files := faces(t)
	delete(files, "root/test/1_fake/stylegan2/p1_1_fake.png")
	s, err := OpenCYBORG(facesOf(files))
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 4 || len(bad) != 1 {
		t.Fatalf("got %d samples and bad rows %v, want 4 and 1", len(samples), bad)
	}
	if b := bad[0]; b.Source != "root/csvs/gan_test_sets/stylegan2.csv" || b.Row != 0 || !strings.Contains(b.Error(), "line 1: image: file does not exist") {
		t.Errorf("got error %v", b)
	}
}

func FuzzCYBORG(f *testing.F) {
	for _, seed := range []string{"train,Real,/a.png\ntest,Synthetic,b/c.jpg\n", "\ufeffTrain,0,a\r\n\r\n", "train,,\n", ",,,"} {
		f.Add(seed)
	}
	list := cyborgList{path: "x.csv", splits: map[string]string{"train": "train", "test": "val"}}
	schema := Schema{Classes: []string{"Real", "Synthetic"}}
	f.Fuzz(func(t *testing.T, text string) {
		s := &listing{}
		files := fstest.MapFS{"x.csv": {Data: []byte(text)}}
		if err := (CYBORG{FS: files, Classes: schema.Classes}).read(s, list); err != nil {
			return
		}
		for _, r := range s.rows {
			x := Sample{ID: r.id, Image: Encoded{Bytes: []byte{1}}, Label: r.label, Split: r.split, Group: r.group}
			if err := schema.check(&x); err != nil {
				t.Fatalf("accepted a row that cannot be written: %v", err)
			}
		}
	})
}
