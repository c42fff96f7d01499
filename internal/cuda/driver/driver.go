// Package driver is what the engine needs of NVIDIA's driver: devices, memory,
// streams, kernels and graphs of them.
//
// With the build tag gpu it speaks to the driver through gorgonia.org/cu, with what
// cu lacks beside it; the library is found when [Open] is called, so that such a
// binary starts on machines without one. Without the tag Open returns [ErrNotBuilt].
//
// Methods may be called from any goroutine. Work in one stream runs in the order in
// which it was put there. An error of a device's work may show in a later call of any
// method; [Device.Close] frees everything that was made from the device.
package driver

import "errors"

// ErrNotBuilt says that the program was built without the tag gpu.
var ErrNotBuilt = errors.New("this build computes on the CPU, want one with the tag gpu (make cuda)")

// LibraryVariable names the variable of the environment that says where the driver's
// library is, if not where the loader looks.
const LibraryVariable = "SURROGAZE_LIBCUDA"

// Pointer is an address in a device's memory; 0 is none.
type Pointer uint64

// Offset is the address some bytes further on.
func (p Pointer) Offset(bytes int64) Pointer { return p + Pointer(bytes) }

// Launch is a kernel with the threads that it runs on and its arguments: each a
// [Pointer], int32, uint32, int64, uint64 or float32, in the types of the kernel's
// parameters.
type Launch struct {
	Kernel      string
	Grid, Block [3]int // blocks, threads of one
	Shared      int    // bytes of dynamic shared memory of a block
	Args        []any
}

// Properties describe a device.
type Properties struct {
	Name            string
	Major, Minor    int   // compute capability
	Multiprocessors int   //
	Memory          int64 // bytes
	Driver          int   // version of CUDA that the driver serves, as 12020 for 12.2
	UUID            string
}

// Device is a GPU with one context.
type Device interface {
	Properties() Properties
	// Free is the number of bytes that can still be allocated.
	Free() (int64, error)
	// Alloc allocates device memory, aligned to 256 bytes.
	Alloc(bytes int64) (Pointer, error)
	Release(p Pointer) error
	// AllocHost allocates pinned memory, which copies may read and write while the
	// program goes on.
	AllocHost(bytes int) ([]byte, error)
	ReleaseHost(b []byte) error
	// Load compiles PTX for the device.
	Load(ptx string) (Module, error)
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// NewBlockingEvent makes an event without a time. Who waits for it sleeps, where
	// others look for it again and again, which takes a core.
	NewBlockingEvent() (Event, error)
	Close() error
}

// Module is compiled kernels.
type Module interface {
	// Function finds a kernel by its name.
	Function(name string) (Function, error)
}

// Function is a kernel, to be launched.
type Function any

// Stream is a queue of work.
type Stream interface {
	// Handle is the CUstream, for libraries that work in it.
	Handle() uintptr
	Launch(f Function, l Launch) error
	// CopyIn and CopyOut copy between pinned host memory and the device and return at
	// once.
	CopyIn(to Pointer, from []byte) error
	CopyOut(to []byte, from Pointer) error
	Copy(to, from Pointer, bytes int64) error
	// Fill sets every byte.
	Fill(to Pointer, value byte, bytes int64) error
	Record(e Event) error
	// Wait lets what follows in the stream begin after an event.
	Wait(e Event) error
	// Synchronize waits for everything in the stream.
	Synchronize() error
	// Capture records what f puts into the stream, instead of doing it.
	Capture(f func() error) (Graph, error)
	Close() error
}

// Event is a moment in a stream.
type Event interface {
	// Since is the time in seconds between two events that have passed.
	Since(earlier Event) (float64, error)
	Synchronize() error
	Close() error
}

// Graph is captured work, launched as a whole.
type Graph interface {
	Launch(s Stream) error
	Close() error
}
