//go:build !race

package raster

// raced reports that the race detector is on, under which sync.Pool forgets at
// random.
const raced = false
