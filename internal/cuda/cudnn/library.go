//go:build gpu

package cudnn

// #include <stdlib.h>
// #include "api.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// names are the library's, of the versions whose functions are those of api.h.
var names = []string{"libcudnn.so.9", "libcudnn.so.8"}

// companions are the libraries that cuDNN opens by their names, by the version of CUDA
// that it was built with.
var companions = map[int][]string{
	11: {"libcublasLt.so.11", "libcublas.so.11", "libnvrtc.so.11.2"},
	12: {"libcublasLt.so.12", "libcublas.so.12", "libnvrtc.so.12"},
	13: {"libcublasLt.so.13", "libcublas.so.13", "libnvrtc.so.13"},
}

// library is a loaded cuDNN. Its handle belongs to the device of the first stream.
type library struct {
	mu      sync.Mutex // the handle is for one thread at a time
	file    string
	api     *C.api // in C's memory
	context unsafe.Pointer
	handle  unsafe.Pointer
	graphs  map[Convolution]*graph
}

// Open loads the library for a driver that serves a version of CUDA, as 12020 for 12.2:
// from the first of the given folders or those that SURROGAZE_CUDA_LIBS names where it can
// be used, or else the newest that can be used of those on the library path, in the active
// Python installations and in the system's folders.
func Open(driver int, paths []string) (Library, error) {
	named, found := folders("/", paths)
	l, err := load(driver, named, found)
	if err != nil {
		return nil, err
	}
	for _, name := range companions[int(C.api_runtime(l.api))/1000] {
		preload(name, slices.Concat(named, found))
	}
	return l, nil
}

// load opens the first library that works with the driver.
func load(driver int, named, found []string) (*library, error) {
	var refused []string
	for _, file := range files(named, found) {
		l, err := loadFile(driver, file)
		if err == nil {
			return l, nil
		}
		refused = append(refused, err.Error())
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("found no cuDNN that can be used: %s", strings.Join(refused, "; "))
	}
	places := []string{"on the library path"}
	for _, dir := range slices.Concat(named, found) {
		if dir != "" {
			places = append(places, dir)
		}
	}
	return nil, fmt.Errorf("found no cuDNN (%s) in these places: %s; want it there or in a folder that %s names (pip install nvidia-cudnn-cu12 brings it)",
		strings.Join(names, " or "), strings.Join(places, ", "), Folders)
}

// loadFile opens a file unless it was built for a CUDA of a later major version than the
// driver's: such a library cannot start.
func loadFile(driver int, file string) (*library, error) {
	if built := runtimeOf(file); built/1000 > driver/1000 {
		return nil, fmt.Errorf("%s was built for CUDA %d, and the driver serves CUDA %d.%d", file, built/1000, driver/1000, driver%1000/10)
	}
	api := (*C.api)(C.calloc(1, C.sizeof_api))
	err := withText(file, func(text *C.char) *C.char { return C.load_api(api, text) })
	if err != nil {
		C.free(unsafe.Pointer(api))
		return nil, err
	}
	return &library{file: file, api: api, graphs: map[Convolution]*graph{}}, nil
}

// runtimes are the answers of the files that were asked.
var runtimes sync.Map

// runtimeOf is the version of CUDA that a file was built with, 0 where it does not answer:
// what is wrong with it shows when it is opened. It is asked in a namespace of its own, as
// to answer it opens others by their names, which would stay for the one that is chosen; and
// only once, as a process has sixteen namespaces.
func runtimeOf(file string) int {
	if known, ok := runtimes.Load(file); ok {
		return known.(int)
	}
	var version C.size_t
	err := withText(file, func(text *C.char) *C.char { return C.ask_runtime(text, &version) })
	if err != nil {
		return 0
	}
	runtimes.Store(file, int(version))
	return int(version)
}

// files lists the files that may be the library in the order in which they are tried.
func files(named, found []string) []string {
	others := in(found)
	newest(others)
	return slices.Concat(in(named), others)
}

// in lists the files that may be the library in some folders.
func in(dirs []string) []string {
	var list []string
	for _, dir := range dirs {
		for _, name := range names {
			if file := locate(dir, name); file != "" && !slices.Contains(list, file) {
				list = append(list, file)
			}
		}
	}
	return list
}

// locate is the file of a name in a folder, or where the loader finds it if that is "". It
// is "" where there is none.
func locate(dir, name string) string {
	if dir != "" {
		file := filepath.Join(dir, name)
		_, err := os.Stat(file)
		if err != nil {
			return ""
		}
		return file
	}
	var path *C.char
	err := withText(name, func(text *C.char) *C.char { return C.locate(text, &path) })
	defer C.free(unsafe.Pointer(path))
	switch {
	case err == nil:
		return C.GoString(path)
	case strings.HasPrefix(err.Error(), name+": cannot open"):
		return ""
	}
	return name // to open it fails likewise, and is reported
}

// preload opens a library that cuDNN opens by its name, from the first folder where it can
// be opened. Engines that need one that is missing are left out by cuDNN.
func preload(name string, dirs []string) {
	for _, dir := range dirs {
		err := withText(filepath.Join(dir, name), func(text *C.char) *C.char { return C.preload(text) })
		if err == nil {
			return
		}
	}
}

// withText calls a function of C's with a string; it returns NULL or what is wrong.
func withText(s string, f func(text *C.char) *C.char) error {
	text := C.CString(s)
	defer C.free(unsafe.Pointer(text))
	return takeError(f(text))
}

// takeError turns a string of C's, NULL for none, into an error and frees it.
func takeError(text *C.char) error {
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return errors.New(C.GoString(text))
}

func (l *library) File() string { return l.file }

func (l *library) Version() int { return int(C.api_version(l.api)) }

func (l *library) SetStream(handle uintptr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.handle == nil {
		err = l.start(handle)
	}
	if err == nil {
		err = l.inContext(func() error {
			return statusError(l.api, C.api_set_stream(l.api, l.handle, C.uintptr_t(handle)), "set the stream")
		})
	}
	if err != nil {
		return fmt.Errorf("cuDNN (%s): %w", l.file, err)
	}
	return nil
}

// start makes the handle on a stream's device.
func (l *library) start(stream uintptr) error {
	err := takeError(C.load_driver(l.api))
	if err != nil {
		return err
	}
	if status := C.api_stream_context(l.api, C.uintptr_t(stream), &l.context); status != 0 {
		return fmt.Errorf("context of the stream: error %d of the driver", status)
	}
	return l.inContext(func() error {
		return statusError(l.api, C.api_create(l.api, &l.handle), "start on the device")
	})
}

// do calls f alone, once there is a handle, with its context current.
func (l *library) do(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle == nil {
		return errors.New("cuDNN has no stream yet, or was closed")
	}
	return l.inContext(f)
}

// inContext calls f with the device's context current on its thread.
func (l *library) inContext(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if status := C.api_use_context(l.api, l.context); status != 0 {
		return fmt.Errorf("make the context current: error %d of the driver", status)
	}
	return f()
}

// graph finds the graph of a convolution, which it makes only once.
func (l *library) graph(c Convolution) (*graph, error) {
	if g := l.graphs[c]; g != nil {
		return g, nil
	}
	if err := c.Geometry.Validate(); err != nil {
		return nil, err
	}
	g, err := newGraph(builder{api: l.api}, l.handle, c)
	if err != nil {
		return nil, err
	}
	l.graphs[c] = g
	return g, nil
}

// fewCompiled is the most plans that are made if they are compiled for it, which takes
// about a second each.
const fewCompiled = 3

func (l *library) Plans(c Convolution, n int) ([]Plan, error) {
	var plans []Plan
	err := l.do(func() error {
		g, err := l.graph(c)
		if err != nil {
			return err
		}
		enough := map[tier]int{wanted: n, compiled: min(n, fewCompiled), unwanted: min(n, 1)}
		var failure error
		for _, config := range g.configs {
			if len(plans) >= enough[config.tier] {
				break
			}
			p, err := l.plan(config)
			if err != nil {
				failure = fmt.Errorf("%s: %w", config.name, err)
				continue
			}
			plans = append(plans, p)
		}
		if len(plans) == 0 {
			return unsupported(failure)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("convolution (%v): %w", c, err)
	}
	return plans, nil
}

func (l *library) Plan(c Convolution, name string) (Plan, error) {
	var p Plan
	err := l.do(func() error {
		g, err := l.graph(c)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(g.configs, func(k config) bool { return k.name == name })
		if i < 0 {
			return ErrUnsupported
		}
		p, err = l.plan(g.configs[i])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("plan %q of convolution (%v): %w", name, c, err)
	}
	return p, nil
}

func (l *library) Close() error {
	return l.do(func() error {
		for _, g := range l.graphs {
			g.close()
		}
		clear(l.graphs)
		handle := l.handle
		l.handle = nil
		return statusError(l.api, C.api_destroy(l.api, handle), "destroy cuDNN's handle")
	})
}
