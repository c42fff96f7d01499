package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// warnings are the texts of a run's warnings.
func warnings(events []pipeline.Event) []string {
	var list []string
	for _, e := range events {
		if e.Kind == pipeline.Warning {
			list = append(list, e.Text)
		}
	}
	return list
}

func warned(events []pipeline.Event, of string) bool {
	return strings.Contains(strings.Join(warnings(events), "\n"), of)
}

// blacken writes a black map in place of the first n.
func (p project) blacken(n int) {
	p.t.Helper()
	files, err := filepath.Glob(p.path("set", "maps", "*.png"))
	if err != nil || len(files) < n {
		p.t.Fatalf("found the maps %q (error %v), want at least %d", files, err, n)
	}
	for _, path := range files[:n] {
		config := decodeConfig(p.t, path)
		writePNG(p.t, path, image.NewGray(image.Rect(0, 0, config.Width, config.Height)))
	}
}

func decodeConfig(t *testing.T, path string) image.Config {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config, err := png.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func writePNG(t *testing.T, path string, m image.Image) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBlankHumanMapsCountAsNone(t *testing.T) {
	p := newProject(t)
	before, err := p.open("before", nil).Run(context.Background(), pipeline.StageIngest)
	if err != nil {
		t.Fatal(err)
	}
	p.blacken(3)
	var events []pipeline.Event
	r, err := p.open("after", &events).Run(context.Background(), pipeline.StageIngest)
	if err != nil {
		t.Fatal(err)
	}
	if r.Data.Human != before.Data.Human-3 || r.Data.Blank != 3 {
		t.Errorf("found %d human maps and %d blank ones, want %d and 3", r.Data.Human, r.Data.Blank, before.Data.Human-3)
	}
	if !warned(events, "3 human maps have one value everywhere") {
		t.Errorf("found the warnings %q, want one of 3 blank maps", warnings(events))
	}
}

func TestImagesOf12BitsIn16AreWarnedOf(t *testing.T) {
	p := newProject(t)
	files, err := filepath.Glob(p.path("set", "images", "*.png"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found the images %q (error %v), want some", files, err)
	}
	config := decodeConfig(t, files[0])
	m := image.NewGray16(image.Rect(0, 0, config.Width, config.Height))
	m.SetGray16(2, 2, color.Gray16{Y: 4095})
	writePNG(t, files[0], m)
	var events []pipeline.Event
	p.ingested(&events)
	if !warned(events, "1 images have 16 bits and values below 8192 alone") {
		t.Errorf("found the warnings %q, want one of an image of 12 bits", warnings(events))
	}
}

// labels writes the list of the project's images anew, with what of says of each.
func (p project) labels(of func(i int) (split, group string)) {
	p.t.Helper()
	text, err := os.ReadFile(p.path("set", "labels.csv"))
	if err != nil {
		p.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	header := strings.Split(lines[0], ",")
	if header[0] != "file" || header[1] != "label" {
		p.t.Fatalf("found the columns %q, want file and label first", header)
	}
	list := "file,label,split,group\n"
	for i, line := range lines[1:] {
		split, group := of(i)
		list += fmt.Sprintf("%s,%s,%s\n", strings.Join(strings.Split(line, ",")[:2], ","), split, group)
	}
	if err := os.WriteFile(p.path("set", "labels.csv"), []byte(list), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// ingested are the rows of the annotated set.
func (p project) ingested(events *[]pipeline.Event) []storage.Row {
	p.t.Helper()
	x := p.open("out", events)
	if _, err := x.Run(context.Background(), pipeline.StageIngest); err != nil {
		p.t.Fatal(err)
	}
	artefacts, err := x.Artefacts(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	set, err := storage.Open(filepath.Join(artefacts[0].Dir, "dataset"))
	if err != nil {
		p.t.Fatal(err)
	}
	return set.Rows()
}

func TestImagesWithoutASplitFollowThoseOfTheirGroup(t *testing.T) {
	p := newProject(t)
	splits := []string{"train", "val", "test"}
	p.labels(func(i int) (split, group string) {
		if i >= 18 { // of 18 groups, six in each split
			split = splits[i%18%3]
		}
		return split, fmt.Sprintf("patient-%d", i%18)
	})
	of := map[string]string{}
	for _, r := range p.ingested(nil) {
		if other, seen := of[r.Group]; seen && other != r.Split {
			t.Errorf("%s has images in %s and %s", r.Group, other, r.Split)
		}
		of[r.Group] = r.Split
	}
}

func TestGroupsInSeveralSplitsAreWarnedOf(t *testing.T) {
	p := newProject(t)
	p.labels(func(i int) (split, group string) {
		return []string{"train", "val", "test"}[i%3], fmt.Sprintf("patient-%d", i/6)
	})
	var events []pipeline.Event
	p.ingested(&events)
	if !warned(events, `groups have samples in more than one split, as "patient-0"`) {
		t.Errorf("found the warnings %q, want one of torn groups", warnings(events))
	}
}

func TestMapsThatGuideNoClassifierAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		splits []string
		text   string
		warns  bool
	}{
		"all in train": {[]string{"train", "test"}, "8 of these to be used", false},
		"all in val":   {[]string{"val", "test"}, "8 of these to be used, 8 of them in val, where they guide no classifier", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t)
			p.labels(func(i int) (split, group string) { return c.splits[i%2], "" })
			var events []pipeline.Event
			p.ingested(&events)
			if last := events[len(events)-1].Text; !strings.HasSuffix(last, c.text) {
				t.Errorf("found %q, want %q at the end", last, c.text)
			}
			if got := warned(events, "the arm human trains as none does"); got != c.warns {
				t.Errorf("found the warnings %q, want one: %t", warnings(events), c.warns)
			}
		})
	}
}
