package kernels

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCompiledKernelsAreThoseOfTheSources(t *testing.T) {
	common, err := os.ReadFile("common.cuh")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.cu")
	if err != nil || len(sources) == 0 {
		t.Fatalf("sources %q, %v", sources, err)
	}
	if got := len(PTX()); got != len(sources) {
		t.Errorf("%d modules, want one for each of %d sources", got, len(sources))
	}
	for _, name := range sources {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		module := strings.TrimSuffix(name, ".cu") + ".ptx"
		first, _, _ := strings.Cut(PTX()[module], "\n")
		if want := fmt.Sprintf("// %x", sha256.Sum256(append(source, common...))); first != want {
			t.Errorf("%s is not compiled from %s and common.cuh as they are: run make ptx", module, name)
		}
	}
}

func TestALaunchThatDoesNotFitItsKernelIsRefused(t *testing.T) {
	fitting := ReLU(1000, BF16, 256, 512)[0]
	if err := Check(fitting); err != nil {
		t.Errorf("a launch that fits: %v", err)
	}
	for name, change := range map[string]func(l *Launch){
		"unknown kernel":       func(l *Launch) { l.Kernel = "relu" },
		"argument too few":     func(l *Launch) { l.Args = l.Args[:2] },
		"argument of a width":  func(l *Launch) { l.Args = []any{int32(1), Pointer(0), Pointer(0)} },
		"argument of Go's int": func(l *Launch) { l.Args = []any{1, Pointer(0), Pointer(0)} },
		"no blocks":            func(l *Launch) { l.Grid[1] = 0 },
		"blocks too large":     func(l *Launch) { l.Block = [3]int{1024, 2, 1} },
		"shared memory":        func(l *Launch) { l.Shared = 1 << 20 },
	} {
		l := fitting
		if change(&l); Check(l) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
