// The part of the driver API that the project uses, as libcuda.so.1.
//
// A device that never was is steered by variables of the environment, which are read
// at every call:
//
//	MOCK_CUDA_DEVICES  number of devices, 1 if not set
//	MOCK_CUDA_DRIVER   version of the driver, 12010 if not set
//	MOCK_CUDA_MEMORY   bytes of device memory, 4 GiB if not set
//	MOCK_CUDA_PINNED   bytes that can be pinned, 1 TiB if not set
//	MOCK_CUDA_ORDER    reverse: the last block of a grid and the last thread of a block
//	                   begin, which shows where a kernel leans on the order
//	MOCK_CUDA_FAIL     FUNCTION:N:CODE, the N-th call of a function from now on fails
//
// As on a GPU, an error of a kernel shows in a later call and spoils the context. What
// is left when the context is released makes the release fail. Standard error has the
// details.
#include <cuda.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

#include "memory.h"
#include "mock.h"
#include "module.h"
#include "stream.h"

namespace {

using mock::Event;
using mock::Function;
using mock::Graph;
using mock::Heap;
using mock::Module;
using mock::Stream;

// Objects own what one kind of handle stands for.
template <class T> class Objects {
 public:
  T *make() {
    auto *made = new T();
    all_.emplace(made, made);
    return made;
  }
  // find returns null where the handle is not of a living object.
  template <class Handle> T *find(Handle h) const {
    auto found = all_.find(reinterpret_cast<T *>(h));
    return found == all_.end() ? nullptr : found->first;
  }
  template <class Handle> bool remove(Handle h) { return all_.erase(reinterpret_cast<T *>(h)) == 1; }
  size_t size() const { return all_.size(); }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  std::map<T *, std::unique_ptr<T>> all_;
};

// A GraphExec is a graph made ready.
struct GraphExec {
  Graph graph;
};

// Context is everything made on the device.
struct Context {
  int users = 0;
  CUresult lost = CUDA_SUCCESS;
  Heap device, pinned;
  Objects<Stream> streams;
  Objects<Event> events;
  Objects<Module> modules;
  Objects<Graph> graphs;
  Objects<GraphExec> execs;
} context;

std::mutex mutex;
thread_local bool current;

long long setting(const char *name, long long otherwise) {
  const char *value = getenv(name);
  return value == nullptr || *value == 0 ? otherwise : atoll(value);
}

// injected is the error that MOCK_CUDA_FAIL wants of this call.
CUresult injected(const char *function) {
  static std::string wanted;
  static int calls;
  const char *value = getenv("MOCK_CUDA_FAIL");
  std::string now = value == nullptr ? "" : value;
  if (now != wanted) {
    wanted = now;
    calls = 0;
  }
  size_t first = wanted.find(':'), second = wanted.rfind(':');
  if (first == std::string::npos || wanted.substr(0, first) != function) return CUDA_SUCCESS;
  if (++calls != atoi(wanted.c_str() + first + 1)) return CUDA_SUCCESS;
  return CUresult(atoi(wanted.c_str() + second + 1));
}

bool spoils(CUresult r) {
  switch (r) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_UNKNOWN:
      return true;
    default:
      return false;
  }
}

// lose spoils the context.
CUresult lose(CUresult why, const std::string &details) {
  fprintf(stderr, "mock of CUDA: %s\n", details.c_str());
  return context.lost = why;
}

bool capturing() {
  for (auto &[s, owner] : context.streams)
    if (s->capture != nullptr && s->capturer == std::this_thread::get_id()) return true;
  return false;
}

// A Call is a function of the driver at work. It holds the lock, and says what forbids
// the call.
class Call {
 public:
  explicit Call(const char *function) : lock_(mutex), function_(function) {}
  CUresult anywhere() const { return injected(function_); }
  CUresult in_context() const {
    if (context.lost != CUDA_SUCCESS) return context.lost;
    CUresult r = injected(function_);
    if (spoils(r)) context.lost = r;
    if (r != CUDA_SUCCESS) return r;
    return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
  }
  // in_no_capture is for what may wait for the device: it spoils a capture.
  CUresult in_no_capture() const {
    CUresult r = in_context();
    if (r != CUDA_SUCCESS || !capturing()) return r;
    for (auto &[s, owner] : context.streams) s->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }

 private:
  std::lock_guard<std::mutex> lock_;
  const char *function_;
};

#define MAY(rule)                                      \
  Call call(__func__);                                 \
  if (CUresult refused = call.rule(); refused != CUDA_SUCCESS) return refused

#define WANT(condition, otherwise) \
  if (!(condition)) return otherwise

CUresult finish(Stream &s, long n) {
  if (context.lost != CUDA_SUCCESS) return context.lost;
  std::string failure = mock::drain(s, n);
  return failure.empty() ? CUDA_SUCCESS : lose(CUDA_ERROR_LAUNCH_FAILED, failure);
}

CUresult finish_all() {
  for (auto &[s, owner] : context.streams)
    if (CUresult r = finish(*s, s->put); r != CUDA_SUCCESS) return r;
  return CUDA_SUCCESS;
}

void *pointer(CUdeviceptr p) { return reinterpret_cast<void *>(p); }

std::string outside(const char *what, const void *p, size_t bytes) {
  char text[128];
  snprintf(text, sizeof text, "%s %p: no %zu bytes of device memory", what, p, bytes);
  return text;
}

CUresult put(CUstream stream, mock::Work work) {
  Stream *s = context.streams.find(stream);
  WANT(s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  mock::put(*s, std::move(work));
  return CUDA_SUCCESS;
}

// kernel_work is the launch of a kernel with arguments that are copied now.
mock::Work kernel_work(const Function &f, dim3 grid, dim3 block, size_t shared, void **params) {
  std::vector<void *> pointers;
  for (size_t i = 0; i < f.entry->parameters.size(); i++)
    if (f.entry->parameters[i].pointer) pointers.push_back(*static_cast<void **>(params[i]));
  auto arguments = mock::copies(*f.entry, params);
  return {"kernel " + f.name, [=, kernel = f.entry]() -> std::string {
            for (void *p : pointers)
              if (p != nullptr && !context.device.holds(p, 1)) return outside("argument", p, 1);
            std::string failure = mock::run(*kernel, arguments, grid, block, shared);
            if (!failure.empty()) return failure;
            std::string damage = context.device.damaged();
            return damage.empty() ? "" : "it wrote " + damage;
          }};
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// left describes what was made and not destroyed, and is "" if nothing was.
std::string left() {
  std::string all;
  auto add = [&](size_t n, const char *what) {
    if (n > 0) all += " " + std::to_string(n) + " " + what + ",";
  };
  add(context.device.blocks(), "blocks of memory");
  add(context.pinned.blocks(), "blocks of pinned memory");
  add(context.streams.size(), "streams");
  add(context.events.size(), "events");
  add(context.modules.size(), "modules");
  add(context.graphs.size(), "graphs");
  add(context.execs.size(), "executable graphs");
  return all;
}

bool known(CUdevice d) { return d >= 0 && d < setting("MOCK_CUDA_DEVICES", 1); }

size_t memory() { return size_t(setting("MOCK_CUDA_MEMORY", 4LL << 30)); }

}  // namespace

namespace mock {

int enqueue(void *stream, std::string name, std::function<std::string()> work) {
  Call call("enqueue");
  if (CUresult refused = call.in_context(); refused != CUDA_SUCCESS) return refused;
  return ::put(static_cast<CUstream>(stream), {std::move(name), [work] {
                 std::string failure = work();
                 std::string damage = failure.empty() ? context.device.damaged() : "";
                 return damage.empty() ? failure : "it wrote " + damage;
               }});
}

bool holds(const void *p, size_t bytes) { return context.device.holds(p, bytes); }

}  // namespace mock

// Devices and contexts.

CUresult cuInit(unsigned) {
  MAY(anywhere);
  return setting("MOCK_CUDA_DEVICES", 1) > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

CUresult cuDriverGetVersion(int *version) {
  MAY(anywhere);
  *version = int(setting("MOCK_CUDA_DRIVER", 12010));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  MAY(anywhere);
  *count = int(setting("MOCK_CUDA_DEVICES", 1));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  MAY(anywhere);
  WANT(known(ordinal), CUDA_ERROR_INVALID_DEVICE);
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  MAY(anywhere);
  WANT(known(device), CUDA_ERROR_INVALID_DEVICE);
  snprintf(name, size_t(size), "Mock of a GPU");
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  MAY(anywhere);
  WANT(known(device), CUDA_ERROR_INVALID_DEVICE);
  for (size_t i = 0; i < sizeof uuid->bytes; i++) uuid->bytes[i] = char(i);
  uuid->bytes[15] = char(device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  MAY(anywhere);
  WANT(known(device), CUDA_ERROR_INVALID_DEVICE);
  *bytes = memory();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  MAY(anywhere);
  WANT(known(device), CUDA_ERROR_INVALID_DEVICE);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = 9;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = 132;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *to, CUdevice device) {
  MAY(anywhere);
  WANT(known(device), CUDA_ERROR_INVALID_DEVICE);
  context.users++;
  *to = reinterpret_cast<CUcontext>(&context);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  MAY(anywhere);
  WANT(known(device) && context.users > 0, CUDA_ERROR_INVALID_CONTEXT);
  if (--context.users > 0) return CUDA_SUCCESS;
  std::string objects = left();
  CUresult lost = context.lost;
  context = Context();
  if (lost != CUDA_SUCCESS || objects.empty()) return lost;
  fprintf(stderr, "mock of CUDA: the context is released with%s not destroyed\n", objects.c_str());
  return CUDA_ERROR_ILLEGAL_STATE;
}

CUresult cuCtxSetCurrent(CUcontext to) {
  MAY(anywhere);
  current = to != nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *to) {
  MAY(anywhere);
  *to = current ? reinterpret_cast<CUcontext>(&context) : nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
  MAY(in_no_capture);
  return finish_all();
}

// Memory.

CUresult cuMemGetInfo(size_t *free, size_t *total) {
  MAY(in_context);
  *total = memory();
  *free = *total - std::min(*total, context.device.used());
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *to, size_t bytes) {
  MAY(in_no_capture);
  WANT(bytes > 0, CUDA_ERROR_INVALID_VALUE);
  WANT(context.device.used() + bytes <= memory(), CUDA_ERROR_OUT_OF_MEMORY);
  void *p = context.device.allocate(bytes);
  WANT(p != nullptr, CUDA_ERROR_OUT_OF_MEMORY);
  *to = reinterpret_cast<CUdeviceptr>(p);
  return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr p) {
  MAY(in_no_capture);
  if (CUresult r = finish_all(); r != CUDA_SUCCESS) return r;
  return context.device.release(pointer(p)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostAlloc(void **to, size_t bytes, unsigned) {
  MAY(in_no_capture);
  WANT(bytes > 0, CUDA_ERROR_INVALID_VALUE);
  WANT(context.pinned.used() + bytes <= size_t(setting("MOCK_CUDA_PINNED", 1LL << 40)), CUDA_ERROR_OUT_OF_MEMORY);
  *to = context.pinned.allocate(bytes);
  return *to != nullptr ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *p) {
  MAY(in_no_capture);
  if (CUresult r = finish_all(); r != CUDA_SUCCESS) return r;
  return context.pinned.release(p) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  MAY(in_context);
  WANT(context.pinned.holds(from, bytes), CUDA_ERROR_INVALID_VALUE);
  return put(stream, {"copy to the device", [=]() -> std::string {
                        if (!context.device.holds(pointer(to), bytes)) return outside("to", pointer(to), bytes);
                        memcpy(pointer(to), from, bytes);
                        return "";
                      }});
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  MAY(in_context);
  WANT(context.pinned.holds(to, bytes), CUDA_ERROR_INVALID_VALUE);
  return put(stream, {"copy from the device", [=]() -> std::string {
                        if (!context.device.holds(pointer(from), bytes)) return outside("from", pointer(from), bytes);
                        memcpy(to, pointer(from), bytes);
                        return "";
                      }});
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  MAY(in_context);
  return put(stream, {"copy on the device", [=]() -> std::string {
                        if (!context.device.holds(pointer(to), bytes)) return outside("to", pointer(to), bytes);
                        if (!context.device.holds(pointer(from), bytes)) return outside("from", pointer(from), bytes);
                        memmove(pointer(to), pointer(from), bytes);
                        return "";
                      }});
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  MAY(in_context);
  return put(stream, {"fill", [=]() -> std::string {
                        if (!context.device.holds(pointer(to), bytes)) return outside("to", pointer(to), bytes);
                        memset(pointer(to), value, bytes);
                        return "";
                      }});
}

// Modules and kernels.

CUresult cuModuleLoadDataEx(CUmodule *to, const void *image, unsigned n, CUjit_option *options, void **values) {
  MAY(in_no_capture);
  char *log = nullptr;
  size_t size = 0;
  for (unsigned i = 0; i < n; i++) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) log = static_cast<char *>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size = reinterpret_cast<size_t>(values[i]);
  }
  Module *m = context.modules.make();
  std::string failure = mock::load(static_cast<const char *>(image), *m);
  *to = reinterpret_cast<CUmodule>(m);
  if (failure.empty()) return CUDA_SUCCESS;
  context.modules.remove(m);
  if (log != nullptr) snprintf(log, size, "%s", failure.c_str());
  return CUDA_ERROR_INVALID_PTX;
}

CUresult cuModuleUnload(CUmodule module) {
  MAY(in_no_capture);
  if (CUresult r = finish_all(); r != CUDA_SUCCESS) return r;
  return context.modules.remove(module) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuModuleGetFunction(CUfunction *to, CUmodule module, const char *name) {
  MAY(in_context);
  Module *m = context.modules.find(module);
  WANT(m != nullptr, CUDA_ERROR_INVALID_HANDLE);
  auto found = m->functions.find(name);
  WANT(found != m->functions.end(), CUDA_ERROR_NOT_FOUND);
  *to = reinterpret_cast<CUfunction>(&found->second);
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, CUstream stream, void **params, void **extra) {
  MAY(in_context);
  auto *f = reinterpret_cast<Function *>(function);
  WANT(f != nullptr && extra == nullptr, CUDA_ERROR_INVALID_VALUE);
  WANT(mock::runs(dim3(gx, gy, gz), dim3(bx, by, bz), shared), CUDA_ERROR_INVALID_VALUE);
  return put(stream, kernel_work(*f, dim3(gx, gy, gz), dim3(bx, by, bz), shared, params));
}

// Streams and events.

CUresult cuStreamCreate(CUstream *to, unsigned) {
  MAY(in_context);
  *to = reinterpret_cast<CUstream>(context.streams.make());
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream) {
  MAY(in_no_capture);
  Stream *s = context.streams.find(stream);
  WANT(s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  CUresult r = finish(*s, s->put);
  for (auto &[e, owner] : context.events)
    if (e->stream == s) e->stream = nullptr;
  context.streams.remove(stream);
  return r;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *to) {
  MAY(anywhere);
  WANT(context.streams.find(stream) != nullptr, CUDA_ERROR_INVALID_HANDLE);
  *to = reinterpret_cast<CUcontext>(&context);
  return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
  MAY(in_no_capture);
  Stream *s = context.streams.find(stream);
  WANT(s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  return finish(*s, s->put);
}

CUresult cuEventCreate(CUevent *to, unsigned flags) {
  MAY(in_context);
  Event *e = context.events.make();
  e->timed = (flags & CU_EVENT_DISABLE_TIMING) == 0;
  *to = reinterpret_cast<CUevent>(e);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
  MAY(in_no_capture);
  if (CUresult r = finish_all(); r != CUDA_SUCCESS) return r;
  return context.events.remove(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  MAY(in_context);
  Event *e = context.events.find(event);
  Stream *s = context.streams.find(stream);
  WANT(e != nullptr && s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  WANT(s->capture == nullptr, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  mock::put(*s, {"event", [e]() -> std::string {
                   e->time = seconds();
                   return "";
                 }});
  e->stream = s;
  e->place = s->put;
  return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  MAY(in_context);
  Event *e = context.events.find(event);
  Stream *s = context.streams.find(stream);
  WANT(e != nullptr && s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  WANT(s->capture == nullptr, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  Stream *other = e->stream;
  long place = e->place;
  mock::put(*s, {"wait", [other, place]() -> std::string {
                   return context.streams.find(other) == nullptr ? "" : mock::drain(*other, place);
                 }});
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  MAY(in_no_capture);
  Event *e = context.events.find(event);
  WANT(e != nullptr, CUDA_ERROR_INVALID_HANDLE);
  return e->stream == nullptr ? CUDA_SUCCESS : finish(*e->stream, e->place);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  MAY(in_context);
  Event *a = context.events.find(from), *b = context.events.find(to);
  WANT(a != nullptr && b != nullptr, CUDA_ERROR_INVALID_HANDLE);
  for (Event *e : {a, b}) {
    WANT(e->timed && e->place > 0, CUDA_ERROR_INVALID_HANDLE);
    WANT(e->stream == nullptr || e->stream->finished >= e->place, CUDA_ERROR_NOT_READY);
  }
  *milliseconds = float((b->time - a->time) * 1e3);
  return CUDA_SUCCESS;
}

// Graphs.

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode) {
  MAY(in_context);
  Stream *s = context.streams.find(stream);
  WANT(s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  WANT(s->capture == nullptr, CUDA_ERROR_ILLEGAL_STATE);
  s->capture = context.graphs.make();
  s->invalid = false;
  s->capturer = std::this_thread::get_id();
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *to) {
  MAY(in_context);
  Stream *s = context.streams.find(stream);
  WANT(s != nullptr, CUDA_ERROR_INVALID_HANDLE);
  WANT(s->capture != nullptr, CUDA_ERROR_ILLEGAL_STATE);
  WANT(s->capturer == std::this_thread::get_id(), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  Graph *g = s->capture;
  s->capture = nullptr;
  *to = s->invalid ? nullptr : reinterpret_cast<CUgraph>(g);
  if (!s->invalid) return CUDA_SUCCESS;
  context.graphs.remove(g);
  return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *to, CUgraph graph, unsigned long long) {
  MAY(in_context);
  Graph *g = context.graphs.find(graph);
  WANT(g != nullptr, CUDA_ERROR_INVALID_HANDLE);
  GraphExec *e = context.execs.make();
  e->graph = *g;
  *to = reinterpret_cast<CUgraphExec>(e);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  MAY(in_context);
  GraphExec *e = context.execs.find(exec);
  WANT(e != nullptr, CUDA_ERROR_INVALID_HANDLE);
  for (const mock::Work &w : e->graph.nodes)
    if (CUresult r = put(stream, w); r != CUDA_SUCCESS) return r;
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  MAY(in_context);
  return context.graphs.remove(graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  MAY(in_context);
  return context.execs.remove(exec) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
