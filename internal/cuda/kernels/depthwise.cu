// Convolutions with a filter for each channel. Weights are float32, (channels, taps).
#include "common.cuh"

// Axis is one axis of a convolution: of its kernel, and the length of what is read.
struct Axis {
    int kernel, stride, pad, dilation, length;
};

#define AXES_PARAMETERS                                                   \
    int kernel_h, int stride_h, int pad_h, int dilation_h, int length_h, \
    int kernel_w, int stride_w, int pad_w, int dilation_w, int length_w
#define AXES_ARGUMENTS                                          \
    Axis{kernel_h, stride_h, pad_h, dilation_h, length_h}, \
    Axis{kernel_w, stride_w, pad_w, dilation_w, length_w}

// source is the position that a tap of the kernel reads for a position of the result, or
// none, -1. Backward, the result is dx and dy is read.
template <bool BACKWARD> __device__ int source(const Axis& a, int position, int tap) {
    int at;
    if constexpr (BACKWARD) {
        at = position + a.pad - tap * a.dilation;
        if (a.stride > 1) {
            if (at < 0 || at % a.stride != 0) return -1;
            at /= a.stride;
        }
    } else {
        at = position * a.stride - a.pad + tap * a.dilation;
    }
    return at >= 0 && at < a.length ? at : -1;
}

// STRIP neighbouring columns of the result have one thread, which reads each weight once
// for them.
constexpr int STRIP = 4;

// correlate is y = conv(x, w), or x's gradient from that of y in the place of x. Pixels
// are strips of the result, of which a row has so many.
template <bool BACKWARD, class T, int V>
__device__ void correlate(uint32 strips, int channels, uint32 length, T* y, const T* x, const float* w, int out_height, int out_width, Axis rows, Axis columns) {
    DYNAMIC_SHARED(float, weights);
    Part at = part<V>(strips, channels, length);
    int taps = rows.kernel * columns.kernel, span = blockDim.x * V;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < taps * span; i += blockDim.x * blockDim.y) {
        int channel = at.block_channel + i % span;
        weights[i] = channel < channels ? w[(int64)channel * taps + i / span] : 0;
    }
    __syncthreads();

    int across = (out_width + STRIP - 1) / STRIP;
    x += at.channel;
    for (uint32 s = at.pixel; s < at.end; s += blockDim.y) {
        Pixel strip = place(s, out_height, across);
        int column = strip.column * STRIP;
        Vec<V> sum[STRIP];
#pragma unroll
        for (int q = 0; q < STRIP; q++) sum[q] = splat<V>(0);
        for (int u = 0; u < rows.kernel; u++) {
            int h = source<BACKWARD>(rows, strip.row, u);
            if (h < 0) continue;
            const T* row = x + offset(strip.image, h, 0, rows.length, columns.length, channels);
            for (int v = 0; v < columns.kernel; v++) {
                Vec<V> weight = load<V>(weights + (u * columns.kernel + v) * span + threadIdx.x * V);
#pragma unroll
                for (int q = 0; q < STRIP; q++) {
                    int c = source<BACKWARD>(columns, column + q, v);
                    Vec<V> value = c < 0 ? splat<V>(0) : load<V>(row + (int64)c * channels);
#pragma unroll
                    for (int i = 0; i < V; i++) sum[q][i] += weight[i] * value[i];
                }
            }
        }
        T* to = y + offset(strip.image, strip.row, column, out_height, out_width, channels) + at.channel;
#pragma unroll
        for (int q = 0; q < STRIP; q++) {
            if (column + q < out_width) store<V>(to + (int64)q * channels, sum[q]);
        }
    }
}

template <class T, int V>
__device__ void depthwise_forward(uint32 strips, int channels, uint32 length, T* y, const T* x, const float* w, int out_height, int out_width, Axis rows, Axis columns) {
    correlate<false, T, V>(strips, channels, length, y, x, w, out_height, out_width, rows, columns);
}
VECTOR_KERNELS(depthwise_forward,
               (uint32 strips, int channels, uint32 length, T* y, const T* x, const float* w, int out_height, int out_width, AXES_PARAMETERS),
               (strips, channels, length, y, x, w, out_height, out_width, AXES_ARGUMENTS))

template <class T, int V>
__device__ void depthwise_backward_data(uint32 strips, int channels, uint32 length, T* dx, const T* dy, const float* w, int height, int width, Axis rows, Axis columns) {
    correlate<true, T, V>(strips, channels, length, dx, dy, w, height, width, rows, columns);
}
VECTOR_KERNELS(depthwise_backward_data,
               (uint32 strips, int channels, uint32 length, T* dx, const T* dy, const float* w, int height, int width, AXES_PARAMETERS),
               (strips, channels, length, dx, dy, w, height, width, AXES_ARGUMENTS))

// TILE x TILE taps of the kernel are summed at once.
constexpr int TILE = 3;

// depthwise_backward_weights leaves the sums of dy times x of each chunk of dy's pixels,
// (chunks, channels, taps), for tile blockIdx.z of the taps.
template <class T, int V>
__device__ void depthwise_backward_weights(uint32 pixels, int channels, uint32 length, float* partial, const T* x, const T* dy, int out_height, int out_width, Axis rows, Axis columns) {
    Part at = part<V>(pixels, channels, length);
    int tiles = (columns.kernel + TILE - 1) / TILE, first_row = blockIdx.z / tiles * TILE, first_column = blockIdx.z % tiles * TILE;
    Vec<V> sum[TILE][TILE];
#pragma unroll
    for (int u = 0; u < TILE; u++) {
#pragma unroll
        for (int v = 0; v < TILE; v++) sum[u][v] = splat<V>(0);
    }
    x += at.channel;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel out = place(p, out_height, out_width);
        Vec<V> d = load<V>(dy + (int64)p * channels + at.channel), value[TILE][TILE];
        int w[TILE];
#pragma unroll
        for (int v = 0; v < TILE; v++) w[v] = source<false>(columns, out.column, first_column + v);
#pragma unroll
        for (int u = 0; u < TILE; u++) {
            int h = source<false>(rows, out.row, first_row + u);
            const T* row = x + offset(out.image, h, 0, rows.length, columns.length, channels);
#pragma unroll
            for (int v = 0; v < TILE; v++) value[u][v] = h >= 0 && w[v] >= 0 ? load<V>(row + w[v] * channels) : splat<V>(0);
        }
#pragma unroll
        for (int u = 0; u < TILE; u++) {
#pragma unroll
            for (int v = 0; v < TILE; v++) {
#pragma unroll
                for (int i = 0; i < V; i++) sum[u][v][i] += d[i] * value[u][v][i];
            }
        }
    }
#pragma unroll
    for (int u = 0; u < TILE; u++) {
#pragma unroll
        for (int v = 0; v < TILE; v++) {
            int row = first_row + u, column = first_column + v;
            if (row >= rows.kernel || column >= columns.kernel) continue;
            sum_rows(sum[u][v]);
            if (!at.inside || threadIdx.y > 0) continue;
            int taps = rows.kernel * columns.kernel;
            float* to = partial + ((int64)at.chunk * channels + at.channel) * taps + row * columns.kernel + column;
#pragma unroll
            for (int i = 0; i < V; i++) to[(int64)i * taps] = sum[u][v][i];
        }
    }
}

#define WEIGHTS_PARAMETERS \
    (uint32 pixels, int channels, uint32 length, float* partial, const T* x, const T* dy, int out_height, int out_width, AXES_PARAMETERS)
#define WEIGHTS_ARGUMENTS (pixels, channels, length, partial, x, dy, out_height, out_width, AXES_ARGUMENTS)
KERNEL_INSTANCE(depthwise_backward_weights, _f32_v1, float, TEMPLATE_ARGUMENTS(float, 1), WEIGHTS_PARAMETERS, WEIGHTS_ARGUMENTS)
KERNEL_INSTANCE(depthwise_backward_weights, _bf16_v1, bf16, TEMPLATE_ARGUMENTS(bf16, 1), WEIGHTS_PARAMETERS, WEIGHTS_ARGUMENTS)
KERNEL_INSTANCE(depthwise_backward_weights, _bf16_v2, bf16, TEMPLATE_ARGUMENTS(bf16, 2), WEIGHTS_PARAMETERS, WEIGHTS_ARGUMENTS)
