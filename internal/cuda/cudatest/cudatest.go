// Package cudatest lets tests run on the mock of NVIDIA's driver (internal/cuda/mock): a
// library in C++ that runs the project's kernels on the CPU, compiled from the same
// sources. Memory begins as NaN and has guards, work waits until somebody waits for it,
// and calls fail on demand; the mock's driver.cc says how.
package cudatest

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// Mock builds the mock, where that was not done, and lets [driver.Open] open its device
// during a test. It returns the path of the library.
func Mock(t testing.TB) string {
	t.Helper()
	folder, err := build()
	if err != nil {
		t.Fatalf("building the mock of the driver: %v", err)
	}
	library := filepath.Join(folder, "libcuda.so.1")
	t.Setenv(driver.LibraryVariable, library)
	return library
}

// build builds in a folder of the user's cache that belongs to this checkout.
func build() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", fmt.Errorf("source folder unknown (built with -trimpath?)")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	here := filepath.Join(filepath.Dir(filepath.Dir(file)), "mock")
	checkout := fnv.New64a()
	checkout.Write([]byte(here))
	folder := filepath.Join(cache, "surrogaze", fmt.Sprintf("mock-%x", checkout.Sum64()))
	said, err := exec.Command(filepath.Join(here, "build"), folder).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return folder, nil
}
