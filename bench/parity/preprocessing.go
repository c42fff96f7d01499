package main

import (
	"context"
	"fmt"
	"os"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// view is an image file and what is to be made of it for a network.
type view struct {
	Name string `json:"name"` // of the file
	Side int    `json:"side"` // of the square that the network sees
	// Crop is the share of each side that is seen, in the middle.
	Crop float64 `json:"crop"`
	// Resizing is that of configurations; "" resizes the image as it is.
	Resizing raster.Resizing `json:"resizing"`
}

// preprocessing decodes an image file, (height, width, 3), and resizes, crops and
// normalises it, (3, side, side).
func preprocessing(_ context.Context, dir folder) error {
	var v view
	if err := dir.readJSON("job.json", &v); err != nil {
		return err
	}
	data, err := os.ReadFile(dir.path(v.Name))
	if err != nil {
		return err
	}
	m, err := raster.Decode(data)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	return dir.writeTensors([]weights.Tensor{
		{Name: "decoded", DType: weights.U8, Shape: []int{m.H, m.W, 3}, Raw: m.Pix}, v.of(m),
	})
}

func (v view) of(m *raster.Image) weights.Tensor {
	pixels := make([]float32, 3*v.Side*v.Side)
	if v.Resizing == "" {
		raster.View{Zoom: v.Crop - 1}.Image(pixels, v.Side, v.Side, m)
	} else {
		v.Resizing.Prepare(m, v.Side).View(pixels, v.Side, raster.View{})
	}
	raster.Normalize(pixels)
	return weights.Float32("prepared", []int{3, v.Side, v.Side}, pixels)
}
