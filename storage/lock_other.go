//go:build !unix

package storage

import (
	"fmt"
	"io"
	"runtime"
)

// lockFolder refuses: without locks that end with their process, two writers
// could share a draft.
func lockFolder(dir string) (io.Closer, error) {
	return nil, fmt.Errorf("lock %q: %s has no flock", dir, runtime.GOOS)
}
