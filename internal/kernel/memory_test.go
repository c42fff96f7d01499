package kernel

import (
	"runtime"
	"testing"
)

func TestMemoryThatNoMachineHasIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("is not asked there")
	}
	if err := CanAlloc(1 << 62); err == nil {
		t.Error("found no error for 4 EiB")
	}
	if err := CanAlloc(1 << 20); err != nil {
		t.Errorf("found %v for 1 MiB", err)
	}
}
