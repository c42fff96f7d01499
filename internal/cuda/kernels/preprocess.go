package kernels

// Normalize turns decoded images x, one byte a channel as (N, H, W, 3), into a network's
// input y, planar (N, 3, H, W): (x/255 - mean) / sd. Flips holds a byte for each image,
// not 0 where left and right change places; it may be 0.
func Normalize(n, h, w int, y, x, flips Pointer, mean, sd [3]float32) []Launch {
	v := width(F32, w)
	args := []any{int32(n), int32(h), int32(w), y, x, flips}
	for c := range 3 {
		args = append(args, 1/(255*sd[c]))
	}
	for c := range 3 {
		args = append(args, -mean[c]/sd[c])
	}
	return one(line(vectorInstance("normalize", F32, v), int64(n)*int64(h)*int64(w/v), args...))
}
