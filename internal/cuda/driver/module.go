//go:build gpu

package driver

import (
	"bytes"
	"fmt"
	"runtime"

	"gorgonia.org/cu"
)

type module struct {
	d      *device
	module cu.Module
}

// maxLog is how much of the compiler's complaints about PTX is kept.
const maxLog = 8 << 10

func (d *device) Load(ptx string) (Module, error) {
	m := &module{d: d}
	log := make([]byte, maxLog)
	err := d.in("compiling kernels", func() (err error) {
		m.module, err = cu.LoadDataEx(ptx, &cu.JITErrorLogBuffer{Buffer: log})
		runtime.KeepAlive(log) // package cu passes its address as a number
		return err
	})
	if err != nil {
		if said := bytes.TrimSpace(bytes.TrimRight(log, "\x00")); len(said) > 0 {
			return nil, fmt.Errorf("%w: %s", err, said)
		}
		return nil, err
	}
	d.own(m, func() error { return m.module.Unload() })
	return m, nil
}

func (m *module) Function(name string) (Function, error) {
	var f cu.Function
	err := m.d.in(fmt.Sprintf("kernel %q", name), func() (err error) {
		f, err = m.module.Function(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}
