// Package reference computes every operator of the engine in the plainest way,
// on planar tensors (N, C, H, W), in float32 or float64.
//
// It is what the kernels and the backends are tested against, and what an
// operator runs in gorgonia's tape machine. Functions take their geometry
// first, then the destination, then the sources. Destinations are overwritten
// and never alias a source unless a function says so. Sums are accumulated in
// float64 whatever the element type is.
package reference

// Float is an element type.
type Float interface{ ~float32 | ~float64 }
