package raster

import (
	"math"
	"testing"
)

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
