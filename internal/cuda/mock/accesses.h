// What the threads of a kernel read and write. Kernels are compiled as for
// ThreadSanitizer, so that every access calls accesses.cc, which finds what a GPU leaves
// unnoticed: bytes outside of memory, shared memory that its block did not write, and
// bytes that two threads use, one of which writes, with no barrier between them.
#ifndef SURROGAZE_MOCK_ACCESSES_H
#define SURROGAZE_MOCK_ACCESSES_H

#include <cstdint>

namespace mock {

// A Moment is how far a thread has come. Blocks are counted from 1 on, over all launches.
struct Moment {
  uint64_t block : 32;
  uint64_t thread : 10;
  uint64_t barriers : 14;      // __syncthreads() of the block before
  uint64_t warp_barriers : 8;  // __syncwarp() of the thread's warp
};

// in_kernel says whether a kernel's thread runs, and not what makes kernels known.
bool in_kernel();

// now is the running thread's moment.
Moment now();

// in_own_stack says whether p is in the stack of the running thread.
bool in_own_stack(const void *p);

// begin_launch takes the first block of a launch: what happened before is over.
void begin_launch(uint64_t block);

}  // namespace mock

#endif
