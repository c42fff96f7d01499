//go:build gpu

package kernels

import (
	"fmt"
	"testing"
)

func TestDecodedImagesBecomeANetworksInput(t *testing.T) {
	g := open(t)
	mean, sd := [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	for _, size := range [][2]int{{1, 1}, {3, 5}, {6, 8}, {17, 20}} {
		n, h, w := 3, size[0], size[1]
		x, flips := make([]byte, n*h*w*3), []byte{0, 1, 0}
		for i := range x {
			x[i] = byte(g.rng.IntN(256))
		}
		for name, p := range map[string]Pointer{"flipped": g.upload(flips), "as they are": 0} {
			g.compare(fmt.Sprintf("%d x %d images, %s", h, w, name), len(x),
				func(to Pointer) []Launch { return Normalize(n, h, w, to, g.upload(x), p, mean, sd) },
				func(to []float64) {
					for i, v := range x {
						c, column, row, image := i%3, i/3%w, i/(3*w)%h, i/(3*w*h)
						if p != 0 && flips[image] != 0 {
							column = w - 1 - column
						}
						to[((image*3+c)*h+row)*w+column] = (float64(v)/255 - float64(mean[c])) / float64(sd[c])
					}
				})
		}
	}
}
