//go:build !gpu

package driver

// Open takes the n-th device.
func Open(int) (Device, error) { return nil, ErrNotBuilt }

// List describes the devices in the order of their numbers.
func List() ([]Properties, error) { return nil, ErrNotBuilt }
