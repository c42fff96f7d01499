// Package kernels is the engine's own CUDA kernels and the geometry of their launches.
//
// The kernels are CUDA C, compiled ahead of time to PTX, which is embedded ([PTX]).
// A function of this package turns an operator with its operands in device memory into
// the launches that compute it; it needs neither a GPU nor a driver. Source for what
// each computes is package kernel/reference.
//
// Feature maps lie in memory as N, H, W, C without gaps, of a [Type]. Planar tensors
// are float32 as N, C, H, W. Weights of convolutions are Out, KernelH, KernelW, In of
// the group. Pointers are aligned to 256 bytes. What launches of one stream leave in
// the scratch is their own until the next function's launches.
package kernels

import "github.com/surrogaze/surrogaze/internal/cuda/driver"

// Short names of the driver's types.
type (
	// Pointer is an address in device memory; 0 is none.
	Pointer = driver.Pointer
	// Launch is one kernel's.
	Launch = driver.Launch
)

// Type is what feature maps are made of.
type Type uint8

// The types of feature maps.
const (
	F32 Type = iota
	BF16
)

// Size is the number of bytes of an element.
func (t Type) Size() int {
	if t == BF16 {
		return 2
	}
	return 4
}

func (t Type) String() string {
	if t == BF16 {
		return "bf16"
	}
	return "f32"
}

// Scratch is the number of bytes that functions which take a scratch may use of it.
const Scratch = 16 << 20
