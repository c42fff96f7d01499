package doctor

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestMemoryIsTheLowestLimitOnTheWayToTheControlGroup(t *testing.T) {
	const total = "MemFree: 5 kB\nMemTotal:       2048 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"no control groups", map[string]string{"proc/meminfo": total}, 2 << 20},
		{"no limit", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 2 << 20},
		{"own limit", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "1:cpu:/x\n0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1048576\n"}, 1 << 20},
		{"limit of a parent", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "4096\n", "sys/fs/cgroup/a/b/memory.max": "8192\n"}, 4096},
		{"limit of the namespace's root", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		{"limit above the machine", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4194304\n"}, 2 << 20},
		{"group outside the namespace", map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/../../a\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		{"limit alone", map[string]string{"sys/fs/cgroup/memory.max": "4096\n"}, 4096},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}

func TestTheProcessorIsItsModelName(t *testing.T) {
	named := fstest.MapFS{"proc/cpuinfo": {Data: []byte("processor\t: 0\nmodel\t\t: 7\nmodel name\t: Model 7: fast\n")}}
	if got := processor(named); got != "Model 7: fast" {
		t.Errorf("processor %q", got)
	}
	for _, root := range []fstest.MapFS{{}, {"proc/cpuinfo": {Data: []byte("CPU part: 0xd0c\n")}}} {
		if got := processor(root); got != "" {
			t.Errorf("processor without a name: %q", got)
		}
	}
}

func TestInspectAgreesWithTheKernel(t *testing.T) {
	m := Inspect()
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	if total := int64(info.Totalram) * int64(info.Unit); m.Memory <= 0 || m.Memory > total {
		t.Errorf("memory %d, want at most %d", m.Memory, total)
	}
	if runtime.GOARCH != "amd64" {
		return
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skipf("wants the processor's flags as Linux tells them: %v", err)
	}
	var flags []string
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "flags" {
			flags = strings.Fields(value)
			break
		}
	}
	for i, needed := range [][]string{{}, {"avx2", "fma"}, {"avx512f", "avx512bw", "avx512dq", "avx512vl"}} {
		found := !slices.ContainsFunc(needed, func(flag string) bool { return !slices.Contains(flags, flag) })
		if m.ISAs[i].Found != found {
			t.Errorf("%s found %v, want %v", m.ISAs[i].Name, m.ISAs[i].Found, found)
		}
	}
}
