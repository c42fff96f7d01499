// Element by element: neighbours in memory do not matter.
#include "common.cuh"

// elements applies f to vectors of n elements, one a thread, and to the elements of the
// last incomplete vector one by one.
template <int V, class F> __device__ void elements(int64 n, F f) {
    int64 i = thread_index() * V;
    if (i + V <= n) {
        f.template at<V>(i);
    } else {
        for (; i < n; i++) f.template at<1>(i);
    }
}

template <class T> struct Relu {
    T* y;
    const T* x;
    template <int V> __device__ void at(int64 i) const {
        Vec<V> v = load<V>(x + i);
#pragma unroll
        for (int k = 0; k < V; k++) v[k] = v[k] < 0 ? 0 : v[k];
        store<V>(y + i, v);
    }
};

// relu is y = max(x, 0), where NaN passes.
template <class T, int V> __device__ void relu(int64 n, T* y, const T* x) { elements<V>(n, Relu<T>{y, x}); }
VECTOR_KERNELS(relu, (int64 n, T* y, const T* x), (n, y, x))
