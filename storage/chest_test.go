package storage

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// chestXray14 is a tree in the layout in which NIH distributes ChestX-ray14, with
// its headers and lines as they are, of images an eighth as long and as wide.
func chestXray14(t testing.TB) fstest.MapFS {
	return fstest.MapFS{
		"root/Data_Entry_2017.csv": {Data: []byte(
			"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n" +
				"00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n" +
				"00000001_001.png,Infiltration|Effusion,1,1,058Y,M,PA,2894,2729,0.143,0.143,\n" +
				"00000002_000.png,No Finding,0,2,081Y,M,PA,2500,2048,0.171,0.171,\n")},
		"root/BBox_List_2017.csv": {Data: []byte("Image Index,Finding Label,Bbox [x,y,w,h],,,\n" +
			"00000001_001.png,Infiltrate,256,512,256,128,,,\n00000001_001.png,Effusion,0,0,128.5,128.5,,,\n99999999_000.png,Mass,1,1,1,1,,,\n")},
		"root/images_001/images/00000001_000.png": {Data: pngImage(t, 128, 128, 1)},
		"root/images_001/images/00000001_001.png": {Data: pngImage(t, 128, 128, 2)},
		"root/images_002/images/00000002_000.png": {Data: pngImage(t, 128, 128, 3)},
	}
}

func chestXray14Of(files fstest.MapFS, classes ...string) NIHChestXray {
	return NIHChestXray{FS: files, Root: "root", Images: ".", Entries: "Data_Entry_2017.csv", Boxes: "BBox_List_2017.csv", Classes: classes, Workers: 2}
}

func TestChestXray14IsReadWithItsBoxesAsMaps(t *testing.T) {
	s, err := OpenNIHChestXray(chestXray14Of(chestXray14(t), "normal", "abnormal"))
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 3 || len(bad) != 0 {
		t.Fatalf("got %d samples and bad rows %v, want 3 and none", len(samples), bad)
	}
	for i, want := range []Sample{
		{ID: "00000001_000.png", Label: 1, Group: "1"}, {ID: "00000001_001.png", Label: 1, Group: "1", SaliencySource: SourceHuman},
		{ID: "00000002_000.png", Label: 0, Group: "2"},
	} {
		got := samples[i]
		if got.ID != want.ID || got.Label != want.Label || got.Group != want.Group || got.Split != "" || got.SaliencySource != want.SaliencySource {
			t.Errorf("got %q, label %d, group %q, split %q, source %q, want %+v", got.ID, got.Label, got.Group, got.Split, got.SaliencySource, want)
		}
	}
	m := mapOf(t, samples[1])
	for i, v := range m.Pix {
		x, y := i%128, i/128
		inside := x >= 32 && x < 64 && y >= 64 && y < 80 || x < 16 && y < 16 // 1/8 of the boxes
		if want := map[bool]float32{true: 1}[inside]; v != want {
			t.Fatalf("at %d, %d: got %g, want %g", x, y, v, want)
		}
	}
}

func mapOf(t *testing.T, s Sample) *raster.Plane {
	t.Helper()
	m, err := raster.DecodeMap(s.Saliency.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBoxesOfOtherFindingsThanTheClassSayNothing(t *testing.T) {
	files := chestXray14(t)
	s, err := OpenNIHChestXray(chestXray14Of(files, "Infiltration", "Cardiomegaly"))
	if err != nil {
		t.Fatal(err)
	}
	samples, _ := drain(t, s, 0)
	if samples[1].Label != 0 || samples[2].Label != NoLabel {
		t.Errorf("got labels %d and %d, want 0 and none", samples[1].Label, samples[2].Label)
	}
	m := mapOf(t, samples[1])
	if m.Pix[0] != 0 || m.Pix[70*128+40] != 1 {
		t.Errorf("got %g in the box of Effusion and %g in that of Infiltrate, want 0 and 1", m.Pix[0], m.Pix[70*128+40])
	}
}

func TestAnImageOfSeveralClassesOrOfNoneHasNoLabel(t *testing.T) {
	classes := []string{"normal", "effusion", "Mass"}
	for _, c := range []struct {
		findings []string
		want     int64
	}{{nil, 0}, {[]string{"Effusion", "Edema"}, 1}, {[]string{"Mass"}, 2}, {[]string{"Effusion", "Mass"}, NoLabel}, {[]string{"Edema"}, NoLabel}} {
		if got := labelOf(c.findings, classes); got != c.want {
			t.Errorf("%q: got %d, want %d", c.findings, got, c.want)
		}
	}
	if got := labelOf([]string{"Edema", "Mass"}, []string{"normal", "abnormal"}); got != 1 {
		t.Errorf("abnormal: got %d, want 1", got)
	}
}

func TestWhatIsWrongWithChestXray14IsSaidOnceAndClearly(t *testing.T) {
	const entries, boxes = "root/Data_Entry_2017.csv", "root/BBox_List_2017.csv"
	const header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
	for name, c := range map[string]struct {
		file, csv string
		change    func(fstest.MapFS, *NIHChestXray)
		want      string
	}{
		"empty file":       {file: entries, want: `"root/Data_Entry_2017.csv": the file is empty, want a header with the columns Image Index, Finding Labels, Patient ID`},
		"header alone":     {file: entries, csv: "Image Index,Finding Labels,Patient ID\n", want: "no lines below the header"},
		"missing column":   {file: entries, csv: "Image Index,Finding Label,Patient ID\n", want: `line 1: no column "Finding Labels" among ["Image Index" "Finding Label" "Patient ID"] (did you mean "Finding Label"?)`},
		"short line":       {file: entries, csv: "Image Index,Finding Labels,Patient ID\na.png,Mass\n", want: `line 2: found 2 fields, none for the column "Patient ID"`},
		"path upwards":     {file: entries, csv: "Image Index,Finding Labels,Patient ID\n../a.png,Mass,1\n", want: `line 2: file "../a.png", want a path inside`},
		"no number":        {file: boxes, csv: header + "00000001_001.png,Mass,1,x,3,4,,,\n", want: `"root/BBox_List_2017.csv": line 2: box: want a number, found "x"`},
		"box without area": {file: boxes, csv: header + "00000001_001.png,Mass,1,1,0,4,,,\n", want: "line 2: box at 1, 1 of 0 x 4, want one within 1024 x 1024 pixels"},
		"boxes elsewhere":  {file: boxes, csv: header + "x.png,Mass,1,1,3,4,,,\n", want: `none of the boxes is of an image of "root/Data_Entry_2017.csv"`},
		"unknown finding":  {change: func(_ fstest.MapFS, c *NIHChestXray) { c.Classes = []string{"normal", "Pneumothorx"} }, want: `class "Pneumothorx" has no image`},
		"no boxes":         {change: func(m fstest.MapFS, _ *NIHChestXray) { delete(m, boxes) }, want: `"root/BBox_List_2017.csv": file does not exist`},
		"no images":        {change: func(_ fstest.MapFS, c *NIHChestXray) { c.Images = "images" }, want: `images: "root/images": file does not exist`},
		"image twice": {change: func(m fstest.MapFS, _ *NIHChestXray) {
			m["root/small/00000002_000.jpg"] = m["root/images_002/images/00000002_000.png"]
		},
			want: `"root" holds "images_002/images/00000002_000.png" and "small/00000002_000.jpg": want one image of a name`},
		"entry twice": {file: entries, csv: "Image Index,Finding Labels,Patient ID\n00000001_001.png,Mass,1\n00000001_001.png,No Finding,1\n",
			want: `line 3: file "00000001_001.png" is listed in line 2 already`},
	} {
		t.Run(name, func(t *testing.T) {
			files := chestXray14(t)
			f := chestXray14Of(files, "normal", "abnormal")
			if c.file != "" {
				files[c.file].Data = []byte(c.csv)
			}
			if c.change != nil {
				c.change(files, &f)
			}
			_, err := OpenNIHChestXray(f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnArchiveOfChestXray14ThatIsNotThereShowsRowByRow(t *testing.T) {
	files := chestXray14(t)
	delete(files, "root/images_002/images/00000002_000.png")
	s, err := OpenNIHChestXray(chestXray14Of(files, "normal", "abnormal"))
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 2 || len(bad) != 1 || !strings.Contains(bad[0].Error(), "line 4: image: file does not exist") {
		t.Errorf("got %d samples and bad rows %v", len(samples), bad)
	}
}

// eyeGaze is a tree in the layout of egd-cxr beside MIMIC-CXR-JPG. The first image
// is half as wide as the screen and fills its middle.
func eyeGaze(t testing.TB) fstest.MapFS {
	return fstest.MapFS{
		"root/egd-cxr/master_sheet.csv": {Data: []byte(
			"dicom_id,path,study_id,patient_id,image_top_pad,image_bottom_pad,image_left_pad,image_right_pad,Normal,CHF,pneumonia\n" +
				"aa-01,files/p10/p1001/s5001/aa-01.dcm,5001,1001,0,0,480,480,0,1,0\n" +
				"bb-02,files/p10/p1002/s5002/bb-02.dcm,5002,1002,0,0,480,480,1.0,0.0,0.0\n" +
				"cc-03,files/p10/p1002/s5003/cc-03.dcm,5003,1002,0,0,480,480,0,0,1\n")},
		"root/egd-cxr/fixations.csv": {Data: []byte("DICOM_ID,SESSION_ID,FPOGX,FPOGY,FPOGD\n" +
			"calibration,1,0.5,0.5,0.1\naa-01,1,0.375,0.25,0.3\naa-01,1,0.1,0.5,0.2\nbb-02,1,0.9,0.5,0.2\ncc-03,1,0.5,0.5,0.4\n")},
		"root/files/p10/p1001/s5001/aa-01.jpg": {Data: pngImage(t, 64, 72, 1)},
		"root/files/p10/p1002/s5002/bb-02.jpg": {Data: pngImage(t, 64, 72, 2)},
		"root/files/p10/p1002/s5003/cc-03.png": {Data: pngImage(t, 64, 72, 3)},
	}
}

func eyeGazeOf(files fstest.MapFS, classes ...string) EGDCXR {
	return EGDCXR{FS: files, Root: "root", Images: ".", Cases: "egd-cxr/master_sheet.csv", Fixations: "egd-cxr/fixations.csv", Classes: classes, Workers: 2}
}

func TestEyeGazeIsReadWithItsFixationsAsMaps(t *testing.T) {
	s, err := OpenEGDCXR(eyeGazeOf(eyeGaze(t), "normal", "abnormal"))
	if err != nil {
		t.Fatal(err)
	}
	samples, bad := drain(t, s, 0)
	if len(samples) != 3 || len(bad) != 0 {
		t.Fatalf("got %d samples and bad rows %v, want 3 and none", len(samples), bad)
	}
	for i, want := range []Sample{
		{ID: "aa-01", Label: 1, Group: "1001", SaliencySource: SourceHuman}, {ID: "bb-02", Label: 0, Group: "1002"}, // looked beside the image
		{ID: "cc-03", Label: 1, Group: "1002", SaliencySource: SourceHuman},
	} {
		got := samples[i]
		if got.ID != want.ID || got.Label != want.Label || got.Group != want.Group || got.SaliencySource != want.SaliencySource {
			t.Errorf("got %q, label %d, group %q, source %q, want %+v", got.ID, got.Label, got.Group, got.SaliencySource, want)
		}
	}
	// .375 of the screen is .25 of the image, one fixation is beside it: a Gaussian at
	// 16, 18 whose deviation is 72/20.
	m := mapOf(t, samples[0])
	if m.W != 64 || m.H != 72 {
		t.Fatalf("got a map of %d x %d", m.W, m.H)
	}
	bell := func(x, y int) float64 {
		dx, dy := float64(x)+0.5-16, float64(y)+0.5-18
		return math.Exp(-(dx*dx + dy*dy) / (2 * 3.6 * 3.6))
	}
	for i, v := range m.Pix {
		if want := bell(i%64, i/64) / bell(16, 18); math.Abs(float64(v)-want) > 2e-5 {
			t.Fatalf("at %d, %d: got %g, want %g", i%64, i/64, v, want)
		}
	}
}

func TestEyeGazeHasThreeClassesToo(t *testing.T) {
	s, err := OpenEGDCXR(eyeGazeOf(eyeGaze(t), "Normal", "CHF", "pneumonia"))
	if err != nil {
		t.Fatal(err)
	}
	samples, _ := drain(t, s, 0)
	var labels []int64
	for _, x := range samples {
		labels = append(labels, x.Label)
	}
	if want := []int64{1, 0, 2}; !slices.Equal(labels, want) {
		t.Errorf("got labels %d, want %d", labels, want)
	}
}

func TestWhatIsWrongWithEyeGazeIsSaidOnceAndClearly(t *testing.T) {
	const cases, gaze = "root/egd-cxr/master_sheet.csv", "root/egd-cxr/fixations.csv"
	const header = "dicom_id,path,patient_id,image_top_pad,image_bottom_pad,image_left_pad,image_right_pad,Normal\n"
	for name, c := range map[string]struct {
		file, csv string
		change    func(fstest.MapFS, *EGDCXR)
		want      string
	}{
		"missing column":  {file: cases, csv: "dicom_id,path\n", want: `"root/egd-cxr/master_sheet.csv": line 1: no column "patient_id" among ["dicom_id" "path"]`},
		"no such class":   {change: func(_ fstest.MapFS, c *EGDCXR) { c.Classes = []string{"normal", "neumonia"} }, want: `no column "neumonia"`},
		"near class":      {change: func(_ fstest.MapFS, c *EGDCXR) { c.Classes = []string{"normal", "neumonia"} }, want: `(did you mean "pneumonia"?)`},
		"no padding":      {file: cases, csv: header + "a,files/a.dcm,1,,0,0,0,1\n", want: `line 2: want a number, found ""`},
		"padding alone":   {file: cases, csv: header + "a,files/a.dcm,1,0,0,960,960,1\n", want: "line 2: paddings of [0 0 960 960], want less than the screen's 1920 x 1080 pixels"},
		"absolute path":   {file: cases, csv: header + "a,/a.dcm,1,0,0,0,0,1\n", want: `line 2: file "/a.dcm", want a path inside`},
		"infinite place":  {file: gaze, csv: "DICOM_ID,FPOGX,FPOGY\naa-01,inf,0\n", want: `"root/egd-cxr/fixations.csv": line 2: want a number, found "inf"`},
		"gaze elsewhere":  {file: gaze, csv: "DICOM_ID,FPOGX,FPOGY\nx,0.5,0.5\n", want: `none of the fixations is on an image of "root/egd-cxr/master_sheet.csv"`},
		"no fixations":    {change: func(m fstest.MapFS, _ *EGDCXR) { delete(m, gaze) }, want: `"root/egd-cxr/fixations.csv": file does not exist`},
		"no image folder": {change: func(_ fstest.MapFS, c *EGDCXR) { c.Images = "mimic" }, want: `images: "root/mimic": file does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			files := eyeGaze(t)
			f := eyeGazeOf(files, "normal", "abnormal")
			if c.file != "" {
				files[c.file].Data = []byte(c.csv)
			}
			if c.change != nil {
				c.change(files, &f)
			}
			_, err := OpenEGDCXR(f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheFingerprintsOfChestXraysChangeWithEveryFileThatIsRead(t *testing.T) {
	nih := func(files fstest.MapFS) (Source, error) {
		return OpenNIHChestXray(chestXray14Of(files, "normal", "abnormal"))
	}
	egd := func(files fstest.MapFS) (Source, error) { return OpenEGDCXR(eyeGazeOf(files, "normal", "abnormal")) }
	for _, c := range []struct {
		tree func(testing.TB) fstest.MapFS
		open func(fstest.MapFS) (Source, error)
	}{{chestXray14, nih}, {eyeGaze, egd}} {
		sum := func(files fstest.MapFS) string {
			s, err := c.open(files)
			if err != nil {
				t.Fatal(err)
			}
			return fingerprintOf(t, s)
		}
		before := sum(c.tree(t))
		for name := range c.tree(t) {
			files := c.tree(t)
			files[name].Data = append(files[name].Data, '\n')
			if sum(files) == before {
				t.Errorf("%s changed, the fingerprint did not", name)
			}
		}
	}
}

func TestLargeImagesGetSmallerMapsOfTheirShape(t *testing.T) {
	for _, c := range []struct{ w, h, mapW, mapH int }{{512, 100, 512, 100}, {3056, 2544, 512, 426}, {1, 4000, 1, 512}, {2000, 3000, 341, 512}} {
		if p := canvas(c.w, c.h); p.W != c.mapW || p.H != c.mapH {
			t.Errorf("%d x %d: got a map of %d x %d, want %d x %d", c.w, c.h, p.W, p.H, c.mapW, c.mapH)
		}
	}
}

func FuzzCSVTable(f *testing.F) {
	f.Add([]byte("a,b\n1,2\n"))
	f.Add([]byte("\ufeffb,x,a\n\"1\n\",,nan\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var table csvTable
		if table.read(text, []string{"a", "b"}) != nil {
			return
		}
		for _, r := range table.rows {
			if len(r.fields) != 2 {
				t.Fatalf("line %d: %d fields, want 2", r.line, len(r.fields))
			}
			n, err := r.numbers(0)
			if err == nil && (len(n) != 2 || n[0]-n[0] != 0 || n[1]-n[1] != 0) {
				t.Fatalf("line %d: accepted %v", r.line, n)
			}
		}
	})
}
