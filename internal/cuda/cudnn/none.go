//go:build !gpu

package cudnn

import "github.com/surrogaze/surrogaze/internal/cuda/driver"

// Open loads the library for a driver's version, from the given folders first.
func Open(int, []string) (Library, error) { return nil, driver.ErrNotBuilt }
