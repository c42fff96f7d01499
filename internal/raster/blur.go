package raster

import "math"

// BlurOutside blurs a planar image (3, h, w) in place where a mask (h, w) in [0, 1] is
// low:
//
//	image = mask*image + (1-mask)*blurred
//
// The blur is a Gaussian's of standard deviation sigma > 0, in pixels, cut at four of
// them; beyond the border the image's reflection is seen. It equals
// scipy.ndimage.gaussian_filter's, but for rounding.
func BlurOutside(planar, mask []float32, h, w int, sigma float64) {
	kernel := gaussian(sigma)
	blurred := make([]float32, h*w)
	for c := range 3 {
		plane := planar[c*h*w:][:h*w]
		copy(blurred, plane)
		blurRows(blurred, w, kernel)
		blurColumns(blurred, w, kernel)
		for i, m := range mask[:h*w] {
			plane[i] = blurred[i] + m*(plane[i]-blurred[i])
		}
	}
}

// gaussian is a kernel of odd length and sum 1.
func gaussian(sigma float64) []float32 {
	radius := int(4*sigma + 0.5)
	weights, sum := make([]float64, 2*radius+1), 0.0
	for i := range weights {
		x := float64(i-radius) / sigma
		weights[i] = math.Exp(-x * x / 2)
		sum += weights[i]
	}
	kernel := make([]float32, len(weights))
	for i, v := range weights {
		kernel[i] = float32(v / sum)
	}
	return kernel
}

// blurRows filters every row of w values.
func blurRows(plane []float32, w int, kernel []float32) {
	radius := len(kernel) / 2
	line := make([]float32, w+2*radius)
	for ; len(plane) >= w; plane = plane[w:] {
		for i := range line {
			line[i] = plane[mirrored(i-radius, w)]
		}
		blend(plane[:w], line, 1, kernel)
	}
}

// blurColumns filters every column of rows of w values.
func blurColumns(plane []float32, w int, kernel []float32) {
	radius, h := len(kernel)/2, len(plane)/w
	rows := make([]float32, (h+2*radius)*w)
	for i := range h + 2*radius {
		copy(rows[i*w:][:w], plane[mirrored(i-radius, h)*w:])
	}
	for y := range h {
		blend(plane[y*w:][:w], rows[y*w:], w, kernel)
	}
}

// mirrored is the index in [0, n) that is seen at i with mirrors at both borders:
// ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
func mirrored(i, n int) int {
	i = ((i % (2 * n)) + 2*n) % (2 * n)
	return min(i, 2*n-1-i)
}
