// Convolutions to one channel: the heads of networks that draw maps. They have unit strides
// and SIDE x SIDE taps; x is a feature map, y float32 (N, H, W), and the weights are
// float32 (taps, channels).
//
// A row of threads, as many as x has vectors of channels, descends some rows of a column.
#include "common.cuh"

// Head is the geometry; a descent has so many rows.
struct Head {
    int rows, channels, height, width, out_height, out_width, pad_h, pad_w;
};

#define HEAD_PARAMETERS int rows, int channels, int height, int width, int out_height, int out_width, int pad_h, int pad_w
#define HEAD_ARGUMENTS Head{rows, channels, height, width, out_height, out_width, pad_h, pad_w}

// Descent is a column of an image, from one row on and before an end.
struct Descent {
    int image, column, row, end;
};

// descent is one of so many; those behind the last have no rows.
__device__ inline Descent descent(uint32 index, uint32 count, int rows, int height, int width) {
    Pixel at = place(index, (height + rows - 1) / rows, width);
    int row = at.row * rows;
    return Descent{at.image, at.column, row, index < count ? min(row + rows, height) : row};
}

// head_forward is y = conv(x, w) + [bias]. As threads add up what they have together, all
// of them take as many steps.
template <int SIDE, class T, int V>
__device__ void head_forward(uint32 descents, float* y, const T* x, const float* w, const float* bias, Head g) {
    int channel = threadIdx.x * V;
    Vec<V> weight[SIDE][SIDE];
#pragma unroll
    for (int tap = 0; tap < SIDE * SIDE; tap++) weight[tap / SIDE][tap % SIDE] = load<V>(w + tap * g.channels + channel);
    float shift = bias ? *bias : 0;

    Descent down = descent(blockIdx.x * blockDim.y + threadIdx.y, descents, g.rows, g.out_height, g.out_width);
    int from_row = down.row - g.pad_h, from_column = down.column - g.pad_w;
    int last_row = down.row < down.end ? down.end + SIDE - 1 - g.pad_h : from_row; // without rows nothing is read
    x += offset(down.image, 0, from_column, g.height, g.width, g.channels) + (int64)from_row * (g.width * g.channels) + channel;
    y += offset(down.image, down.row, down.column, g.out_height, g.out_width, 1);
    float sum[SIDE] = {}; // of the rows of y for which the row of x is the last, the last but one, ...
    for (int step = 1 - SIDE; step < g.rows; step++) {
        bool any = (uint32)from_row < (uint32)g.height && from_row < last_row;
#pragma unroll
        for (int q = 0; q < SIDE; q++) {
            Vec<V> value = any && (uint32)(from_column + q) < (uint32)g.width ? load<V>(x + q * g.channels) : splat<V>(0);
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
#pragma unroll
                for (int i = 0; i < V; i++) sum[j] += weight[SIDE - 1 - j][q][i] * value[i];
            }
        }
        float whole = sum[0];
        for (uint32 lanes = blockDim.x / 2; lanes > 0; lanes /= 2) whole += __shfl_xor_sync(EVERY_LANE, whole, lanes);
        if (step >= 0) {
            if (threadIdx.x == 0 && down.row + step < down.end) *y = whole + shift;
            y += g.out_width;
        }
#pragma unroll
        for (int j = 0; j < SIDE - 1; j++) sum[j] = sum[j + 1];
        sum[SIDE - 1] = 0;
        from_row++;
        x += g.width * g.channels;
    }
}

// Around is dy where windows contain a pixel of x, which descends.
template <int SIDE> struct Around {
    const float* next;
    int row, height, pitch;
    bool inside[SIDE]; // of the image, a column
    float dy[SIDE][SIDE];

    // Around has all rows but the last.
    __device__ Around(const float* of, const Descent& down, const Head& g) : row(down.row + g.pad_h - (SIDE - 1)), height(g.out_height), pitch(g.out_width) {
        int column = down.column + g.pad_w - (SIDE - 1);
        next = of + offset(down.image, 0, column, g.out_height, g.out_width, 1) + (int64)row * pitch;
#pragma unroll
        for (int q = 0; q < SIDE; q++) inside[q] = (uint32)(column + q) < (uint32)g.out_width;
#pragma unroll
        for (int j = 0; j < SIDE - 1; j++) move();
    }

    __device__ void move() {
        bool any = (uint32)row < (uint32)height;
#pragma unroll
        for (int q = 0; q < SIDE; q++) {
#pragma unroll
            for (int j = 0; j < SIDE - 1; j++) dy[j][q] = dy[j + 1][q];
            dy[SIDE - 1][q] = any && inside[q] ? next[q] : 0;
        }
        row++;
        next += pitch;
    }

    // by is dy where a tap reads the pixel.
    __device__ float by(int tap) const { return dy[SIDE - 1 - tap / SIDE][SIDE - 1 - tap % SIDE]; }
};

template <int SIDE, class T, int V> __device__ void head_backward_data(uint32 descents, T* dx, const float* dy, const float* w, Head g) {
    int channel = threadIdx.x * V;
    Vec<V> weight[SIDE * SIDE];
#pragma unroll
    for (int tap = 0; tap < SIDE * SIDE; tap++) weight[tap] = load<V>(w + tap * g.channels + channel);

    Descent down = descent(blockIdx.x * blockDim.y + threadIdx.y, descents, g.rows, g.height, g.width);
    if (down.row == down.end) return;
    Around<SIDE> around(dy, down, g);
    dx += offset(down.image, down.row, down.column, g.height, g.width, g.channels) + channel;
    for (int row = down.row; row < down.end; row++) {
        around.move();
        Vec<V> sum = splat<V>(0);
#pragma unroll
        for (int tap = 0; tap < SIDE * SIDE; tap++) {
#pragma unroll
            for (int i = 0; i < V; i++) sum[i] += around.by(tap) * weight[tap][i];
        }
        store<V>(dx, sum);
        dx += g.width * g.channels;
    }
}

// head_backward_weights leaves the sums of dy times x of every block, (blocks, taps,
// channels).
template <int SIDE, class T, int V> __device__ void head_backward_weights(uint32 descents, float* partial, const T* x, const float* dy, Head g) {
    int channel = threadIdx.x * V;
    Vec<V> sum[SIDE * SIDE];
#pragma unroll
    for (int tap = 0; tap < SIDE * SIDE; tap++) sum[tap] = splat<V>(0);

    for (uint32 index = blockIdx.x * blockDim.y + threadIdx.y; index < descents; index += gridDim.x * blockDim.y) {
        Descent down = descent(index, descents, g.rows, g.height, g.width);
        Around<SIDE> around(dy, down, g);
        const T* from = x + offset(down.image, down.row, down.column, g.height, g.width, g.channels) + channel;
#pragma unroll 4
        for (int row = down.row; row < down.end; row++) {
            Vec<V> value = load<V>(from);
            around.move();
#pragma unroll
            for (int tap = 0; tap < SIDE * SIDE; tap++) {
#pragma unroll
                for (int i = 0; i < V; i++) sum[tap][i] += around.by(tap) * value[i];
            }
            from += g.width * g.channels;
        }
    }
#pragma unroll
    for (int tap = 0; tap < SIDE * SIDE; tap++) {
        sum_rows(sum[tap]);
        if (threadIdx.y == 0) store<V>(partial + ((int64)blockIdx.x * SIDE * SIDE + tap) * g.channels + channel, sum[tap]);
    }
}

// HEAD_KERNELS makes the instances for kernels of 1 and 3 taps a side.
#define HEAD_KERNELS(name, parameters, arguments)                                                   \
    KERNEL_INSTANCE(name, _1x1_f32_v4, float, TEMPLATE_ARGUMENTS(1, float, 4), parameters, arguments) \
    KERNEL_INSTANCE(name, _1x1_bf16_v8, bf16, TEMPLATE_ARGUMENTS(1, bf16, 8), parameters, arguments)  \
    KERNEL_INSTANCE(name, _3x3_f32_v4, float, TEMPLATE_ARGUMENTS(3, float, 4), parameters, arguments) \
    KERNEL_INSTANCE(name, _3x3_bf16_v8, bf16, TEMPLATE_ARGUMENTS(3, bf16, 8), parameters, arguments)

HEAD_KERNELS(head_forward, (uint32 descents, float* y, const T* x, const float* w, const float* bias, HEAD_PARAMETERS),
             (descents, y, x, w, bias, HEAD_ARGUMENTS))
HEAD_KERNELS(head_backward_data, (uint32 descents, T* dx, const float* dy, const float* w, HEAD_PARAMETERS),
             (descents, dx, dy, w, HEAD_ARGUMENTS))
HEAD_KERNELS(head_backward_weights, (uint32 descents, float* partial, const T* x, const float* dy, HEAD_PARAMETERS),
             (descents, partial, x, dy, HEAD_ARGUMENTS))
