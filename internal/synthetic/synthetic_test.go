package synthetic

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/testdata"
)

var update = flag.Bool("update", false, "write testdata/quickstart anew")

const committed = "../../testdata/quickstart"

func TestTheCommittedFolderIsWhatTheGeneratorDraws(t *testing.T) {
	files, err := Quickstart.Folder()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		write(t, files)
		return
	}
	for _, f := range files {
		found, err := testdata.Quickstart.ReadFile("quickstart/" + f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if !sameFile(t, f.Path, found, f.Data) {
			t.Fatalf("%s differs; go test ./internal/synthetic -update writes it anew", f.Path)
		}
	}
	if n := countFiles(t, "images") + countFiles(t, "maps") + 1; n != len(files) {
		t.Errorf("found %d files, want %d", n, len(files))
	}
}

// sameFile compares pixels, not compressed bytes: those may change with the
// Go release.
func sameFile(t *testing.T, name string, found, want []byte) bool {
	t.Helper()
	if strings.HasSuffix(name, ".png") {
		return bytes.Equal(pixels(t, found), pixels(t, want))
	}
	return bytes.Equal(found, want)
}

func pixels(t *testing.T, data []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	gray := image.NewGray(img.Bounds())
	for y := range gray.Rect.Dy() {
		for x := range gray.Rect.Dx() {
			gray.Set(x, y, img.At(x, y))
		}
	}
	return gray.Pix
}

func countFiles(t *testing.T, folder string) int {
	t.Helper()
	entries, err := fs.ReadDir(testdata.Quickstart, "quickstart/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func write(t *testing.T, files []File) {
	t.Helper()
	for _, folder := range []string{"images", "maps"} {
		if err := os.RemoveAll(filepath.Join(committed, folder)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		path := filepath.Join(committed, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASampleDependsOnItsArgumentsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, i := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 1e6).Draw(t, "i")
		split := rapid.SampledFrom([]string{"train", "val", "test"}).Draw(t, "split")
		a, b := Draw(seed, split, i), Draw(seed, split, i)
		if !bytes.Equal(a.Image.Pix, b.Image.Pix) || !bytes.Equal(a.Map.Pix, b.Map.Pix) || a.Label != b.Label {
			t.Fatal("drawn twice, found two different samples")
		}
	})
}

func TestImagesDifferBySeedSplitAndIndex(t *testing.T) {
	first := Draw(1, "train", 0)
	for _, other := range []Sample{Draw(2, "train", 0), Draw(1, "val", 0), Draw(1, "test", 0), Draw(1, "train", 1)} {
		if bytes.Equal(first.Image.Pix, other.Image.Pix) {
			t.Errorf("%s is the same image as %s", other.ID, first.ID)
		}
	}
}

// tagOf is the colour that most pixels of the background never have, or -1.
func tagOf(s Sample) int {
	// A tag has at least 25 pixels at one end of the scale; noise and rims
	// reach it here and there.
	count := map[uint8]int{}
	for _, v := range s.Image.Pix {
		count[v]++
	}
	switch {
	case count[255] >= 25 && count[255] > count[0]:
		return 1
	case count[0] >= 25 && count[0] > count[255]:
		return 0
	}
	return -1
}

func TestTheTagTellsTheClassInTrainAndValAndNothingInTest(t *testing.T) {
	for _, split := range []string{"train", "val", "test"} {
		const n = 400
		same := 0
		for i := range n {
			s := Draw(1, split, i)
			tag := tagOf(s)
			if tag < 0 {
				t.Fatalf("%s has no tag", s.ID)
			}
			if tag == s.Label {
				same++
			}
		}
		// Five standard deviations of a fair coin: 5*sqrt(400)/2 = 50.
		if split == "test" && (same < n/2-50 || same > n/2+50) || split != "test" && same != n {
			t.Errorf("%s: the tag agrees with the class in %d of %d images", split, same, n)
		}
	}
}

func TestTheMapIsADiscOfRadiusFiveAndAHalf(t *testing.T) {
	for i := range 50 {
		inside := 0
		for _, v := range Draw(1, "train", i).Map.Pix {
			if v == 255 {
				inside++
			}
		}
		// pi*5.5^2 = 95.0; the pixels of a disc differ by its position.
		if inside < 85 || inside > 105 {
			t.Errorf("image %d: the map covers %d pixels, want about 95", i, inside)
		}
	}
}

// barEnergy is the contrast between neighbouring pairs of columns (0) and rows
// (1) inside the map.
func barEnergy(s Sample) [2]int {
	var energy [2]int
	for y := 2; y < Size; y++ {
		for x := 2; x < Size; x++ {
			at := func(x, y int) int { return int(s.Image.Pix[y*Size+x]) }
			if s.Map.Pix[y*Size+x] == 0 || s.Map.Pix[y*Size+x-2] == 0 || s.Map.Pix[(y-2)*Size+x] == 0 {
				continue
			}
			energy[0] += square(at(x, y) - at(x-2, y))
			energy[1] += square(at(x, y) - at(x, y-2))
		}
	}
	return energy
}

func TestTheBarsInTheDiscTellTheClassInEverySplit(t *testing.T) {
	for _, split := range []string{"train", "val", "test"} {
		right := 0
		for i := range 200 {
			s := Draw(1, split, i)
			e := barEnergy(s)
			if (e[1] > e[0]) == (s.Label == 1) {
				right++
			}
		}
		// Seen on 200 images: nearly all. A coin would give 100.
		if right < 180 {
			t.Errorf("%s: the bars tell the class of %d of 200 images", split, right)
		}
	}
}

func TestTheQuickstartIsSmall(t *testing.T) {
	total := int64(0)
	err := fs.WalkDir(testdata.Quickstart, ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		total += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// It is part of the program.
	if total > 1_500_000 {
		t.Errorf("found %d bytes, want at most 1500000", total)
	}
}
