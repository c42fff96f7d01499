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

// PAIR_KERNELS makes instances whose sums of all taps fit in a thread's registers.
#define PAIR_KERNELS(name, parameters, arguments)                                              \
    KERNEL_INSTANCE(name, _f32_v1, float, TEMPLATE_ARGUMENTS(float, 1), parameters, arguments) \
    KERNEL_INSTANCE(name, _bf16_v1, bf16, TEMPLATE_ARGUMENTS(bf16, 1), parameters, arguments)  \
    KERNEL_INSTANCE(name, _bf16_v2, bf16, TEMPLATE_ARGUMENTS(bf16, 2), parameters, arguments)

// put_sums leaves a block's sums of a tile of taps, in partial (chunks, channels, taps).
template <int N, int V>
__device__ void put_sums(const Part& at, int channels, float* partial, Vec<V> (&sum)[N][N], int first_row, int first_column, int kernel_h, int kernel_w) {
    int taps = kernel_h * kernel_w;
    partial += ((int64)at.chunk * channels + at.channel) * taps;
#pragma unroll
    for (int u = 0; u < N; u++) {
#pragma unroll
        for (int v = 0; v < N; v++) {
            int row = first_row + u, column = first_column + v;
            if (row >= kernel_h || column >= kernel_w) continue;
            sum_rows(sum[u][v]);
            if (!at.inside || threadIdx.y > 0) continue;
#pragma unroll
            for (int i = 0; i < V; i++) partial[(int64)i * taps + row * kernel_w + column] = sum[u][v][i];
        }
    }
}

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
    put_sums(at, channels, partial, sum, first_row, first_column, rows.kernel, columns.kernel);
}

PAIR_KERNELS(depthwise_backward_weights,
             (uint32 pixels, int channels, uint32 length, float* partial, const T* x, const T* dy, int out_height, int out_width, AXES_PARAMETERS),
             (pixels, channels, length, partial, x, dy, out_height, out_width, AXES_ARGUMENTS))

// Kernels of SIDE x SIDE taps with unit strides slide: a thread goes down the rows of a
// strip, and reads a row of REACH columns once for all rows of the result it concerns.
constexpr int SIDE = 3, REACH = STRIP + SIDE - 1;

// Descent is the strip of columns from one on, and its rows from one on to an end.
struct Descent {
    int image, column, row, end;
};

// descent is that of a part's pixel, where descents have so many rows.
__device__ inline Descent descent(uint32 pixel, int rows, int height, int width) {
    Pixel at = place(pixel, (height + rows - 1) / rows, (width + STRIP - 1) / STRIP);
    int first = at.row * rows;
    return Descent{at.image, at.column * STRIP, first, min(first + rows, height)};
}

// Rows are read one after another, of N columns of which some may be outside of the image.
template <int N, class T> struct Rows {
    const T* at;
    int row, end, channels, pitch;
    bool inside[N]; // of the image, a column

    __device__ Rows(const T* x, int image, int row, int column, int height, int width, int channels, int end)
        : at(x + offset(image, 0, column, height, width, channels) + (int64)row * (width * channels)), row(row), end(end), channels(channels), pitch(width * channels) {
#pragma unroll
        for (int q = 0; q < N; q++) inside[q] = (uint32)(column + q) < (uint32)width;
    }

    // read is the next row, 0 outside of the image and from the end on.
    template <int V> __device__ void read(Vec<V> (&v)[N]) {
        bool any = (uint32)row < (uint32)end;
#pragma unroll
        for (int q = 0; q < N; q++) v[q] = any && inside[q] ? load<V>(at + q * channels) : splat<V>(0);
        row++;
        at += pitch;
    }
};

// rolled makes room for a row behind the others, the first of which is done with.
template <int N, int V> __device__ void rolled(Vec<V> (&rows)[SIDE][N]) {
#pragma unroll
    for (int q = 0; q < N; q++) {
#pragma unroll
        for (int j = 0; j < SIDE - 1; j++) rows[j][q] = rows[j + 1][q];
        rows[SIDE - 1][q] = splat<V>(0);
    }
}

// slide is y = conv(x, w), where w is turned by half a turn if FLIPPED. Pixels are
// descents of the result.
template <bool FLIPPED, class T, int V>
__device__ void slide(uint32 descents, int channels, uint32 length, T* y, const T* x, const float* w, int rows, int out_height, int out_width, int height, int width, int pad_h, int pad_w) {
    constexpr int TAPS = SIDE * SIDE;
    __shared__ float weights[WARP * V * TAPS];
    Part at = part<V>(descents, channels, length);
    int count = min((int)blockDim.x * V, channels - at.block_channel) * TAPS;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < count; i += blockDim.x * blockDim.y) weights[i] = w[(int64)at.block_channel * TAPS + i];
    __syncthreads();
    if (!at.inside) return;
    Vec<V> weight[SIDE][SIDE];
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
#pragma unroll
        for (int i = 0; i < V; i++) weight[tap / SIDE][tap % SIDE][i] = weights[(threadIdx.x * V + i) * TAPS + (FLIPPED ? TAPS - 1 - tap : tap)];
    }

    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Descent down = descent(p, rows, out_height, out_width);
        Rows<REACH, T> from(x + at.channel, down.image, down.row - pad_h, down.column - pad_w, height, width, channels, height);
        T* to = y + offset(down.image, down.row, down.column, out_height, out_width, channels) + at.channel;
        Vec<V> sum[SIDE][STRIP]; // of the rows of y for which row is the last, the last but one, ...
        rolled(sum), rolled(sum), rolled(sum);
#pragma unroll 1
        for (int row = down.row - (SIDE - 1); row < down.end; row++) {
            Vec<V> value[REACH];
            from.read(value);
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
#pragma unroll
                for (int tap = 0; tap < SIDE; tap++) {
#pragma unroll
                    for (int q = 0; q < STRIP; q++) {
#pragma unroll
                        for (int i = 0; i < V; i++) sum[j][q][i] += weight[SIDE - 1 - j][tap][i] * value[q + tap][i];
                    }
                }
            }
            if (row >= down.row) {
#pragma unroll
                for (int q = 0; q < STRIP; q++) {
                    if (down.column + q < out_width) store<V>(to + q * channels, sum[0][q]);
                }
                to += (int64)out_width * channels;
            }
            rolled(sum);
        }
    }
}

#define SLIDE_PARAMETERS                                                                                                      \
    (uint32 descents, int channels, uint32 length, T* y, const T* x, const float* w, int rows, int out_height, int out_width, \
     int height, int width, int pad_h, int pad_w)
#define SLIDE_ARGUMENTS (descents, channels, length, y, x, w, rows, out_height, out_width, height, width, pad_h, pad_w)

template <class T, int V> __device__ void depthwise_forward_sliding SLIDE_PARAMETERS { slide<false, T, V> SLIDE_ARGUMENTS; }
PAIR_KERNELS(depthwise_forward_sliding, SLIDE_PARAMETERS, SLIDE_ARGUMENTS)

template <class T, int V> __device__ void depthwise_backward_data_sliding SLIDE_PARAMETERS { slide<true, T, V> SLIDE_ARGUMENTS; }
PAIR_KERNELS(depthwise_backward_data_sliding, SLIDE_PARAMETERS, SLIDE_ARGUMENTS)

// depthwise_backward_weights_sliding leaves the sums of dy times x of each chunk of
// descents of dy, (chunks, channels, taps).
template <class T, int V>
__device__ void depthwise_backward_weights_sliding(uint32 descents, int channels, uint32 length, float* partial, const T* x, const T* dy, int rows,
                                                   int out_height, int out_width, int height, int width, int pad_h, int pad_w) {
    Part at = part<V>(descents, channels, length);
    Vec<V> sum[SIDE][SIDE];
#pragma unroll
    for (int tap = 0; tap < SIDE * SIDE; tap++) sum[tap / SIDE][tap % SIDE] = splat<V>(0);

    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Descent down = descent(p, rows, out_height, out_width);
        Rows<REACH, T> from(x + at.channel, down.image, down.row - pad_h, down.column - pad_w, height, width, channels, height);
        Rows<STRIP, T> by(dy + at.channel, down.image, down.row, down.column, out_height, out_width, channels, down.end);
        Vec<V> d[SIDE][STRIP]; // the rows of dy for which the row of x is the last, the last but one, ...
        rolled(d), rolled(d), rolled(d);
#pragma unroll 1
        for (int row = down.row - (SIDE - 1); row < down.end; row++) {
            Vec<V> value[REACH];
            from.read(value);
            by.read(d[SIDE - 1]);
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
#pragma unroll
                for (int tap = 0; tap < SIDE; tap++) {
#pragma unroll
                    for (int q = 0; q < STRIP; q++) {
#pragma unroll
                        for (int i = 0; i < V; i++) sum[SIDE - 1 - j][tap][i] += d[j][q][i] * value[q + tap][i];
                    }
                }
            }
            rolled(d);
        }
    }
    put_sums(at, channels, partial, sum, 0, 0, SIDE, SIDE);
}
PAIR_KERNELS(depthwise_backward_weights_sliding,
             (uint32 descents, int channels, uint32 length, float* partial, const T* x, const T* dy, int rows, int out_height, int out_width,
              int height, int width, int pad_h, int pad_w),
             (descents, channels, length, partial, x, dy, rows, out_height, out_width, height, width, pad_h, pad_w))
