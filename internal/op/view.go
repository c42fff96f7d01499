package op

// Span is the part of an axis that is seen, in pixels. It may reach beyond the axis,
// where the image continues as its reflection.
type Span struct {
	Centre, Side float64
	Backwards    bool
}

// View is how a network sees an image of three interleaved bytes a pixel, or a map of one
// float32. A position of the result is the weighted mean of the pixels around the place
// of the window that it shows, by a filter as wide as what it covers:
//
//	an image: (min(Gain*mean/255, 1) - Mean) / Std, by a triangle
//	a map:    the mean, over the area that it covers, or, if that is less than a pixel, by a triangle
type View struct {
	Bytes  []uint8   // of an image: H rows of W pixels
	Values []float32 // of a map
	W, H   int
	X, Y   Span // the window, along the axes of the pixels
	// Transpose makes the axes of the pixels change places in the result.
	Transpose       bool
	Gain, Mean, Std [3]float32 // of an image's channels
}
