#include "accesses.h"

#include <dlfcn.h>

#include <array>
#include <memory>
#include <unordered_map>

#include "device.h"
#include "mock.h"

#define HIDDEN __attribute__((visibility("hidden")))

// The linker's names for the ends of the library's static variables, of which a kernel
// can name the built-in ones and its __shared__ ones.
extern "C" HIDDEN char __bss_start[], _end[];

namespace mock {

namespace {

// Others are other threads that use a byte: none, some since the same barrier, or some of
// other blocks.
enum class Others : uint8_t { none, concurrent, elsewhere };

// A Byte is who used a byte of memory last.
struct Byte {
  Moment writer, reader;
  Others others;
};

constexpr size_t page_size = 4096, pages_kept = 1024;
using Page = std::array<Byte, page_size>;

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
uint64_t first_block;

Byte &at(uintptr_t p) {
  auto &page = pages[p / page_size];
  if (page == nullptr) page = std::make_unique<Page>();
  return (*page)[p % page_size];
}

bool in_this_launch(const Moment &m) { return m.block >= first_block; }

// concurrent says whether nothing orders an earlier moment of the launch and this one.
bool concurrent(const Moment &earlier, const Moment &m) {
  if (earlier.block != m.block) return true;
  if (earlier.thread == m.thread || earlier.barriers != m.barriers) return false;
  return earlier.thread / warpSize != m.thread / warpSize || earlier.warp_barriers == m.warp_barriers;
}

// besides are the threads that read a byte, besides the one that is at this moment.
Others besides(const Byte &b, const Moment &m) {
  if (!in_this_launch(b.reader)) return Others::none;
  if (b.others == Others::elsewhere || b.reader.block != m.block) return Others::elsewhere;
  bool still = b.others == Others::concurrent && b.reader.barriers == m.barriers;
  return concurrent(b.reader, m) || still ? Others::concurrent : Others::none;
}

bool written_meanwhile(const Byte &b, const Moment &m) {
  return in_this_launch(b.writer) && concurrent(b.writer, m);
}

enum class Memory { none, own, shared, device };

Memory memory_of(const void *p, size_t bytes) {
  auto within = [&](const void *from, const void *to) { return from <= p && p < to; };
  auto is = [&](auto &variable) { return within(&variable, &variable + 1); };
  if (in_own_stack(p) || is(threadIdx) || is(blockIdx) || is(blockDim) || is(gridDim) || is(shared)) return Memory::own;
  if (within(shared, shared + shared_bytes) || within(__bss_start, _end)) return Memory::shared;
  return holds(p, bytes) ? Memory::device : Memory::none;
}

// An Access is one by the running thread, from a place in the code.
struct Access {
  const char *verb;
  const void *p;
  size_t bytes;
  const void *code;
  Memory memory = memory_of(p, bytes);
  Moment moment = now();

  // refuse ends the launch.
  [[noreturn]] void refuse(const char *why) const {
    static char text[600];
    Dl_info library{};
    dladdr(code, &library);
    snprintf(text, sizeof text,
             "thread (%u, %u, %u) of block (%u, %u, %u) %s %zu bytes at %p %s; where: addr2line -Cfie %s %#zx", threadIdx.x,
             threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z, verb, bytes, p, why, library.dli_fname,
             size_t(static_cast<const char *>(code) - static_cast<const char *>(library.dli_fbase) - 1));
    fail(text);
  }

  // each calls f with every byte that other threads may use, too.
  template <class F> void each(F f) const {
    if (memory == Memory::own) return;
    if (memory == Memory::none) refuse("that no block of memory has");
    for (size_t i = 0; i < bytes; i++) f(at(reinterpret_cast<uintptr_t>(p) + i));
  }
};

void read(const void *p, size_t bytes, const void *code) {
  if (!in_kernel()) return;
  Access access{"reads", p, bytes, code};
  access.each([&](Byte &b) {
    if (access.memory == Memory::shared && b.writer.block != access.moment.block) access.refuse("that its block did not write");
    if (written_meanwhile(b, access.moment)) access.refuse("that another thread writes meanwhile");
    b.others = besides(b, access.moment);
    b.reader = access.moment;
  });
}

void write(const void *p, size_t bytes, const void *code) {
  if (!in_kernel()) return;
  Access access{"writes", p, bytes, code};
  access.each([&](Byte &b) {
    if (access.memory == Memory::shared && b.writer.block != access.moment.block) b = Byte{};
    if (written_meanwhile(b, access.moment)) access.refuse("that another thread writes meanwhile");
    if (besides(b, access.moment) != Others::none) access.refuse("that another thread reads meanwhile");
    b.writer = access.moment;
  });
}

}  // namespace

void begin_launch(uint64_t block) {
  first_block = block;
  if (pages.size() > pages_kept) pages.clear();
}

}  // namespace mock

// What compiled kernels call.

extern "C" {

HIDDEN void __tsan_init() {}

#define ACCESSES(n)                                                                                       \
  HIDDEN void __tsan_read##n(void *p) { mock::read(p, n, __builtin_return_address(0)); }                  \
  HIDDEN void __tsan_write##n(void *p) { mock::write(p, n, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
#undef ACCESSES

HIDDEN void __tsan_read_range(void *p, size_t n) { mock::read(p, n, __builtin_return_address(0)); }
HIDDEN void __tsan_write_range(void *p, size_t n) { mock::write(p, n, __builtin_return_address(0)); }

// Of UBSan's data the place in the source is all that is used.
struct Source {
  const char *file;
  uint32_t line, column;
};

[[noreturn]] static void refuse(const Source *source, const char *what) {
  static char text[600];
  snprintf(text, sizeof text, "%s:%u: thread (%u, %u, %u) of block (%u, %u, %u) %s", source->file, source->line,
           threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z, what);
  mock::fail(text);
}

HIDDEN void __ubsan_handle_type_mismatch_v1_abort(Source *source, uintptr_t) { refuse(source, "uses an address that is not aligned"); }
HIDDEN void __ubsan_handle_out_of_bounds_abort(Source *source, uintptr_t) { refuse(source, "uses an element that an array does not have"); }

}
