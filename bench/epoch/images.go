package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// read reads the first files of a folder.
func read(dir string, count int) ([][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("folder %q: found no file *.jpg", dir)
	}
	var files [][]byte
	for _, path := range paths[:min(count, len(paths))] {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, data)
	}
	return files, nil
}

// generated draws pictures of the size of ImageNet's: coarse noise under fine.
func generated(count int) ([][]byte, error) {
	const width, height, coarse = 500, 375, 25
	files := make([][]byte, count)
	for i := range files {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		small := raster.NewImage(width/coarse, height/coarse)
		for k := range small.Pix {
			small.Pix[k] = uint8(rng.Uint32())
		}
		planar := make([]float32, 3*width*height)
		raster.Resize(planar, height, width, small)
		for k := range planar {
			planar[k] += 0.03 * float32(rng.NormFloat64())
		}
		var err error
		if files[i], err = raster.EncodeJPEG(raster.FromPlanar(planar, height, width), 90); err != nil {
			return nil, err
		}
	}
	return files, nil
}
