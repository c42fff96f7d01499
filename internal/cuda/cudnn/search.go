package cudnn

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Folders is the variable that names folders of NVIDIA's libraries.
const Folders = "SURROGAZE_CUDA_LIBS"

// wheels are where Python's packages put NVIDIA's libraries, below an installation of
// Python.
const wheels = "lib*/python3*/*-packages/nvidia/*/lib"

// folders lists where NVIDIA's libraries may be: those that were named, as an argument or
// by the environment, and those where they are found: the loader's own places (""), those
// of the active Python installations, and those of CUDA and the system, which lie below
// root.
func folders(root string, given []string) (named, found []string) {
	for _, dir := range slices.Concat(given, filepath.SplitList(os.Getenv(Folders))) {
		if dir != "" {
			named = append(named, dir)
		}
	}
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
	found = []string{""}
	for _, pattern := range patterns {
		dirs, _ := filepath.Glob(pattern) // a pattern that cannot be read finds nothing
		slices.Reverse(dirs)              // the newest version first
		for _, dir := range dirs {
			if !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	return named, found
}

// newest sorts files of the library, the newest version first.
func newest(files []string) {
	slices.SortStableFunc(files, func(a, b string) int { return slices.Compare(versionOf(b), versionOf(a)) })
}

// header is the library's version as pip's package has it in a file beside the library's
// folder.
var header = regexp.MustCompile(`#define CUDNN_MAJOR (\d+)\s+#define CUDNN_MINOR (\d+)\s+#define CUDNN_PATCHLEVEL (\d+)`)

// versionOf is the version of a file of the library, by the name to which a link leads or
// by pip's header, or its major where neither tells. The library itself is not asked, as
// that opens it.
func versionOf(file string) []int {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	_, suffix, _ := strings.Cut(filepath.Base(file), ".so.")
	numbers := strings.Split(suffix, ".")
	if len(numbers) == 1 {
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "..", "include", "cudnn_version.h"))
		if found := header.FindStringSubmatch(string(text)); found != nil && found[1] == numbers[0] {
			numbers = found[1:]
		}
	}
	version := make([]int, len(numbers))
	for i, n := range numbers {
		version[i], _ = strconv.Atoi(n) // what is no number counts for nothing
	}
	return version
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
