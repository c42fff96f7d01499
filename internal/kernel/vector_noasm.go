//go:build noasm || !amd64

package kernel

// assembly is empty: every instruction set runs the Go loops.
var assembly map[ISA]*vector
