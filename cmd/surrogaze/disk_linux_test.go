package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mountSmall puts a file system of some bytes into the victim's folder.
func (v victim) mountSmall(name, size string) string {
	v.t.Helper()
	dir := filepath.Join(v.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		v.t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENODEV) {
		v.t.Skipf("wants to mount a small file system: %v", err)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			v.t.Error(err)
		}
	})
	return dir
}

// fails runs the program, which is to fail, and returns what it says.
func (v victim) fails(out string, code int) string {
	v.t.Helper()
	cmd := exec.Command(v.binary, "run", "small.yaml", "--out", out, "--progress", "none")
	cmd.Dir = v.dir
	text, err := cmd.CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		v.t.Fatalf("found %v, want exit code %d\n%s", err, code, text)
	}
	return string(text)
}

func TestAFullDiskEndsInAMessageAndTheRunGoesOnWithMoreRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("runs all stages several times")
	}
	v := newVictim(t)
	if ended, _ := v.run("whole", 2, -1); !ended {
		t.Fatal("the unbroken run was killed")
	}
	disk := v.mountSmall("disk", "64k")
	for _, size := range []string{"64k", "192k", "384k", "640k"} {
		if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
		text := v.fails("disk/out", exitFailure)
		if !strings.Contains(text, "no space left on device") || !strings.Contains(text, "hint: ") {
			t.Errorf("with %s the program says %q, want that there is no space, and a hint", size, text)
		}
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if ended, _ := v.run("disk/out", 2, -1); !ended {
		t.Fatal("the run was killed")
	}
	if d := cmp.Diff(v.results("whole"), v.results("disk/out")); d != "" {
		t.Error("results differ from those of an unbroken run")
	}
}

func TestAReadOnlyFolderIsNamed(t *testing.T) {
	v := newVictim(t)
	disk := v.mountSmall("disk", "1m")
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	text := v.fails("disk/out", exitFailure)
	if !strings.Contains(text, "disk/out") || !strings.Contains(text, "read-only file system") {
		t.Errorf("the program says %q, want the folder and that it is read-only", text)
	}
}
