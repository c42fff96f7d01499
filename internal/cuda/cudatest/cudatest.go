// Package cudatest lets tests run on a GPU, or on the mock of NVIDIA's driver in
// internal/cuda/mock: a library in C++ that runs the project's kernels on the CPU,
// compiled from the same sources. Memory begins as NaN and has guards, work waits until
// somebody waits for it, and calls fail on demand; the mock's driver.cc says how.
package cudatest

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// given is the driver that the environment wants, before tests change that: what
// SURROGAZE_LIBCUDA names, or with SURROGAZE_GPU=1 the machine's.
var given = sync.OnceValue(func() string {
	if path := os.Getenv(driver.LibraryVariable); path != "" || os.Getenv("SURROGAZE_GPU") != "1" {
		return path
	}
	return "libcuda.so.1"
})

// Driver lets [driver.Open] open a device during a test: of the driver that the
// environment wants, or else of the mock. It returns the path of the library.
func Driver(t testing.TB) string {
	t.Helper()
	wantTag(t)
	if given() != "" {
		return given()
	}
	return Mock(t)
}

// GPU is Driver for tests that open a device with cuDNN, the mock's where the driver is
// the mock. What is chosen for convolutions is not kept.
func GPU(t testing.TB) {
	t.Helper()
	library := Driver(t)
	if given() == "" {
		t.Setenv("SURROGAZE_CUDA_LIBS", filepath.Dir(library))
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
	}
}

// wantTag skips a test in a build that has no driver.
func wantTag(t testing.TB) {
	t.Helper()
	if !built {
		t.Skip(driver.ErrNotBuilt)
	}
}

// Mock is Driver for tests about the mock, which are skipped where the environment wants
// another driver.
func Mock(t testing.TB) string {
	t.Helper()
	wantTag(t)
	if given() != "" {
		t.Skip("the environment wants a driver, and this test is for the mock")
	}
	folder, err := mock()
	if err != nil {
		t.Fatalf("building the mock of the driver: %v", err)
	}
	library := filepath.Join(folder, "libcuda.so.1")
	t.Setenv(driver.LibraryVariable, library)
	return library
}

// mock is the folder where the mock was built.
var mock = sync.OnceValues(build)

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
	if err := watch(here); err != nil {
		return "", err
	}
	checkout := fnv.New64a()
	checkout.Write([]byte(here))
	folder := filepath.Join(cache, "surrogaze", fmt.Sprintf("mock-%x", checkout.Sum64()))
	said, err := exec.Command(filepath.Join(here, "build"), folder).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return folder, nil
}

// watch looks at the mock's sources, so that go test knows which results to keep.
func watch(folder string) error {
	files, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(folder, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
