package raster

// Channel statistics of ImageNet, which pretrained networks expect and any other
// network can live with.
var (
	ChannelMean = [3]float32{0.485, 0.456, 0.406}
	ChannelStd  = [3]float32{0.229, 0.224, 0.225}
)

// Normalize turns a planar image (3, h, w) in [0, 1] into a network's input, in
// place: (value - ChannelMean) / ChannelStd.
func Normalize(planar []float32) {
	n := len(planar) / 3
	for c := range 3 {
		plane := planar[c*n : (c+1)*n]
		for i, v := range plane {
			plane[i] = (v - ChannelMean[c]) / ChannelStd[c]
		}
	}
}

// Reduce is m with its shorter side reduced to side pixels, in the same aspect
// ratio; a smaller image is returned as it is.
func Reduce(m *Image, side int) *Image {
	w, h := reduced(m.W, m.H, side)
	if w == m.W && h == m.H {
		return m
	}
	return resizedImage(m, w, h)
}

// ReduceMap is Reduce of a map, by area mean.
func ReduceMap(p *Plane, side int) *Plane {
	w, h := reduced(p.W, p.H, side)
	if w == p.W && h == p.H {
		return p
	}
	small := NewPlane(w, h)
	ResizeMap(small.Pix, h, w, p)
	return small
}

func reduced(w, h, side int) (int, int) {
	shorter := min(w, h)
	if shorter <= side {
		return w, h
	}
	scaled := func(n int) int { return (n*side + shorter/2) / shorter }
	return scaled(w), scaled(h)
}
