//go:build !noasm

package kernel

// vectorised reports that this build has assembly.
const vectorised = true
