package doctor

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// processor is its model name.
func processor(fs.FS) string {
	name, _ := unix.Sysctl("machdep.cpu.brand_string")
	return name
}

// memory is the machine's, 0 where the system does not say.
func memory(fs.FS) int64 {
	bytes, _ := unix.SysctlUint64("hw.memsize")
	return int64(bytes)
}
