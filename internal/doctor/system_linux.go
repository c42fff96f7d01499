package doctor

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// processor is its model name, empty where the kernel has none.
func processor(root fs.FS) string {
	info, err := fs.ReadFile(root, "proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if key, name, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// memory is the machine's, or what control groups (version 2) leave of it.
func memory(root fs.FS) int64 {
	total := installed(root)
	for group := controlGroup(root); ; group = path.Dir(group) {
		if limit := limitOf(root, group); limit > 0 && (limit < total || total == 0) {
			total = limit
		}
		if group == "." {
			return total
		}
	}
}

// installed is MemTotal of /proc/meminfo.
func installed(root fs.FS) int64 {
	info, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// controlGroup is the process's own, relative to the root group.
func controlGroup(root fs.FS) string {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "."
	}
	for line := range strings.Lines(string(list)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path.Join(".", path.Join("/", name)[1:])
		}
	}
	return "."
}

// limitOf is a group's limit in bytes, 0 where it has none.
func limitOf(root fs.FS, group string) int64 {
	text, err := fs.ReadFile(root, path.Join("sys/fs/cgroup", group, "memory.max"))
	if err != nil {
		return 0
	}
	limit, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return limit
}
