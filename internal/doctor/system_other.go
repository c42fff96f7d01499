//go:build !linux && !darwin

package doctor

import (
	"io/fs"
	"os"
)

// processor is what Windows calls it, empty elsewhere.
func processor(fs.FS) string { return os.Getenv("PROCESSOR_IDENTIFIER") }

// memory is unknown on systems other than Linux and macOS.
func memory(fs.FS) int64 { return 0 }
