package kernels

// elementwise is a launch with a thread for every vector of n elements.
func elementwise(kernel string, n int64, t Type, args ...any) []Launch {
	v := t.width()
	return one(line(vectorInstance(kernel, t, v), (n+int64(v)-1)/int64(v), append([]any{n}, args...)...))
}

// ReLU is y = max(x, 0) of n elements; NaN passes. y may be x.
func ReLU(n int64, t Type, y, x Pointer) []Launch { return elementwise("relu", n, t, y, x) }
