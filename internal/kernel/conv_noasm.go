//go:build noasm || !amd64

package kernel

// vectorised reports that this build has assembly.
const vectorised = false

// multipliers is empty: every instruction set runs the Go loops.
var multipliers map[ISA]*multiplier

// pairMultipliers and peaks are empty, too.
var (
	pairMultipliers  map[ISA]*multiplier
	peaks, pairPeaks map[ISA]peak
)
