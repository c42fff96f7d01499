package testset

import (
	"fmt"
	"image"
	"path"
	"strings"

	"github.com/surrogaze/surrogaze/internal/synthetic"
)

// Layout writes a small set into dir in the layout of a public one, its images drawn
// by internal/synthetic.
type Layout func(dir string) error

// Faces is the tree of the CYBORG reference with the lists of configs/faces.yaml.
func Faces(dir string) error {
	tests := [][]string{{"ffhq", "celeba-hq"}, {"progan", "stargan", "stylegan1", "stylegan2", "stylegan-ada", "stylegan3"}} // by class
	var t tree
	var train strings.Builder
	for _, x := range drawn("train", 24) {
		class := []string{"0_real", "1_fake"}[x.Label]
		name := fmt.Sprintf("/train/original_data/%s/%s.png", class, x.ID)
		fmt.Fprintf(&train, "train,%s,%s\n", faceClass(x), name)
		t.image("Data"+name, x.Image)
		t.image("Data/train/heatmaps/"+path.Base(name), x.Map)
	}
	for _, x := range drawn("val", 8) {
		name := fmt.Sprintf("/val/%s.png", x.ID)
		fmt.Fprintf(&train, "test,%s,%s\n", faceClass(x), name)
		t.image("Data"+name, x.Image)
	}
	t.text("csvs/original.csv", train.String())
	lists := map[string]string{}
	for i, x := range drawn("test", 60) {
		of := tests[x.Label]
		test := of[i%len(of)]
		name := fmt.Sprintf("/test/%s/%s.png", test, x.ID)
		lists[test] += fmt.Sprintf("test,%s,%s\n", faceClass(x), name)
		t.image("Data"+name, x.Image)
	}
	for test, list := range lists {
		t.text("csvs/gan_test_sets/"+test+".csv", list)
	}
	return t.write(dir)
}

func faceClass(x synthetic.Sample) string { return []string{"Real", "Synthetic"}[x.Label] }

// IrisPAD is a tree with the lists of configs/iris-pad.yaml, in which half of the
// training images have maps.
func IrisPAD(dir string) error {
	var t tree
	add := func(split, word string, n int) string {
		var list strings.Builder
		for i, x := range drawn(split, n) {
			name := fmt.Sprintf("/%s/%s.png", split, x.ID)
			fmt.Fprintf(&list, "%s,%s,%s\n", word, []string{"Live", "Spoof"}[x.Label], name)
			t.image("Data"+name, x.Image)
			if split == "train" && i%2 == 0 {
				t.image("saliency/"+path.Base(name), x.Map)
			}
		}
		return list.String()
	}
	t.text("csvs/train.csv", add("train", "train", 24)+add("val", "test", 8))
	t.text("csvs/test.csv", add("test", "test", 12))
	return t.write(dir)
}

// EyeGaze is a tree with PhysioNet's egd-cxr beside MIMIC-CXR-JPG, as in
// configs/chest-xray.yaml.
func EyeGaze(dir string) error {
	var t tree
	cases, gaze := &strings.Builder{}, &strings.Builder{}
	fmt.Fprintln(cases, "dicom_id,path,study_id,patient_id,image_top_pad,image_bottom_pad,image_left_pad,image_right_pad,Normal,CHF,pneumonia")
	fmt.Fprintln(gaze, "DICOM_ID,SESSION_ID,FPOGX,FPOGY,FPOGD")
	for i, x := range drawn("train", 40) {
		id, study := fmt.Sprintf("%08x-%08x", i, 7*i), fmt.Sprintf("files/p10/p%d/s%d/", 1000+i, 5000+i)
		// The square fills the screen's height and stands in its middle.
		fmt.Fprintf(cases, "%s,%s%s.dcm,%d,%d,0,0,420,420,%d,%d,0\n", id, study, id, 5000+i, 1000+i, 1-x.Label, x.Label)
		at := region(x.Map)
		share := func(from, to int) float64 { return float64(from+to) / 2 / synthetic.Size }
		fmt.Fprintf(gaze, "%s,1,%.4f,%.4f,0.2\n", id, (420+1080*share(at.Min.X, at.Max.X))/1920, share(at.Min.Y, at.Max.Y))
		t.image("mimic-cxr-jpg/2.0.0/"+study+id+".png", x.Image)
	}
	t.text("egd-cxr/1.0.0/master_sheet.csv", cases.String())
	t.text("egd-cxr/1.0.0/fixations.csv", gaze.String())
	return t.write(dir)
}

// ChestXray14 is a tree as NIH distributes it, in which the first ten images with a
// finding have a box.
func ChestXray14(dir string) error {
	var t tree
	entries, boxes, boxed := &strings.Builder{}, &strings.Builder{}, 0
	fmt.Fprintln(entries, "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],")
	fmt.Fprintln(boxes, "Image Index,Finding Label,Bbox [x,y,w,h],,,")
	for i, x := range drawn("train", 40) {
		name := fmt.Sprintf("%08d_000.png", i+1)
		fmt.Fprintf(entries, "%s,%s,0,%d,058Y,M,PA,2682,2749,0.143,0.143,\n", name, []string{"No Finding", "Infiltration|Mass"}[x.Label], i+1)
		if x.Label == 1 && boxed < 10 {
			boxed++
			at, scale := region(x.Map), 1024.0/synthetic.Size
			fmt.Fprintf(boxes, "%s,Infiltrate,%.3f,%.3f,%.3f,%.3f,,,\n", name,
				scale*float64(at.Min.X), scale*float64(at.Min.Y), scale*float64(at.Dx()), scale*float64(at.Dy()))
		}
		t.image(fmt.Sprintf("images_%03d/images/%s", 1+i/20, name), x.Image)
	}
	t.text("Data_Entry_2017.csv", entries.String())
	t.text("BBox_List_2017.csv", boxes.String())
	return t.write(dir)
}

// drawn are the first n samples of a split.
func drawn(split string, n int) []synthetic.Sample {
	var list []synthetic.Sample
	for i := range n {
		list = append(list, synthetic.Draw(3, split, i))
	}
	return list
}

// region is the rectangle around what a map marks.
func region(m *image.Gray) image.Rectangle {
	var r image.Rectangle
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			if m.GrayAt(x, y).Y > 0 {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}
