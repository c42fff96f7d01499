// What the kernels share: element types, vectors of elements, sums over threads, and
// the instances of a kernel for each element type.
//
// NVRTC compiles the kernels for GPUs. A C++ compiler compiles them too, with a header
// that plays CUDA's built-ins, for tests on machines without one.
#pragma once

#ifndef __CUDACC_RTC__
#include "device.h"
#endif

typedef long long int64;
typedef unsigned int uint32;
typedef unsigned long long uint64;

// Dynamic shared memory of a block as an array.
#ifdef __CUDACC_RTC__
#define DYNAMIC_SHARED(type, name)                 \
    extern __shared__ uint4 dynamic_shared_words[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared_words)
#endif

// bf16 is the upper half of a float32.
struct bf16 {
    unsigned short bits;
};

__device__ inline float bits_to_float(uint32 bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
#endif
}

__device__ inline uint32 float_to_bits(float x) {
#ifdef __CUDA_ARCH__
    return __float_as_uint(x);
#else
    uint32 bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
#endif
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return bits_to_float((uint32)x.bits << 16); }

// bf16_pair rounds two numbers to the nearest bf16, ties to even; low is the first in
// memory.
__device__ inline uint32 bf16_pair(float low, float high) {
#ifdef __CUDA_ARCH__
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    float both[2] = {low, high};
    uint32 pair = 0;
    for (int i = 0; i < 2; i++) {
        uint32 bits = float_to_bits(both[i]);
        uint32 rounded = both[i] != both[i] ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        pair |= rounded << 16 * i;
    }
    return pair;
#endif
}

// rounded converts a number to an element.
template <class T> __device__ T rounded(float x);
template <> __device__ inline float rounded<float>(float x) { return x; }
template <> __device__ inline bf16 rounded<bf16>(float x) { return bf16{(unsigned short)bf16_pair(x, 0)}; }

// Vec is V consecutive elements as float32.
template <int V> struct Vec {
    float at[V];
    __device__ float& operator[](int i) { return at[i]; }
    __device__ float operator[](int i) const { return at[i]; }
};

template <int V> __device__ Vec<V> splat(float x) {
    Vec<V> v;
#pragma unroll
    for (int i = 0; i < V; i++) v[i] = x;
    return v;
}

// load reads V elements that lie aligned to their size together: for float32 1 or a
// multiple of 4, for bf16 1, 2, 4 or 8.
template <int V> __device__ Vec<V> load(const float* p) {
    Vec<V> v;
    if constexpr (V % 4 == 0) {
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            float4 w = *reinterpret_cast<const float4*>(p + i);
            v[i] = w.x, v[i + 1] = w.y, v[i + 2] = w.z, v[i + 3] = w.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = p[i];
    }
    return v;
}

template <int V> __device__ Vec<V> load(const bf16* p) {
    Vec<V> v;
    if constexpr (V == 2) {
        uint32 word = *reinterpret_cast<const uint32*>(p);
        v[0] = bits_to_float(word << 16);
        v[1] = bits_to_float(word & 0xffff0000u);
    } else if constexpr (V == 4) {
        uint2 w = *reinterpret_cast<const uint2*>(p);
        v[0] = bits_to_float(w.x << 16), v[1] = bits_to_float(w.x & 0xffff0000u);
        v[2] = bits_to_float(w.y << 16), v[3] = bits_to_float(w.y & 0xffff0000u);
    } else if constexpr (V == 8) {
        uint4 w = *reinterpret_cast<const uint4*>(p);
        uint32 words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[2 * i] = bits_to_float(words[i] << 16);
            v[2 * i + 1] = bits_to_float(words[i] & 0xffff0000u);
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = to_float(p[i]);
    }
    return v;
}

// store writes V elements, rounded, to where [load] may read them.
template <int V> __device__ void store(float* p, const Vec<V>& v) {
    if constexpr (V % 4 == 0) {
#pragma unroll
        for (int i = 0; i < V; i += 4) *reinterpret_cast<float4*>(p + i) = float4{v[i], v[i + 1], v[i + 2], v[i + 3]};
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) p[i] = v[i];
    }
}

template <int V> __device__ void store(bf16* p, const Vec<V>& v) {
    if constexpr (V == 2) {
        *reinterpret_cast<uint32*>(p) = bf16_pair(v[0], v[1]);
    } else if constexpr (V == 4) {
        *reinterpret_cast<uint2*>(p) = uint2{bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3])};
    } else if constexpr (V == 8) {
        *reinterpret_cast<uint4*>(p) = uint4{bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7])};
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) p[i] = rounded<bf16>(v[i]);
    }
}

// width is the number of elements of a full vector.
template <class T> constexpr int width = 16 / sizeof(T);

// load and store with a count leave out what is behind the first elements of a vector;
// what load leaves out is 0.
template <int V, class T> __device__ Vec<V> load(const T* p, int64 count) {
    if (count >= V) return load<V>(p);
    Vec<V> v = splat<V>(0);
#pragma unroll
    for (int i = 0; i < V; i++) {
        if (i < count) v[i] = to_float(p[i]);
    }
    return v;
}

template <int V, class T> __device__ void store(T* p, const Vec<V>& v, int64 count) {
    if (count >= V) return store<V>(p, v);
#pragma unroll
    for (int i = 0; i < V; i++) {
        if (i < count) p[i] = rounded<T>(v[i]);
    }
}

// thread_index is the position of a thread in a grid of one dimension.
__device__ inline int64 thread_index() { return (int64)blockIdx.x * blockDim.x + threadIdx.x; }

enum : uint32 { WARP = 32, EVERY_LANE = 0xffffffffu };

// Combinations of two numbers for the reductions below.
struct Sum {
    __device__ static float none() { return 0; }
    template <class X> __device__ static X of(X a, X b) { return a + b; }
};

struct Min {
    __device__ static float none() { return 3.402823466e38f; }
    __device__ static float of(float a, float b) { return fminf(a, b); }
};

struct Max {
    __device__ static float none() { return -3.402823466e38f; }
    __device__ static float of(float a, float b) { return fmaxf(a, b); }
};

// warp_reduce combines a number of every lane of a full warp; all lanes get the result.
template <class R, class X> __device__ X warp_reduce(X x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x = R::of(x, __shfl_xor_sync(EVERY_LANE, x, step));
    return x;
}

// block_reduce combines a number of every thread of a block of one dimension, a whole
// number of warps; all threads get the result. The order is fixed.
template <class R, class X> __device__ X block_reduce(X x) {
    __shared__ X of_warp[WARP];
    uint32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_reduce<R>(x);
    __syncthreads();
    if (lane == 0) of_warp[warp] = x;
    __syncthreads();
    return warp_reduce<R>(lane < warps ? of_warp[lane] : R::none());
}

// class_index is an index that is kept as a number, or -1 where no class has it.
__device__ inline int class_index(float x, int classes) {
    int k = (int)x;
    return k >= 0 && k < classes ? k : -1;
}

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// Part is what a thread takes of a feature map: V channels from one on, and pixels from
// one to an end, blockDim.y apart. The pixels are a chunk's.
struct Part {
    bool inside;  // the channels are
    int channel, block_channel;  // the first of the thread, of its block
    uint32 chunk, pixel, end;
    __device__ bool has(uint32 pixel) const { return pixel < end; }
};

// Order says which chunk of pixels comes first. A kernel that reads what another has just
// written begins at the end, which is still in the cache, and the next one again at the
// start.
enum Order { FROM_START, FROM_END };

// part is the thread's where blocks take the groups of channels of one chunk of pixels,
// of a length, after the other. A thread whose channels are none has no pixels.
template <int V, Order ORDER = FROM_START> __device__ Part part(uint32 pixels, int channels, uint32 length) {
    uint32 span = blockDim.x * V, groups = (channels + span - 1) / span;
    uint32 block = ORDER == FROM_END ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
    uint32 chunk = block / groups, first = chunk * length;
    int block_channel = block % groups * span, channel = block_channel + threadIdx.x * V;
    if (channel >= channels) return Part{false, 0, block_channel, chunk, 0, 0};
    return Part{true, channel, block_channel, chunk, first + threadIdx.y, min(first + length, pixels)};
}

// Count is a number of pixels as a type.
template <int N> struct Count {
    static constexpr int value = N;
};

// batches calls f for all of a part's pixels: with a pixel p and Count<B>(), which stands
// for p and the next B-1 of the part, or with Count<1>() for the last ones. f loads them
// all before it stores one, so that the loads are under way together.
template <int B, class F> __device__ void batches(Part at, F f) {
    uint32 p = at.pixel;
    for (; at.has(p + (B - 1) * blockDim.y); p += B * blockDim.y) f(p, Count<B>());
    for (; at.has(p); p += blockDim.y) f(p, Count<1>());
}

// sum_pixels adds V channels of a part's pixels, which are so many elements apart.
template <int V, class T> __device__ Vec<V> sum_pixels(Part at, int distance, const T* x) {
    Vec<V> sum = splat<V>(0);
    batches<4>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> v[B];
#pragma unroll
        for (int b = 0; b < B; b++) v[b] = load<V>(x + (int64)(p + b * blockDim.y) * distance + at.channel);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) sum[i] += v[b][i];
        }
    });
    return sum;
}

// Pixel is a place in a batch of images.
struct Pixel {
    int image, row, column;
};

__device__ inline Pixel place(uint32 pixel, int height, int width) {
    uint32 line = pixel / width;
    return Pixel{(int)(line / height), (int)(line % height), (int)(pixel % width)};
}

// offset is where a pixel's channels begin.
__device__ inline int64 offset(int image, int row, int column, int height, int width, int channels) {
    return (((int64)image * height + row) * width + column) * channels;
}

// sum_rows adds a vector of every thread over threadIdx.y; row 0 gets the sums.
// blockDim.y is a power of two, and a block has at most 256 threads.
template <int V> __device__ void sum_rows(Vec<V>& v) {
    __shared__ float of_thread[V][256];
    uint32 thread = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads(); // a call before may still read
    for (uint32 rows = blockDim.y / 2; rows > 0; rows /= 2) {
        if (threadIdx.y >= rows && threadIdx.y < 2 * rows) {
#pragma unroll
            for (int i = 0; i < V; i++) of_thread[i][thread] = v[i];
        }
        __syncthreads();
        if (threadIdx.y < rows) {
#pragma unroll
            for (int i = 0; i < V; i++) v[i] += of_thread[i][thread + rows * blockDim.x];
        }
    }
}

// A kernel is a device function template over the element type T and the vector width
// V. These macros make its instances, which launches call by name, out of the kernel's
// name, its parameters in terms of T, and the same parameters as arguments:
//
//     template <class T, int V> __device__ void add(int64 n, T* y, const T* a, const T* b) { ... }
//     VECTOR_KERNELS(add, (int64 n, T* y, const T* a, const T* b), (n, y, a, b))
//
// VECTOR_KERNELS: add_f32_v4, add_bf16_v8, and for tensors whose channels do not fill
// vectors add_f32_v1, add_bf16_v1. KERNELS: add_f32, add_bf16, templates over T alone.
// F32_KERNELS: add_f32_v4 and add_f32_v1, templates over V alone.
// A kernel without a template is its own instance: extern "C" __global__ void.
#define KERNEL_INSTANCE(name, suffix, type, template_arguments, parameters, arguments) \
    namespace name##suffix##_instance {                                                \
    typedef type T;                                                                    \
    extern "C" __global__ void name##suffix parameters { name<template_arguments> arguments; } \
    }                                                                                  \
    using name##suffix##_instance::name##suffix;

#define TEMPLATE_ARGUMENTS(...) __VA_ARGS__

#define KERNELS(name, parameters, arguments)                            \
    KERNEL_INSTANCE(name, _f32, float, float, parameters, arguments)    \
    KERNEL_INSTANCE(name, _bf16, bf16, bf16, parameters, arguments)

#define VECTOR_KERNELS(name, parameters, arguments)                                                    \
    KERNEL_INSTANCE(name, _f32_v4, float, TEMPLATE_ARGUMENTS(float, 4), parameters, arguments)         \
    KERNEL_INSTANCE(name, _f32_v1, float, TEMPLATE_ARGUMENTS(float, 1), parameters, arguments)         \
    KERNEL_INSTANCE(name, _bf16_v8, bf16, TEMPLATE_ARGUMENTS(bf16, 8), parameters, arguments)          \
    KERNEL_INSTANCE(name, _bf16_v1, bf16, TEMPLATE_ARGUMENTS(bf16, 1), parameters, arguments)

#define F32_KERNELS(name, parameters, arguments)                      \
    KERNEL_INSTANCE(name, _f32_v4, float, 4, parameters, arguments)   \
    KERNEL_INSTANCE(name, _f32_v1, float, 1, parameters, arguments)
