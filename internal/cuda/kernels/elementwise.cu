// Element by element: a thread takes a vector, whatever lies beside it.
#include "common.cuh"

// relu is y = max(x, 0), where NaN passes.
template <class T> __device__ void relu(int64 n, T* y, const T* x) {
    constexpr int V = width<T>;
    int64 i = thread_index() * V;
    if (i >= n) return;
    Vec<V> v = load<V>(x + i, n - i);
#pragma unroll
    for (int k = 0; k < V; k++) v[k] = v[k] < 0 ? 0 : v[k];
    store<V>(y + i, v, n - i);
}
KERNELS(relu, (int64 n, T* y, const T* x), (n, y, x))

// relu_backward is dx = dy where y, the result of relu, is above 0 or NaN.
template <class T> __device__ void relu_backward(int64 n, T* dx, const T* dy, const T* y) {
    constexpr int V = width<T>;
    int64 i = thread_index() * V;
    if (i >= n) return;
    Vec<V> d = load<V>(dy + i, n - i), v = load<V>(y + i, n - i);
#pragma unroll
    for (int k = 0; k < V; k++) d[k] = v[k] <= 0 ? 0 : d[k];
    store<V>(dx + i, d, n - i);
}
KERNELS(relu_backward, (int64 n, T* dx, const T* dy, const T* y), (n, dx, dy, y))

// add is y = a + b.
template <class T> __device__ void add(int64 n, T* y, const T* a, const T* b) {
    constexpr int V = width<T>;
    int64 i = thread_index() * V;
    if (i >= n) return;
    Vec<V> v = load<V>(a + i, n - i), w = load<V>(b + i, n - i);
#pragma unroll
    for (int k = 0; k < V; k++) v[k] += w[k];
    store<V>(y + i, v, n - i);
}
KERNELS(add, (int64 n, T* y, const T* a, const T* b), (n, y, a, b))

// convert is y = x in another type.
template <class To, class From> __device__ void convert(int64 n, To* y, const From* x) {
    constexpr int V = 8;
    int64 i = thread_index() * V;
    if (i < n) store<V>(y + i, load<V>(x + i, n - i), n - i);
}

extern "C" __global__ void convert_f32_bf16(int64 n, bf16* y, const float* x) { convert(n, y, x); }
extern "C" __global__ void convert_bf16_f32(int64 n, float* y, const bf16* x) { convert(n, y, x); }
extern "C" __global__ void convert_f32_f32(int64 n, float* y, const float* x) { convert(n, y, x); }
extern "C" __global__ void convert_bf16_bf16(int64 n, bf16* y, const bf16* x) { convert(n, y, x); }
