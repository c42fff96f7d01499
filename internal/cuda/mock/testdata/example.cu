// Kernels that use what kernels may use: shared memory of both kinds, barriers,
// shuffles, vectors, atomics. The PTX is made by
//
//     internal/cuda/kernels/compile ../mock/testdata/example.cu
#include "common.cuh"

// example_add4 computes c = a + s b of n elements, four a thread.
extern "C" __global__ void example_add4(const float4 *a, const float4 *b, float4 *c, float s, long long n) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i >= n) return;
  float4 x = a[i], y = b[i];
  c[i] = make_float4(x.x + s * y.x, x.y + s * y.y, x.z + s * y.z, x.w + s * y.w);
}

// example_sum adds n numbers, and counts the blocks that took part.
extern "C" __global__ void example_sum(const float *x, float *total, unsigned *blocks, int n) {
  __shared__ float warps[32];
  float s = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
  for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  s = threadIdx.x < blockDim.x / 32 ? warps[threadIdx.x] : 0;
  for (int o = 16; o; o >>= 1) s += __shfl_down_sync(~0u, s, o);
  if (threadIdx.x != 0) return;
  atomicAdd(total, s);
  atomicAdd(blocks, 1u);
}

// example_reverse turns the elements of every block around.
extern "C" __global__ void example_reverse(int *x) {
  DYNAMIC_SHARED(int, copy);
  int *mine = x + blockIdx.x * blockDim.x;
  copy[threadIdx.x] = mine[threadIdx.x];
  __syncthreads();
  mine[threadIdx.x] = copy[blockDim.x - 1 - threadIdx.x];
}

// example_part waits for threads that never come.
extern "C" __global__ void example_part(int *x) {
  if (threadIdx.x % 2) __syncthreads();
  if (threadIdx.x % 2 == 0) x[0] = __shfl_sync(~0u, x[0], 0);
}

// example_overrun writes one element behind n.
extern "C" __global__ void example_overrun(float *x, int n) { x[n] = 0; }

// example_types keeps a number of each type that arguments have.
extern "C" __global__ void example_types(double *x, int a, unsigned b, long long c, unsigned long long d, float e) {
  x[0] = a, x[1] = b, x[2] = c, x[3] = d, x[4] = e;
}

// example_last leaves the thread that was last.
extern "C" __global__ void example_last(int *x) { atomicExch(x, (int)thread_index()); }

// What kernels must not do, in n elements of x.

// example_race writes one element by all threads.
extern "C" __global__ void example_race(int *x, int n) { x[0] = n; }

// example_shift reads what other threads, or only those of other blocks, write.
extern "C" __global__ void example_shift(int *x, int n) { x[thread_index()] = x[(thread_index() + 1) % n]; }
extern "C" __global__ void example_shift_blocks(int *x, int n) {
  int next = x[(thread_index() + blockDim.x) % n];
  __syncthreads();
  x[thread_index()] = next;
}

// example_hurry reads shared memory before all have written it.
extern "C" __global__ void example_hurry(int *x, int n) {
  DYNAMIC_SHARED(int, copy);
  copy[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = copy[n - 1 - threadIdx.x];
}

// example_turn does so, too, but for threads of the same warp.
extern "C" __global__ void example_turn(int *x, int n) {
  DYNAMIC_SHARED(int, copy);
  copy[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  x[threadIdx.x] = copy[n - 1 - threadIdx.x];
}

// example_reuse writes shared memory before all have read it.
extern "C" __global__ void example_reuse(int *x, int n) {
  __shared__ int first;
  for (int i = 0; i < n; i++) {
    if (threadIdx.x == i) first = x[i];
    __syncthreads();
    if (threadIdx.x != i) x[threadIdx.x] += first;
  }
}

// example_unwritten reads shared memory that nobody wrote.
extern "C" __global__ void example_unwritten(int *x, int n) {
  DYNAMIC_SHARED(int, copy);
  if (threadIdx.x < n / 2) copy[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = copy[threadIdx.x];
}

// example_overread reads one element behind the last, and example_overshare one behind
// the shared memory.
extern "C" __global__ void example_overread(int *x, int n) {
  if (threadIdx.x == 0) x[0] = x[n];
}
extern "C" __global__ void example_overshare(int *x, int n) {
  DYNAMIC_SHARED(int, copy);
  copy[threadIdx.x + 1] = x[threadIdx.x];
}

// example_unaligned reads two elements together from the second on.
extern "C" __global__ void example_unaligned(int *x, int n) { x[0] = reinterpret_cast<const int2 *>(x + 1)->x; }

// example_short has an array that is too short.
extern "C" __global__ void example_short(int *x, int n) {
  __shared__ int few[4];
  if (threadIdx.x < 4) few[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = few[threadIdx.x];
}
