// From planar tensors to feature maps, back, and between ranges of channels.
#include "common.cuh"

constexpr int TILE = 32;

// to_nhwc and to_nchw turn tiles of 32 pixels and 32 channels around in shared memory, so
// that reads and writes both run along memory. A block is 32 x 8 threads; its place in
// the grid is pixels of an image, channels, image.
template <class T> __device__ void to_nhwc(int pixels, int channels, T* y, const float* x) {
    __shared__ float tile[TILE][TILE + 1];
    int pixel = blockIdx.x * TILE, channel = blockIdx.y * TILE;
    int64 image = (int64)blockIdx.z * pixels * channels;
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        int c = channel + i, p = pixel + threadIdx.x;
        if (c < channels && p < pixels) tile[i][threadIdx.x] = x[image + (int64)c * pixels + p];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        int c = channel + threadIdx.x, p = pixel + i;
        if (c < channels && p < pixels) y[image + (int64)p * channels + c] = rounded<T>(tile[threadIdx.x][i]);
    }
}
KERNELS(to_nhwc, (int pixels, int channels, T* y, const float* x), (pixels, channels, y, x))

template <class T> __device__ void to_nchw(int pixels, int channels, float* y, const T* x) {
    __shared__ float tile[TILE][TILE + 1];
    int pixel = blockIdx.x * TILE, channel = blockIdx.y * TILE;
    int64 image = (int64)blockIdx.z * pixels * channels;
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        int c = channel + threadIdx.x, p = pixel + i;
        if (c < channels && p < pixels) tile[threadIdx.x][i] = to_float(x[image + (int64)p * channels + c]);
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        int c = channel + i, p = pixel + threadIdx.x;
        if (c < channels && p < pixels) y[image + (int64)c * pixels + p] = tile[i][threadIdx.x];
    }
}
KERNELS(to_nchw, (int pixels, int channels, float* y, const T* x), (pixels, channels, y, x))

// few_to_nhwc and few_to_nchw do the same for few channels, with a thread for a pixel.
template <class T> __device__ void few_to_nhwc(int images, int pixels, int channels, T* y, const float* x) {
    int64 i = thread_index();
    if (i >= (int64)images * pixels) return;
    uint32 image = (uint32)i / pixels, pixel = (uint32)i % pixels;
    for (int c = 0; c < channels; c++) y[i * channels + c] = rounded<T>(x[((int64)image * channels + c) * pixels + pixel]);
}
KERNELS(few_to_nhwc, (int images, int pixels, int channels, T* y, const float* x), (images, pixels, channels, y, x))

template <class T> __device__ void few_to_nchw(int images, int pixels, int channels, float* y, const T* x) {
    int64 i = thread_index();
    if (i >= (int64)images * pixels) return;
    uint32 image = (uint32)i / pixels, pixel = (uint32)i % pixels;
    for (int c = 0; c < channels; c++) y[((int64)image * channels + c) * pixels + pixel] = to_float(x[i * channels + c]);
}
KERNELS(few_to_nchw, (int images, int pixels, int channels, float* y, const T* x), (images, pixels, channels, y, x))

// image_to_nhwc does the same for images in bfloat16 whose pixels are filled up with zeros
// to a vector.
extern "C" __global__ void image_to_nhwc(int images, int pixels, int channels, bf16* y, const float* x) {
    int64 i = thread_index();
    if (i >= (int64)images * pixels) return;
    uint32 image = (uint32)i / pixels, pixel = (uint32)i % pixels;
    Vec<8> v;
#pragma unroll
    for (int c = 0; c < 8; c++) v[c] = c < channels ? x[((int64)image * channels + c) * pixels + pixel] : 0;
    store<8>(y + i * 8, v);
}

// resize_channels is y with the channels of x, fewer of them or more, which are 0.
template <class To> __device__ void resize_channels(int64 n, To* y, int y_channels, const bf16* x, int x_channels) {
    int64 i = thread_index();
    if (i >= n) return;
    int c = i % y_channels;
    y[i] = rounded<To>(c < x_channels ? to_float(x[i / y_channels * x_channels + c]) : 0);
}
KERNELS(resize_channels, (int64 n, T* y, int y_channels, const bf16* x, int x_channels), (n, y, y_channels, x, x_channels))

// copy_channels copies channels from x_from on of x over those of y from y_from on; pixels
// of x and y are x_channels and y_channels apart.
template <class T, int V>
__device__ void copy_channels(uint32 pixels, int channels, uint32 length, T* y, int y_channels, int y_from, const T* x, int x_channels, int x_from) {
    Part at = part<V>(pixels, channels, length);
    y += y_from + at.channel;
    x += x_from + at.channel;
    batches<4>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> v[B];
#pragma unroll
        for (int b = 0; b < B; b++) v[b] = load<V>(x + (int64)(p + b * blockDim.y) * x_channels);
#pragma unroll
        for (int b = 0; b < B; b++) store<V>(y + (int64)(p + b * blockDim.y) * y_channels, v[b]);
    });
}
VECTOR_KERNELS(copy_channels,
               (uint32 pixels, int channels, uint32 length, T* y, int y_channels, int y_from, const T* x, int x_channels, int x_from),
               (pixels, channels, length, y, y_channels, y_from, x, x_channels, x_from))
