// Package doctor says what the machine offers: processor, instruction sets,
// memory, and the peaks of arithmetic and memory that kernels can reach.
package doctor

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/kernel"
)

// Machine is what a run has to work with.
type Machine struct {
	CPU    string // model name, or the architecture where it has none
	Cores  int    // logical ones that the process may run on
	Quota  int    // cores' worth of time it gets at most
	Memory int64  // bytes that the process may use at most; 0 where unknown
	OS     string
	Arch   string
	Go     string // version

	ISA    string // the instruction set that kernels use
	ISAs   []ISA  // all that kernels are written for
	Notice string // what is wrong with SURROGAZE_ISA, if anything

	GPUs []GPU // of [InspectGPUs]
}

// GPU is one of the machine's, or that there is none.
type GPU struct {
	Device string // as configurations name it; empty for none
	State  string // what it is, or why it cannot be used
}

// ISA is an instruction set and whether kernels use it.
type ISA struct {
	Name  string
	Found bool   // the processor and the operating system offer it
	State string // "used", "available", or why it cannot be used
}

// Inspect looks at the machine but for its GPUs. It takes no time worth mentioning.
func Inspect() Machine {
	root := os.DirFS("/")
	m := Machine{
		CPU: processor(root), Cores: runtime.NumCPU(), Quota: runtime.GOMAXPROCS(0), Memory: memory(root),
		OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(),
	}
	if m.CPU == "" {
		m.CPU = m.Arch
	}
	m.instructionSets(kernel.Supported(), kernel.Detect(), kernel.TilesRefused(), os.Getenv("SURROGAZE_ISA"))
	return m
}

// instructionSets explains what is used of what is supported under a limit by
// name, which is empty where there is none. AMX may be refused.
func (m *Machine) instructionSets(supported, used kernel.ISA, refused bool, limitName string) {
	limit, err := kernel.ParseISA(limitName)
	if err != nil {
		limit = kernel.Best
		if limitName != "" {
			m.Notice = "SURROGAZE_ISA is ignored: " + err.Error()
		}
	}
	m.ISA = used.String()
	for isa := kernel.Generic; isa <= kernel.Best; isa++ {
		found := ISA{Name: isa.String(), Found: isa <= supported}
		switch {
		case isa == used:
			found.State = "used"
		case isa < used:
			found.State = "available"
		case isa == kernel.AVX512BF16 && refused:
			found.State = "left out: on processors with AMX slower than float32"
		case isa == kernel.AMX && refused:
			found.State = "refused by the operating system"
		case !found.Found:
			found.State = "not offered by the processor, or not enabled by the operating system"
		case isa > limit:
			found.State = fmt.Sprintf("turned off by SURROGAZE_ISA=%s", limitName)
		default:
			found.State = "not in this build (tag noasm)"
		}
		m.ISAs = append(m.ISAs, found)
	}
}

// InspectGPUs takes every GPU in use for a moment, and tells of each what it is or why it
// cannot be used; if there is none, why.
func InspectGPUs() []GPU { return gpus(os.DirFS("/")) }

func gpus(root fs.FS) []GPU {
	found, err := cuda.List()
	if err != nil {
		reason := "none used: " + err.Error()
		if _, err := fs.Stat(root, "proc/driver/nvidia/version"); err == nil {
			reason += " (an NVIDIA driver is loaded)"
		}
		return []GPU{{State: reason}}
	}
	var list []GPU
	for i, p := range found {
		gpu := GPU{Device: fmt.Sprintf("cuda:%d", i)}
		if d, err := cuda.Open(i); err != nil {
			gpu.State = fmt.Sprintf("%s, cannot be used: %v", p.Name, err)
		} else {
			gpu.State = d.String()
		}
		list = append(list, gpu)
	}
	return list
}

// String is the machine in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %s, %s memory, %s, %s/%s", m.CPU, m.cores(), size(m.Memory), m.ISA, m.OS, m.Arch)
}

func (m Machine) cores() string {
	list := fmt.Sprintf("%d cores", m.Cores)
	if m.Cores == 1 {
		list = "1 core"
	}
	if m.Quota != m.Cores {
		list += fmt.Sprintf(" (limited to %d)", m.Quota)
	}
	return list
}

func size(bytes int64) string {
	if bytes == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// Write prints the machine as a table.
func (m Machine) Write(w io.Writer) error {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-19s %s\n", name, value) }
	row("processor", m.CPU)
	row("cores", m.cores())
	row("memory", size(m.Memory))
	row("system", m.OS+"/"+m.Arch+", "+m.Go)
	for _, isa := range m.ISAs {
		row("kernels "+isa.Name, isa.State)
	}
	if m.Notice != "" {
		row("warning", m.Notice)
	}
	for _, gpu := range m.GPUs {
		row(strings.TrimSpace("gpu "+gpu.Device), gpu.State)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
