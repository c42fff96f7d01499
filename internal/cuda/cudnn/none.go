//go:build !gpu

package cudnn

import "github.com/surrogaze/surrogaze/internal/cuda/driver"

// Open loads the library, from the given folders first.
func Open([]string) (Library, error) { return nil, driver.ErrNotBuilt }
