//go:build linux && amd64

package kernel

import (
	"sync"
	"syscall"
	"unsafe"
)

// tilesPermitted asks Linux for the state of AMX's tiles, which it saves for those
// programs alone that did. What it says holds for the whole process.
var tilesPermitted = sync.OnceValue(func() bool {
	const (
		getPermission     = 0x1022 // ARCH_GET_XCOMP_PERM
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // XFEATURE_XTILE_DATA
	)
	var permitted uint64
	if _, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0); err != 0 {
		return false
	}
	_, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, getPermission, uintptr(unsafe.Pointer(&permitted)), 0)
	return err == 0 && permitted>>tileData&1 == 1
})
