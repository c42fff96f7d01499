package raster

import (
	"math"
	"testing"
)

func TestAReducedImageKeepsItsShapeAndMean(t *testing.T) {
	m := NewImage(60, 40)
	for i := range m.Pix {
		m.Pix[i] = uint8(i / 3 % 60 * 4) // a ramp from left to right, 0 to 236
	}
	small := Reduce(m, 20)
	if small.W != 30 || small.H != 20 {
		t.Fatalf("%d x %d, want 30 x 20", small.W, small.H)
	}
	if got := int(small.Pix[3*15]); got != 122 { // the mean of columns 30 and 31 (120, 124), symmetrically around them
		t.Errorf("column 15 is %d, want 122", got)
	}
	if Reduce(m, 40) != m || Reduce(m, 50) != m {
		t.Error("an image that is small enough is not returned as it is")
	}
}

func TestAReducedMapIsTheMeanOfItsAreas(t *testing.T) {
	p := NewPlane(4, 6)
	for i := range p.Pix {
		p.Pix[i] = float32(i)
	}
	small := ReduceMap(p, 2)
	if small.W != 2 || small.H != 3 {
		t.Fatalf("%d x %d, want 2 x 3", small.W, small.H)
	}
	if got := small.Pix[0]; got != 2.5 { // the mean of 0, 1, 4, 5
		t.Errorf("the first value is %v, want 2.5", got)
	}
	if ReduceMap(p, 4) != p {
		t.Error("a map that is small enough is not returned as it is")
	}
}

func TestNormalizedChannelsHaveTheStatisticsOfImageNet(t *testing.T) {
	p := []float32{0.485, 1, 0.456, 1, 0.406, 1}
	Normalize(p)
	want := []float64{0, (1 - 0.485) / 0.229, 0, (1 - 0.456) / 0.224, 0, (1 - 0.406) / 0.225} // torchvision's
	for i, v := range p {
		if math.Abs(float64(v)-want[i]) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, v, want[i])
		}
	}
}
