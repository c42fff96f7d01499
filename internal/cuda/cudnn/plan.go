//go:build gpu

package cudnn

// #include "api.h"
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// plan is a configuration, ready to run.
type plan struct {
	builder
	library    *library
	name       string
	descriptor descriptor
	workspace  int64
}

// plan makes a configuration ready.
func (l *library) plan(c config) (Plan, error) {
	p := &plan{builder: builder{api: l.api}, library: l, name: c.name}
	b := &p.builder
	p.descriptor = b.create(planKind)
	set(b, p.descriptor, planHandle, l.handle)
	set(b, p.descriptor, planConfig, c.descriptor)
	b.finalize(p.descriptor, "plan")
	workspace := make([]int64, 1)
	get(b, p.descriptor, planWorkspace, int64Type, workspace)
	p.workspace = workspace[0]
	if b.err != nil {
		b.close()
		return nil, b.err
	}
	return p, nil
}

func (p *plan) Name() string     { return p.name }
func (p *plan) Workspace() int64 { return p.workspace }

func (p *plan) Run(x, w, y, workspace driver.Pointer) error {
	err := p.library.do(func() error {
		b := builder{api: p.api}
		defer b.close()
		pack := b.create(packKind)
		set(&b, pack, packIDs, idX, idW, idY)
		set(&b, pack, packPointers, uint64(x), uint64(w), uint64(y))
		set(&b, pack, packWorkspace, uint64(workspace))
		b.finalize(pack, "variant pack")
		if b.err != nil {
			return b.err
		}
		return statusError(p.api, C.api_execute(p.api, p.library.handle, unsafe.Pointer(p.descriptor), unsafe.Pointer(pack)), "execute")
	})
	if err != nil {
		return fmt.Errorf("convolution by %s: %w", p.name, err)
	}
	return nil
}

func (p *plan) Close() error {
	p.library.mu.Lock()
	defer p.library.mu.Unlock()
	return p.library.inContext(func() error {
		p.close()
		return nil
	})
}
