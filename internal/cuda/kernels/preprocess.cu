// Decoded images to a network's input.
#include "common.cuh"

typedef unsigned char uint8;

// pixels reads V pixels of three channels, aligned to a word where V fills words.
template <int V> __device__ void pixels(uint8 (&values)[3 * V], const uint8* x) {
    if constexpr (V == 4) {
#pragma unroll
        for (int i = 0; i < 3; i++) {
            uint32 word = reinterpret_cast<const uint32*>(x)[i];
#pragma unroll
            for (int k = 0; k < 4; k++) values[4 * i + k] = word >> 8 * k & 0xff;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 3 * V; i++) values[i] = x[i];
    }
}

// normalize is y[n, c, i, j] = x[n, i, j, c] * scale[c] + offset[c], with the columns
// of images whose flip is not 0 in the contrary order. A thread computes V pixels.
template <int V>
__device__ void normalize(int images, int height, int width, float* y, const uint8* x, const uint8* flips, float scale0, float scale1,
                          float scale2, float offset0, float offset1, float offset2) {
    float scale[3] = {scale0, scale1, scale2}, offset[3] = {offset0, offset1, offset2};
    uint32 vectors = width / V, i = (uint32)thread_index();
    uint32 column = i % vectors * V, line = i / vectors, row = line % height, image = line / height;
    if (image >= images) return;
    bool flip = flips && flips[image];
    uint32 from = flip ? width - V - column : column;
    uint8 values[3 * V];
    pixels<V>(values, x + ((int64)line * width + from) * 3);
#pragma unroll
    for (int c = 0; c < 3; c++) {
        Vec<V> v;
#pragma unroll
        for (int k = 0; k < V; k++) v[k] = (flip ? values[3 * (V - 1 - k) + c] : values[3 * k + c]) * scale[c] + offset[c];
        store(y + (((int64)image * 3 + c) * height + row) * width + column, v);
    }
}
F32_KERNELS(normalize, (int images, int height, int width, float* y, const uint8* x, const uint8* flips, float scale0, float scale1,
                        float scale2, float offset0, float offset1, float offset2),
            (images, height, width, y, x, flips, scale0, scale1, scale2, offset0, offset1, offset2))
