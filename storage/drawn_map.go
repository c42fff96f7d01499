package storage

import (
	"io/fs"
	"math"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// drawnSide is the longest side of a map that is drawn here, in pixels.
const drawnSide = 512

// box is a rectangle that somebody drew, in shares of the image's width and height.
type box struct{ left, top, right, bottom float64 }

// boxes are a map that is 1 in each of them and 0 elsewhere.
type boxes []box

func (b boxes) encoded(_ fs.FS, w, h int) (Encoded, error) {
	p := canvas(w, h)
	for _, x := range b {
		for i := from(x.top, p.H); i < from(x.bottom, p.H); i++ {
			for j := from(x.left, p.W); j < from(x.right, p.W); j++ {
				p.Pix[i*p.W+j] = 1
			}
		}
	}
	return drawn(p)
}

// from is the first of n pixels whose middle is at a share of their length or
// beyond, n if there is none.
func from(share float64, n int) int {
	return int(min(max(math.Ceil(share*float64(n)-0.5), 0), float64(n)))
}

// fixation is where somebody looked, in shares of the image's width and height.
type fixation struct{ x, y float64 }

// fixations are a map that is the sum of a Gaussian for each, divided by its maximum.
type fixations []fixation

// fixationSigma is the Gaussian's deviation as a share of the longer side.
const fixationSigma = 0.05

func (f fixations) encoded(_ fs.FS, w, h int) (Encoded, error) {
	p := canvas(w, h)
	sum := make([]float64, len(p.Pix))
	sigma := fixationSigma * float64(max(p.W, p.H))
	for _, x := range f {
		across, down := bell(x.x, sigma, p.W), bell(x.y, sigma, p.H)
		for i, a := range down {
			for j, b := range across {
				sum[i*p.W+j] += a * b
			}
		}
	}
	highest := 0.0
	for _, v := range sum {
		highest = max(highest, v)
	}
	for i, v := range sum {
		p.Pix[i] = float32(v / highest)
	}
	return drawn(p)
}

// bell are a Gaussian's values in the middles of n pixels, 1 at its own middle,
// which is at a share of their length.
func bell(share, sigma float64, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		d := (float64(i) + 0.5 - share*float64(n)) / sigma
		list[i] = math.Exp(-d * d / 2)
	}
	return list
}

// canvas is an empty map in the shape of an image of w x h pixels.
func canvas(w, h int) *raster.Plane {
	scale := min(1, drawnSide/float64(max(w, h)))
	side := func(n int) int { return max(1, int(math.Round(scale*float64(n)))) }
	return raster.NewPlane(side(w), side(h))
}

func drawn(p *raster.Plane) (Encoded, error) {
	data, err := raster.EncodeMap(p)
	return Encoded{Bytes: data}, err
}
