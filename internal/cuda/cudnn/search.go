package cudnn

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Folders is the variable that names folders of NVIDIA's libraries.
const Folders = "SURROGAZE_CUDA_LIBS"

// wheels are where Python's packages put NVIDIA's libraries, below an installation of
// Python.
const wheels = "lib*/python3*/*-packages/nvidia/*/lib"

// folders lists where NVIDIA's libraries may be: those given, those that the environment
// names, the loader's own places (""), those of the active Python installations, and
// those of CUDA and the system, which lie below root.
func folders(root string, given []string) []string {
	var list []string
	for _, dir := range slices.Concat(given, filepath.SplitList(os.Getenv(Folders))) {
		if dir != "" {
			list = append(list, dir)
		}
	}
	list = append(list, "")
	var patterns []string
	for _, dir := range pythons() {
		patterns = append(patterns, filepath.Join(dir, wheels))
	}
	if dir := os.Getenv("CONDA_PREFIX"); dir != "" {
		patterns = append(patterns, filepath.Join(dir, "lib"))
	}
	for _, dir := range []string{"usr/local", "usr"} {
		patterns = append(patterns, filepath.Join(root, dir, wheels))
	}
	for _, dir := range []string{"usr/local/cuda*/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib64"} {
		patterns = append(patterns, filepath.Join(root, dir))
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // a pattern that cannot be read finds nothing
		slices.Reverse(found)              // the newest version first
		for _, dir := range found {
			if !slices.Contains(list, dir) {
				list = append(list, dir)
			}
		}
	}
	return list
}

// pythons lists the installations of Python that are active: the environment's, the
// one whose python3 would run, and the user's own packages.
func pythons() []string {
	var list []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := os.Getenv(name); dir != "" {
			list = append(list, dir)
		}
	}
	if python, err := exec.LookPath("python3"); err == nil {
		list = append(list, filepath.Dir(filepath.Dir(python)))
		if python, err = filepath.EvalSymlinks(python); err == nil {
			list = append(list, filepath.Dir(filepath.Dir(python)))
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".local"))
	}
	return list
}
