//go:build !unix

package kernel

// CanAlloc knows nothing here.
func CanAlloc(int) error { return nil }
