package kernels

import "fmt"

// elementwise is a launch with a thread for every vector of n elements.
func elementwise(kernel string, n int64, t Type, args ...any) []Launch {
	v := int64(t.width())
	return one(line(instance(kernel, t), (n+v-1)/v, append([]any{n}, args...)...))
}

// ReLU is y = max(x, 0) of n elements; NaN passes. y may be x.
func ReLU(n int64, t Type, y, x Pointer) []Launch { return elementwise("relu", n, t, y, x) }

// ReLUBackward is dx = dy where the result y of [ReLU] is not 0. dx may be dy or y.
func ReLUBackward(n int64, t Type, dx, dy, y Pointer) []Launch {
	return elementwise("relu_backward", n, t, dx, dy, y)
}

// Add is y = a + b of n elements. y may be a or b.
func Add(n int64, t Type, y, a, b Pointer) []Launch { return elementwise("add", n, t, y, a, b) }

// Convert is y = x of n elements, y of one type and x of the same or another.
func Convert(n int64, to Type, y Pointer, from Type, x Pointer) []Launch {
	return one(line(fmt.Sprintf("convert_%v_%v", from, to), (n+7)/8, n, y, x))
}
