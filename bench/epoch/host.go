package main

import (
	"math/rand/v2"
	"time"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// host measures what a core of the host does for every image of a batch, in images a
// second: drawn is all of it, as for a CPU, sent what is left to it where a GPU draws.
func host(cfg cyborg.Config, files [][]byte) (drawn, sent float64, err error) {
	var images []raster.Prepared
	for _, data := range files {
		m, err := raster.Decode(data)
		if err != nil {
			return 0, 0, err
		}
		images = append(images, raster.Resizing(cfg.Resize).Prepare(m, cfg.Size))
	}
	planar, pixels := make([]float32, 3*cfg.Size*cfg.Size), make([]byte, 0, 64<<20)
	drawn = rate(cfg, images, func(s raster.SeenImage) { s.Draw(planar) })
	sent = rate(cfg, images, func(s raster.SeenImage) {
		v := s.Geometry()
		if len(pixels)+len(v.Bytes) > cap(pixels) { // larger than the caches, as pinned memory is
			pixels = pixels[:0]
		}
		pixels = append(pixels, v.Bytes...)
	})
	return drawn, sent, nil
}

// rate is how many views a second show takes, the median of some seconds' tenths.
func rate(cfg cyborg.Config, images []raster.Prepared, show func(raster.SeenImage)) float64 {
	const spans, span = 20, 100 * time.Millisecond
	rng, augment := rand.New(rand.NewPCG(1, 1)), raster.Augment(cfg.Augment)
	var rates []float64
	next := 0
	for range spans {
		count := 0
		begin := time.Now()
		for time.Since(begin) < span {
			show(raster.SeenImage{Image: images[next%len(images)], View: augment.Draw(rng), Side: cfg.Size})
			next++
			count++
		}
		rates = append(rates, float64(count)/time.Since(begin).Seconds())
	}
	return median(rates)
}
