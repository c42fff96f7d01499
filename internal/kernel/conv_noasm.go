//go:build noasm || !amd64

package kernel

// vectorised reports that this build has assembly.
const vectorised = false
