// The threads of a block, as fibers.
#include "device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>

#include "accesses.h"
#include "entry.h"

#ifndef __x86_64__
#error "the mock of CUDA switches fibers on x86-64 alone"
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

extern "C" void mock_switch(void **save, void *load);

asm(R"(
.text
.globl mock_switch
.hidden mock_switch
.type mock_switch, @function
mock_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size mock_switch, .-mock_switch
)");

namespace mock {

unsigned char *shared;
size_t shared_bytes;

namespace {

constexpr size_t stack_size = 256 << 10, page = 4096;
constexpr unsigned max_threads = 1024, warp = 32;
constexpr size_t shared_limit = 48 << 10;

// A Fiber is a stack. It runs threads one after another, until one has to wait; then
// another fiber takes the next.
struct Fiber {
  char *stack;
  void *sp;
  unsigned thread;
};

// An Exchange is a meeting of the threads in a mask of one warp, and a barrier for what
// they do to memory if it is of __syncwarp(). Values of two generations are kept: a thread
// may bring its next before others have read the last.
struct Exchange {
  unsigned mask, arrived, generation;
  bool barrier;
  uint64_t values[2][warp];
  std::vector<Fiber *> waiting;
};

struct Warp {
  unsigned alive, barriers;
  std::deque<Exchange> exchanges;
};

struct Block {
  const Entry *kernel;
  const uint64_t *arguments;
  uint64_t number;                    // of all blocks of all launches, from 1 on
  unsigned barriers;                  // passed
  unsigned size, started, alive;      // threads: all, those started, those not done
  bool backwards;                     // the last thread starts first
  std::vector<Fiber *> at_barrier;    // of __syncthreads
  std::vector<Warp> warps{max_threads / warp};
  std::deque<Fiber *> ready;
  std::vector<Fiber *> idle;          // fibers without a thread
  Fiber *fiber;                       // that runs, or null
  void *caller;                       // stack pointer of run_block
  std::string failure;
} block;

// work is the body of a fiber.
void work();

Fiber *new_fiber() {
  char *stack = static_cast<char *>(mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stack == MAP_FAILED || mprotect(stack, page, PROT_NONE) != 0) {
    perror("mock: stack of a fiber");
    abort();
  }
  return new Fiber{stack, nullptr, 0};
}

// start takes an idle fiber and lays its stack out as mock_switch leaves one.
Fiber *start() {
  if (block.idle.empty()) block.idle.push_back(new_fiber());
  Fiber *f = block.idle.back();
  block.idle.pop_back();
  void **top = reinterpret_cast<void **>(f->stack + stack_size);
  std::fill(top - 8, top, nullptr);
  top[-2] = reinterpret_cast<void *>(work);
  f->sp = top - 8;
  return f;
}

void enter(unsigned thread) {
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
               thread / (blockDim.x * blockDim.y)};
}

// leave gives the processor to a fiber that can go on, to a new one while threads are
// left to start, or back to run_block.
void leave() {
  Fiber *me = block.fiber;
  if (!block.ready.empty()) {
    block.fiber = block.ready.front();
    block.ready.pop_front();
  } else if (block.started < block.size) {
    block.fiber = start();
  } else {
    if (block.alive > 0 && block.failure.empty())
      block.failure = "threads of a block wait for each other in vain: " +
                      std::to_string(block.at_barrier.size()) + " at __syncthreads(), " +
                      std::to_string(block.alive - block.at_barrier.size()) + " elsewhere";
    mock_switch(&me->sp, block.caller);
    abort();
  }
  mock_switch(&me->sp, block.fiber->sp);
  block.fiber = me;
  enter(me->thread);
}

void release(std::vector<Fiber *> &waiting) {
  block.ready.insert(block.ready.end(), waiting.begin(), waiting.end());
  waiting.clear();
}

bool complete(const Exchange &e, const Warp &w) { return (e.mask & w.alive & ~e.arrived) == 0; }

void release(Exchange &e, Warp &w) {
  if (e.barrier) w.barriers++;
  e.arrived = 0;
  e.generation++;
  release(e.waiting);
}

// pass lets all threads go on that wait in __syncthreads().
void pass() {
  block.barriers++;
  release(block.at_barrier);
}

// done lets those go on who only waited for the thread that has ended.
void done(unsigned thread) {
  Warp &w = block.warps[thread / warp];
  w.alive &= ~(1u << thread % warp);
  block.alive--;
  if (block.at_barrier.size() == block.alive) pass();
  for (Exchange &e : w.exchanges)
    if (e.arrived != 0 && complete(e, w)) release(e, w);
}

void work() {
  Fiber *me = block.fiber;
  while (block.started < block.size) {
    unsigned n = block.started++;
    me->thread = block.backwards ? block.size - 1 - n : n;
    enter(me->thread);
    block.kernel->call(block.kernel->kernel, block.arguments);
    done(me->thread);
  }
  block.idle.push_back(me);
  leave();
}

void run_block() {
  block.number++;
  block.barriers = 0;
  block.size = blockDim.x * blockDim.y * blockDim.z;
  block.started = 0;
  block.alive = block.size;
  for (unsigned i = 0; i * warp < block.size; i++) {
    unsigned lanes = std::min(warp, block.size - i * warp);
    block.warps[i].alive = ~0u >> (warp - lanes);
    block.warps[i].barriers = 0;
  }
  block.fiber = start();
  mock_switch(&block.caller, block.fiber->sp);
  block.fiber = nullptr;
}

// abandon forgets the fibers of a block that failed: some still wait.
void abandon() {
  block.ready.clear();
  block.at_barrier.clear();
  block.idle.clear();
  for (Warp &w : block.warps) w.exchanges.clear();
}

Exchange &meeting(Warp &w, unsigned mask) {
  for (Exchange &e : w.exchanges)
    if (e.mask == mask) return e;
  w.exchanges.push_back(Exchange{mask, 0, 0, false, {}, {}});
  return w.exchanges.back();
}

std::map<std::string, Entry> &entries() {
  static std::map<std::string, Entry> all;
  return all;
}

}  // namespace

unsigned lane() { return block.fiber->thread % warp; }

namespace {

// meet waits until every living thread of the mask has brought a value, and returns all
// by lane.
const uint64_t *meet(unsigned mask, uint64_t value, bool barrier = false) {
  Warp &w = block.warps[block.fiber->thread / warp];
  Exchange &e = meeting(w, mask);
  if (!(mask >> lane() & 1)) fail("a thread is no part of the mask that it synchronises with");
  uint64_t *values = e.values[e.generation % 2];
  if (e.arrived == 0) std::fill(values, values + warp, ~uint64_t(0));
  values[lane()] = value;
  e.barrier = barrier;
  e.arrived |= 1u << lane();
  if (complete(e, w)) {
    release(e, w);
  } else {
    e.waiting.push_back(block.fiber);
    leave();
  }
  return values;
}

}  // namespace

uint64_t exchange(unsigned mask, uint64_t value, unsigned lane) { return meet(mask, value)[lane]; }

unsigned ballot(unsigned mask, bool predicate) {
  const uint64_t *all = meet(mask, predicate);
  unsigned lanes = 0;
  for (unsigned i = 0; i < warp; i++) lanes |= unsigned(all[i] == 1) << i;
  return lanes;
}

bool in_kernel() { return block.fiber != nullptr; }

Moment now() {
  unsigned thread = block.fiber->thread;
  return Moment{block.number, thread, block.barriers, block.warps[thread / warp].barriers};
}

bool in_own_stack(const void *p) {
  const char *stack = block.fiber->stack;
  return stack <= p && p < stack + stack_size;
}

void fail(const char *why) {
  if (block.failure.empty()) block.failure = why;
  void *forgotten;
  mock_switch(&forgotten, block.caller);
  abort();
}

bool add(const std::string &name, Entry entry) { return entries().emplace(name, std::move(entry)).second; }

const Entry *find(const std::string &name) {
  auto found = entries().find(name);
  return found == entries().end() ? nullptr : &found->second;
}

bool runs(dim3 grid, dim3 b, size_t bytes) {
  auto within = [](unsigned n, unsigned most) { return 1 <= n && n <= most; };
  return within(grid.x, 0x7fffffff) && within(grid.y, 65535) && within(grid.z, 65535) &&
         within(b.x, max_threads) && within(b.y, max_threads) && within(b.z, 64) &&
         within(b.x * b.y * b.z, max_threads) && bytes <= shared_limit;
}

std::vector<uint64_t> copies(const Entry &kernel, void **params) {
  std::vector<uint64_t> all(kernel.parameters.size());
  for (size_t i = 0; i < all.size(); i++) memcpy(&all[i], params[i], kernel.parameters[i].size);
  return all;
}

std::string run(const Entry &kernel, const std::vector<uint64_t> &arguments, dim3 grid, dim3 b, size_t bytes) {
  static auto *const memory = static_cast<unsigned char *>(aligned_alloc(256, shared_limit));
  shared = memory;
  shared_bytes = bytes;
  block.kernel = &kernel;
  block.arguments = arguments.data();
  begin_launch(block.number + 1);
  gridDim = grid;
  blockDim = b;
  block.failure.clear();
  const char *order = getenv("MOCK_CUDA_ORDER");
  block.backwards = order != nullptr && strcmp(order, "reverse") == 0;
  uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  for (uint64_t i = 0; i < blocks; i++) {
    uint64_t n = block.backwards ? blocks - 1 - i : i;
    blockIdx = {unsigned(n % grid.x), unsigned(n / grid.x % grid.y), unsigned(n / grid.x / grid.y)};
    run_block();
    if (!block.failure.empty()) {
      abandon();
      return block.failure;
    }
  }
  return "";
}

}  // namespace mock

void __syncthreads() {
  using mock::block;
  block.at_barrier.push_back(block.fiber);
  if (block.at_barrier.size() < block.alive) {
    mock::leave();
    return;
  }
  block.at_barrier.pop_back();
  mock::pass();
}

void __syncwarp(unsigned mask) { mock::meet(mask, 0, true); }
