// CUDA C for a C++ compiler: what NVRTC knows by itself, so that kernels run on the CPU.
//
// The threads of a block are fibers (device.cc): each runs until it waits for others.
// Blocks run one after another, so that __shared__ is static. Where threads wait for
// each other in vain, as in a __syncthreads() that some never reach, the launch fails; so
// it does where they use memory as they must not (accesses.h).
#ifndef SURROGAZE_MOCK_DEVICE_H
#define SURROGAZE_MOCK_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// DYNAMIC_SHARED declares the block's dynamic shared memory. It begins as NaN.
#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(mock::shared)

#define VECTOR2(name, type, align) \
  struct __align__(align) name##2 { type x, y; }; \
  static inline name##2 make_##name##2(type x, type y) { return {x, y}; }
#define VECTOR3(name, type) \
  struct name##3 { type x, y, z; }; \
  static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }
#define VECTOR4(name, type, align) \
  struct __align__(align) name##4 { type x, y, z, w; }; \
  static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

VECTOR2(char, signed char, 2)
VECTOR4(char, signed char, 4)
VECTOR2(uchar, unsigned char, 2)
VECTOR4(uchar, unsigned char, 4)
VECTOR2(short, short, 4)
VECTOR4(short, short, 8)
VECTOR2(ushort, unsigned short, 4)
VECTOR4(ushort, unsigned short, 8)
VECTOR2(int, int, 8)
VECTOR3(int, int)
VECTOR4(int, int, 16)
VECTOR2(uint, unsigned, 8)
VECTOR3(uint, unsigned)
VECTOR4(uint, unsigned, 16)
VECTOR2(longlong, long long, 16)
VECTOR2(ulonglong, unsigned long long, 16)
VECTOR2(float, float, 8)
VECTOR3(float, float)
VECTOR4(float, float, 16)
VECTOR2(double, double, 16)

#undef VECTOR2
#undef VECTOR3
#undef VECTOR4

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace mock {

// shared is the dynamic shared memory of the block that runs.
extern unsigned char *shared;
extern size_t shared_bytes;

// lane is the running thread's place in its warp.
unsigned lane();

// exchange waits until every living thread of the mask has brought a value, and returns
// that of a lane; ~0 if it brought none.
uint64_t exchange(unsigned mask, uint64_t value, unsigned lane);

// ballot are the lanes of the mask that bring true.
unsigned ballot(unsigned mask, bool predicate);

// fail ends the launch with an error.
[[noreturn]] void fail(const char *why);

template <class T> uint64_t bits(T v) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t b = 0;
  memcpy(&b, &v, sizeof v);
  return b;
}

template <class T> T value(uint64_t b) {
  T v;
  memcpy(&v, &b, sizeof v);
  return v;
}

template <class To, class From> To bit_cast(From v) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &v, sizeof to);
  return to;
}

}  // namespace mock

// Threads together.

void __syncthreads();
void __syncwarp(unsigned mask = ~0u);
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { mock::fail("__trap()"); }

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
  unsigned first = mock::lane() & ~(width - 1);
  return mock::value<T>(mock::exchange(mask, mock::bits(v), first + (source & (width - 1))));
}

template <class T> T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32) {
  unsigned lane = mock::lane(), source = lane ^ with;
  if (source >= (lane & ~(width - 1)) + width) source = lane;
  return mock::value<T>(mock::exchange(mask, mock::bits(v), source));
}

template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
  unsigned lane = mock::lane(), source = lane + delta;
  if (source >= (lane & ~(width - 1)) + width) source = lane;
  return mock::value<T>(mock::exchange(mask, mock::bits(v), source));
}

template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
  unsigned lane = mock::lane(), source = (lane & (width - 1)) < delta ? lane : lane - delta;
  return mock::value<T>(mock::exchange(mask, mock::bits(v), source));
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return mock::ballot(mask, predicate); }
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// Atomic operations: threads take turns only where they wait, so that plain ones do. They
// race with none, and are not looked at.
#define ATOMIC __attribute__((no_sanitize("thread")))

template <class T> ATOMIC T atomicExch(T *p, T v) { T old = *p; *p = v; return old; }
template <class T> ATOMIC T atomicCAS(T *p, T compare, T v) { T old = *p; if (old == compare) *p = v; return old; }

#define ATOMICS(T) \
  ATOMIC inline T atomicAdd(T *p, T v) { return atomicExch(p, *p + v); }
#define ATOMICS_INT(T) \
  ATOMICS(T) \
  ATOMIC inline T atomicSub(T *p, T v) { return atomicExch(p, *p - v); } \
  ATOMIC inline T atomicMax(T *p, T v) { return atomicExch(p, *p > v ? *p : v); } \
  ATOMIC inline T atomicMin(T *p, T v) { return atomicExch(p, *p < v ? *p : v); } \
  ATOMIC inline T atomicAnd(T *p, T v) { return atomicExch(p, *p & v); } \
  ATOMIC inline T atomicOr(T *p, T v) { return atomicExch(p, *p | v); }
ATOMICS(float)
ATOMICS(double)
ATOMICS_INT(int)
ATOMICS_INT(unsigned)
ATOMICS_INT(unsigned long long)
#undef ATOMICS
#undef ATOMICS_INT

ATOMIC inline unsigned atomicInc(unsigned *p, unsigned limit) { return atomicExch(p, *p >= limit ? 0 : *p + 1); }
#undef ATOMIC

// Loads and stores with a hint to the cache.

template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcs(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }
template <class T> void __stcs(T *p, T v) { *p = v; }
template <class T> void __stcg(T *p, T v) { *p = v; }

// Arithmetic.

#define MIN_MAX(T) \
  inline T min(T a, T b) { return a < b ? a : b; } \
  inline T max(T a, T b) { return a > b ? a : b; }
MIN_MAX(int)
MIN_MAX(unsigned)
MIN_MAX(long)
MIN_MAX(unsigned long)
MIN_MAX(long long)
MIN_MAX(unsigned long long)
#undef MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }

inline unsigned __float_as_uint(float x) { return mock::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return mock::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return mock::bit_cast<float>(x); }
inline float __int_as_float(int x) { return mock::bit_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

#endif
