//go:build unix

package kernel

import "golang.org/x/sys/unix"

// CanAlloc returns an error where the system refuses so many bytes at once, which Alloc
// could not: Go ends the process. Memory that is promised here may still be missing when
// it is used.
func CanAlloc(bytes int) error {
	if bytes < 0 { // more than an int counts
		return unix.ENOMEM
	}
	const protection, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_ANON | unix.MAP_PRIVATE
	m, err := unix.Mmap(-1, 0, max(bytes, 1), protection, flags)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}
