//go:build gpu

package driver

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "library.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

// oldest is the first version of CUDA whose drivers compile the PTX of package kernels.
const oldest = 12010

var (
	loading sync.Mutex
	loaded  bool
)

// load makes the driver ready, unless it is.
func load() error {
	loading.Lock()
	defer loading.Unlock()
	if loaded {
		return nil
	}
	runtime.LockOSThread() // whose the loader's last error is
	defer runtime.UnlockOSThread()
	path := os.Getenv(LibraryVariable)
	if path == "" {
		path = "libcuda.so.1"
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var start C.surrogaze_init
	if why := C.surrogaze_load_driver(cpath, &start); why != nil {
		return &UnavailableError{"NVIDIA's driver is not found: " + C.GoString(why)}
	}
	if v := cu.Version(); v < oldest {
		return &UnavailableError{fmt.Sprintf("NVIDIA's driver serves CUDA %s, want %s or later", version(v), version(oldest))}
	}
	err := result(C.surrogaze_call_init(start))
	if errors.Is(err, cu.NoDevice) {
		return &UnavailableError{"NVIDIA's driver finds no device"}
	}
	if err != nil {
		return &UnavailableError{fmt.Sprintf("NVIDIA's driver does not start: %v", err)}
	}
	loaded = true
	return nil
}

// version writes 12010 as 12.1.
func version(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// allocPinned allocates pinned memory, which package cu cannot.
func allocPinned(bytes int) (p unsafe.Pointer, err error) {
	err = result(C.cuMemHostAlloc(&p, C.size_t(bytes), 0))
	return p, err
}

// result is what a function of the driver returned, as package cu has it.
func result(r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return like(cu.Success, int(r))
}

// like makes a number of a type without a name here.
func like[T ~int](_ T, n int) T { return T(n) }
