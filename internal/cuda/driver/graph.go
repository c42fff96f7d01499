//go:build gpu

package driver

// #include <cuda.h>
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// graph is captured work, made ready to launch.
type graph struct {
	d    *device
	exec C.CUgraphExec
}

func (s *stream) c() C.CUstream { return C.CUstream(unsafe.Pointer(s.stream.C())) }

// Capture stays on one thread, as the driver wants of a capture.
func (s *stream) Capture(f func() error) (Graph, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.d.in("beginning a capture", func() error {
		return result(C.cuStreamBeginCapture(s.c(), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
	})
	if err != nil {
		return nil, err
	}
	failed := f()
	var captured C.CUgraph
	err = s.d.in("ending a capture", func() error { return result(C.cuStreamEndCapture(s.c(), &captured)) })
	if failed != nil || err != nil {
		return nil, errors.Join(failed, err, s.d.drop(captured))
	}
	g := &graph{d: s.d}
	err = s.d.in("making a graph ready", func() error { return result(C.cuGraphInstantiateWithFlags(&g.exec, captured, 0)) })
	dropped := s.d.drop(captured)
	if err != nil || dropped != nil {
		return nil, errors.Join(err, dropped)
	}
	s.d.own(g, func() error { return result(C.cuGraphExecDestroy(g.exec)) })
	return g, nil
}

// drop frees a captured graph, if there is one.
func (d *device) drop(captured C.CUgraph) error {
	if captured == nil {
		return nil
	}
	return d.in("freeing a captured graph", func() error { return result(C.cuGraphDestroy(captured)) })
}

func (g *graph) Launch(s Stream) error {
	in, ok := s.(*stream)
	if !ok {
		return fmt.Errorf("launching a graph: %w", errForeign)
	}
	return g.d.in("launching a graph", func() error { return result(C.cuGraphLaunch(g.exec, in.c())) })
}

func (g *graph) Close() error { return g.d.free("closing a graph", g) }
