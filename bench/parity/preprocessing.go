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
	Name   string `json:"name"` // of the file
	Height int    `json:"height"`
	Width  int    `json:"width"`
	// Crop is the share of each side that is seen, in the middle.
	Crop float64 `json:"crop"`
}

// preprocessing decodes an image file, resizes, crops and normalises it: image, (3,
// height, width).
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
	return dir.writeTensors([]weights.Tensor{v.of(m)})
}

func (v view) of(m *raster.Image) weights.Tensor {
	pixels := make([]float32, 3*v.Height*v.Width)
	raster.View{Zoom: v.Crop - 1}.Image(pixels, v.Height, v.Width, m)
	raster.Normalize(pixels)
	return weights.Float32("image", []int{3, v.Height, v.Width}, pixels)
}
