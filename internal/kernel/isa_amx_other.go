//go:build !linux || !amd64

package kernel

// tilesPermitted is false: only Linux is known to save the state of AMX's tiles.
func tilesPermitted() bool { return false }
