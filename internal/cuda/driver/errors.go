package driver

import (
	"errors"
	"fmt"
)

// ErrMemory and ErrLost are what every [MemoryError] and every [LostError] is.
var (
	ErrMemory = errors.New("the device has too little memory")
	ErrLost   = errors.New("the device is lost")
)

// UnavailableError says why there is no GPU that can be used: no driver, one that is
// too old, no device, or one that is too old.
type UnavailableError struct{ Reason string }

func (e *UnavailableError) Error() string { return "no GPU can be used: " + e.Reason }

// MemoryError says that an allocation did not fit the device's memory, or what the host
// can pin of its own for it.
type MemoryError struct {
	Wanted, Free int64 // bytes; nobody tells how much more can be pinned
	Pinned       bool
}

func (e *MemoryError) Error() string {
	if e.Pinned {
		return fmt.Sprintf("the host cannot pin %.1f MiB more of its memory for the device", mebibytes(e.Wanted))
	}
	return fmt.Sprintf("%v: %.1f MiB wanted, %.1f MiB free", ErrMemory, mebibytes(e.Wanted), mebibytes(e.Free))
}

// Is is for [errors.Is].
func (e *MemoryError) Is(target error) bool { return target == ErrMemory }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// LostError says that the device, or this program's use of it, has failed for good:
// every later call fails too, and what its memory held is lost.
type LostError struct {
	Doing string // the call in which it showed
	Cause error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%v, as was seen at %s: %v", ErrLost, e.Doing, e.Cause)
}

// Is is for [errors.Is].
func (e *LostError) Is(target error) bool { return target == ErrLost }

func (e *LostError) Unwrap() error { return e.Cause }
