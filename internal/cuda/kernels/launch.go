package kernels

import "fmt"

// threads is the size of most blocks.
const threads = 256

// width is the number of elements of a full vector.
func (t Type) width() int { return 16 / t.Size() }

// width is the number of consecutive channels that a thread takes at once: a full
// vector where vectors fill the channels, which keeps every pixel aligned.
func width(t Type, channels int) int {
	if v := t.width(); channels%v == 0 {
		return v
	}
	return 1
}

// instance is the name of a kernel's instance for a type.
func instance(kernel string, t Type) string { return fmt.Sprintf("%s_%v", kernel, t) }

// vectorInstance is the name of a kernel's instance for a type and a vector width.
func vectorInstance(kernel string, t Type, v int) string {
	return fmt.Sprintf("%s_%v_v%d", kernel, t, v)
}

// line is a grid of one dimension with at least a thread for each of n.
func line(kernel string, n int64, args ...any) Launch {
	blocks := (n + threads - 1) / threads
	return Launch{Kernel: kernel, Grid: [3]int{int(blocks), 1, 1}, Block: [3]int{threads, 1, 1}, Args: args}
}

// one is an operator's only launch.
func one(l Launch) []Launch { return []Launch{l} }

func divideUp(n, d int) int { return (n + d - 1) / d }

// flag is a kernel's argument that is 0 or 1.
func flag(set bool) int32 {
	if set {
		return 1
	}
	return 0
}
