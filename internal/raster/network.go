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
