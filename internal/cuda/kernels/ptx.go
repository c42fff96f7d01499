package kernels

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strings"
	"sync"
)

//go:embed *.ptx
var ptx embed.FS

// modules holds the PTX by the name of its file.
var modules = sync.OnceValue(func() map[string]string {
	names, err := fs.Glob(ptx, "*.ptx")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := ptx.ReadFile(name)
		if err != nil {
			panic(err) // embedded
		}
		texts[name] = string(text)
	}
	return texts
})

// PTX is the kernels compiled, as the texts of some modules by their names.
func PTX() map[string]string { return modules() }

var (
	entry     = regexp.MustCompile(`(?s)\.entry (\w+)\(([^)]*)\)`)
	parameter = regexp.MustCompile(`\.param \.(\w+) `)
)

// Names lists the kernels of a module's text.
func Names(text string) []string {
	var names []string
	for _, e := range entry.FindAllStringSubmatch(text, -1) {
		names = append(names, e[1])
	}
	return names
}

// parameters are the types of every kernel's parameters, as PTX names them.
var parameters = sync.OnceValue(func() map[string][]string {
	all := map[string][]string{}
	for _, text := range modules() {
		for _, e := range entry.FindAllStringSubmatch(text, -1) {
			types := []string{}
			for _, p := range parameter.FindAllStringSubmatch(e[2], -1) {
				types = append(types, p[1])
			}
			all[e[1]] = types
		}
	}
	return all
})

// Check reports what of a launch does not fit its kernel or any device: arguments of
// other types than the kernel's parameters, too many threads.
func Check(l Launch) error {
	types, ok := parameters()[l.Kernel]
	if !ok {
		return fmt.Errorf("kernel %q: no such kernel", l.Kernel)
	}
	given := make([]string, len(l.Args))
	for i, a := range l.Args {
		switch a.(type) {
		case Pointer, int64, uint64:
			given[i] = "u64"
		case int32, uint32:
			given[i] = "u32"
		case float32:
			given[i] = "f32"
		default:
			given[i] = fmt.Sprintf("%T", a)
		}
	}
	if g, w := strings.Join(given, " "), strings.Join(types, " "); g != w {
		return fmt.Errorf("kernel %q: arguments %q, want %q", l.Kernel, g, w)
	}
	for axis, most := range [3]int{math.MaxInt32, math.MaxUint16, math.MaxUint16} {
		if l.Grid[axis] < 1 || l.Grid[axis] > most {
			return fmt.Errorf("kernel %q: %v blocks, want 1 to %d on axis %d", l.Kernel, l.Grid, most, axis)
		}
	}
	threads := l.Block[0] * l.Block[1] * l.Block[2]
	if min(l.Block[0], l.Block[1], l.Block[2]) < 1 || threads > 1024 || l.Block[2] > 64 {
		return fmt.Errorf("kernel %q: blocks of %v threads, want 1 to 1024", l.Kernel, l.Block)
	}
	if l.Shared > 48<<10 {
		return fmt.Errorf("kernel %q: %d bytes of shared memory, want at most 48 KiB", l.Kernel, l.Shared)
	}
	return nil
}
