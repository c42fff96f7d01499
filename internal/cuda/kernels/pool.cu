// What knows where pixels lie: pooling, upsampling, dropout. Backward passes gather, so
// that every sum has one thread and a fixed order.
#include "common.cuh"

// Window is the geometry of pooling.
struct Window {
    int height, width, out_height, out_width, size, stride, pad;
};

// Span is the part of one axis from begin on and before end.
struct Span {
    int begin, end;
};

// covered is what a window at a position of the result covers of an input's axis.
__device__ inline Span covered(const Window& g, int position, int length) {
    int from = position * g.stride - g.pad;
    return Span{max(from, 0), min(from + g.size, length)};
}

#define WINDOW_PARAMETERS int height, int width, int out_height, int out_width, int size, int stride, int pad
#define WINDOW_ARGUMENTS height, width, out_height, out_width, size, stride, pad

// Taps are the positions of windows, in row order, as a byte each.
typedef unsigned char Tap;

template <int V> __device__ void store_taps(Tap* p, const int (&taps)[V]) {
    if constexpr (V == 1) {
        *p = taps[0];
    } else {
#pragma unroll
        for (int i = 0; i < V; i += 4) *reinterpret_cast<uint32*>(p + i) = taps[i] | taps[i + 1] << 8 | taps[i + 2] << 16 | taps[i + 3] << 24;
    }
}

template <int V> __device__ void load_taps(const Tap* p, int (&taps)[V]) {
    if constexpr (V == 1) {
        taps[0] = *p;
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) taps[i] = *reinterpret_cast<const uint32*>(p + i / 4 * 4) >> i % 4 * 8 & 0xff;
    }
}

// max_pool is the maximum of every window, of which NaN is one, and, if argmax is given,
// the first tap that has it, or the last that is NaN.
template <class T, int V>
__device__ void max_pool(uint32 pixels, int channels, uint32 length, T* y, Tap* argmax, const T* x, Window g) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel out = place(p, g.out_height, g.out_width);
        Span rows = covered(g, out.row, g.height), columns = covered(g, out.column, g.width);
        int first_row = out.row * g.stride - g.pad, first_column = out.column * g.stride - g.pad;
        Vec<V> most = load<V>(x + offset(out.image, rows.begin, columns.begin, g.height, g.width, channels) + at.channel);
        int taps[V];
#pragma unroll
        for (int i = 0; i < V; i++) taps[i] = (rows.begin - first_row) * g.size + columns.begin - first_column;
        for (int h = rows.begin; h < rows.end; h++) {
            const T* row = x + offset(out.image, h, 0, g.height, g.width, channels) + at.channel;
#pragma unroll 3
            for (int w = columns.begin; w < columns.end; w++) {
                Vec<V> v = load<V>(row + (int64)w * channels);
                int tap = (h - first_row) * g.size + w - first_column;
#pragma unroll
                for (int i = 0; i < V; i++) {
                    bool more = v[i] > most[i] || v[i] != v[i];
                    most[i] = more ? v[i] : most[i];
                    taps[i] = more ? tap : taps[i];
                }
            }
        }
        store<V>(y + (int64)p * channels + at.channel, most);
        if (argmax) store_taps(argmax + (int64)p * channels + at.channel, taps);
    }
}
VECTOR_KERNELS(max_pool, (uint32 pixels, int channels, uint32 length, T* y, Tap* argmax, const T* x, WINDOW_PARAMETERS),
               (pixels, channels, length, y, argmax, x, Window{WINDOW_ARGUMENTS}))

// gather_maxima gives every position the dy of those windows whose maximum it is. A
// thread takes PATCH x PATCH positions of dx together, which lie in the same windows
// where PATCH, if it is not 1, is the stride. In the padded image, patches begin at
// multiples of PATCH.
template <int PATCH, class T, int V>
__device__ void gather_maxima(uint32 patches, int channels, uint32 length, T* dx, const T* dy, const Tap* argmax, Window g, int patches_high, int patches_wide) {
    int stride = PATCH > 1 ? PATCH : g.stride;
    Part at = part<V>(patches, channels, length);
    dy += at.channel;
    argmax += at.channel;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel patch = place(p, patches_high, patches_wide);
        int row = (patch.row + g.pad / PATCH) * PATCH, column = (patch.column + g.pad / PATCH) * PATCH;
        Vec<V> sum[PATCH][PATCH];
#pragma unroll
        for (int a = 0; a < PATCH * PATCH; a++) sum[a / PATCH][a % PATCH] = splat<V>(0);

        for (int i = row / stride, u = row - i * stride; i >= 0 && u < g.size; i--, u += stride) {
            if (i >= g.out_height) continue;
            for (int j = column / stride, v = column - j * stride; j >= 0 && v < g.size; j--, v += stride) {
                if (j >= g.out_width) continue;
                int64 out = offset(patch.image, i, j, g.out_height, g.out_width, channels);
                Vec<V> d = load<V>(dy + out);
                int taps[V];
                load_taps(argmax + out, taps);
#pragma unroll
                for (int a = 0; a < PATCH; a++) {
#pragma unroll
                    for (int b = 0; b < PATCH; b++) {
                        if (u + a >= g.size || v + b >= g.size) continue;
                        int mine = (u + a) * g.size + v + b;
#pragma unroll
                        for (int k = 0; k < V; k++) {
                            if (taps[k] == mine) sum[a][b][k] += d[k];
                        }
                    }
                }
            }
        }
        row -= g.pad;
        column -= g.pad;
#pragma unroll
        for (int a = 0; a < PATCH; a++) {
#pragma unroll
            for (int b = 0; b < PATCH; b++) {
                bool inside = (uint32)(row + a) < (uint32)g.height && (uint32)(column + b) < (uint32)g.width;
                if (inside) store<V>(dx + offset(patch.image, row + a, column + b, g.height, g.width, channels) + at.channel, sum[a][b]);
            }
        }
    }
}

#define BACKWARD_PARAMETERS                                                                                                   \
    (uint32 patches, int channels, uint32 length, T* dx, const T* dy, const Tap* argmax, WINDOW_PARAMETERS, int patches_high, \
     int patches_wide)
#define BACKWARD_ARGUMENTS (patches, channels, length, dx, dy, argmax, Window{WINDOW_ARGUMENTS}, patches_high, patches_wide)

template <class T, int V> __device__ void max_pool_backward BACKWARD_PARAMETERS { gather_maxima<1, T, V> BACKWARD_ARGUMENTS; }
VECTOR_KERNELS(max_pool_backward, BACKWARD_PARAMETERS, (patches, channels, length, dx, dy, argmax, WINDOW_ARGUMENTS, patches_high, patches_wide))

template <class T, int V> __device__ void max_pool_backward_2x2 BACKWARD_PARAMETERS { gather_maxima<2, T, V> BACKWARD_ARGUMENTS; }
VECTOR_KERNELS(max_pool_backward_2x2, BACKWARD_PARAMETERS, (patches, channels, length, dx, dy, argmax, WINDOW_ARGUMENTS, patches_high, patches_wide))

// share is one over the number that a window's sum is divided by: its area, or that of
// its part inside the image.
__device__ inline float share(const Window& g, Span rows, Span columns, int count_pad) {
    return 1.0f / (count_pad ? g.size * g.size : (rows.end - rows.begin) * (columns.end - columns.begin));
}

// avg_pool is the mean of every window.
template <class T, int V>
__device__ void avg_pool(uint32 pixels, int channels, uint32 length, T* y, const T* x, Window g, int count_pad) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel out = place(p, g.out_height, g.out_width);
        Span rows = covered(g, out.row, g.height), columns = covered(g, out.column, g.width);
        Vec<V> sum = splat<V>(0);
        for (int h = rows.begin; h < rows.end; h++) {
            const T* row = x + offset(out.image, h, 0, g.height, g.width, channels) + at.channel;
#pragma unroll 3
            for (int w = columns.begin; w < columns.end; w++) {
                Vec<V> v = load<V>(row + (int64)w * channels);
#pragma unroll
                for (int i = 0; i < V; i++) sum[i] += v[i];
            }
        }
        float factor = share(g, rows, columns, count_pad);
#pragma unroll
        for (int i = 0; i < V; i++) sum[i] *= factor;
        store<V>(y + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(avg_pool, (uint32 pixels, int channels, uint32 length, T* y, const T* x, WINDOW_PARAMETERS, int count_pad),
               (pixels, channels, length, y, x, Window{WINDOW_ARGUMENTS}, count_pad))

// avg_pool_backward gives every position its share of dy of the windows that it is in,
// the last one first.
template <class T, int V>
__device__ void avg_pool_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, Window g, int count_pad) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel in = place(p, g.height, g.width);
        int row = in.row + g.pad, column = in.column + g.pad;
        Vec<V> sum = splat<V>(0);
        for (int i = row / g.stride, u = row - i * g.stride; i >= 0 && u < g.size; i--, u += g.stride) {
            if (i >= g.out_height) continue;
            for (int j = column / g.stride, v = column - j * g.stride; j >= 0 && v < g.size; j--, v += g.stride) {
                if (j >= g.out_width) continue;
                float factor = share(g, covered(g, i, g.height), covered(g, j, g.width), count_pad);
                Vec<V> d = load<V>(dy + offset(in.image, i, j, g.out_height, g.out_width, channels) + at.channel);
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += d[k] * factor;
            }
        }
        store<V>(dx + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(avg_pool_backward, (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, WINDOW_PARAMETERS, int count_pad),
               (pixels, channels, length, dx, dy, Window{WINDOW_ARGUMENTS}, count_pad))

// sum_of_three adds a pixel and those beside it, 0 outside of the image.
template <int V, class T> __device__ Vec<V> sum_of_three(const T* pixel, int channels, bool inside, bool has_left, bool has_right) {
    Vec<V> left = inside && has_left ? load<V>(pixel - channels) : splat<V>(0);
    Vec<V> middle = inside ? load<V>(pixel) : splat<V>(0);
    Vec<V> right = inside && has_right ? load<V>(pixel + channels) : splat<V>(0);
#pragma unroll
    for (int i = 0; i < V; i++) middle[i] += left[i] + right[i];
    return middle;
}

// avg_pool_3x3 is the mean of the nine pixels around every pixel. A thread goes down some
// rows of a column, and adds up the three pixels of a row once for the three rows that it
// concerns.
template <class T, int V> __device__ void avg_pool_3x3(uint32 descents, int channels, uint32 length, T* y, const T* x, int height, int width, int rows) {
    Part at = part<V>(descents, channels, length);
    int pitch = width * channels;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel down = place(p, (height + rows - 1) / rows, width);
        int row = down.row * rows, end = min(row + rows, height);
        int64 first = offset(down.image, row, down.column, height, width, channels) + at.channel;
        const T* pixel = x + first;
        T* to = y + first;
        bool left = down.column > 0, right = down.column < width - 1;
        Vec<V> above = sum_of_three<V>(pixel - pitch, channels, row > 0, left, right);
        Vec<V> here = sum_of_three<V>(pixel, channels, true, left, right);
        for (; row < end; row++) {
            pixel += pitch;
            Vec<V> below = sum_of_three<V>(pixel, channels, row < height - 1, left, right), mean;
#pragma unroll
            for (int i = 0; i < V; i++) mean[i] = (above[i] + here[i] + below[i]) * (1.0f / 9);
            store<V>(to, mean);
            to += pitch;
            above = here;
            here = below;
        }
    }
}
VECTOR_KERNELS(avg_pool_3x3, (uint32 descents, int channels, uint32 length, T* y, const T* x, int height, int width, int rows),
               (descents, channels, length, y, x, height, width, rows))

// global_avg_pool is the mean y (N, C) of every channel of an image, whose pixels are a
// chunk.
template <class T, int V> __device__ void global_avg_pool(uint32 pixels, int channels, uint32 length, float* y, const T* x) {
    Part at = part<V>(pixels, channels, length);
    Vec<V> sum = sum_pixels<V>(at, channels, x);
    sum_rows(sum);
    if (!at.inside || threadIdx.y > 0) return;
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] /= length;
    store<V>(y + (int64)at.chunk * channels + at.channel, sum);
}
VECTOR_KERNELS(global_avg_pool, (uint32 pixels, int channels, uint32 length, float* y, const T* x), (pixels, channels, length, y, x))

// global_avg_pool_backward is dx = dy / area of an image, of whose pixels there are so
// many.
template <class T, int V> __device__ void global_avg_pool_backward(uint32 pixels, int channels, uint32 length, T* dx, const float* dy, int area) {
    Part at = part<V>(pixels, channels, length);
    float share = 1.0f / area;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Vec<V> d = load<V>(dy + (int64)(p / area) * channels + at.channel);
#pragma unroll
        for (int i = 0; i < V; i++) d[i] *= share;
        store<V>(dx + (int64)p * channels + at.channel, d);
    }
}
VECTOR_KERNELS(global_avg_pool_backward, (uint32 pixels, int channels, uint32 length, T* dx, const float* dy, int area),
               (pixels, channels, length, dx, dy, area))

// between is where a position of the enlarged axis lies on the source's, half-pixel
// centres, clamped.
__device__ inline float between(int position, int scale, int length) {
    return min(max((position + 0.5f) * (1.0f / scale) - 0.5f, 0.0f), length - 1.0f);
}

// Taps are the two positions of the source axis between which a position of the enlarged
// one lies, and the weight of the second.
struct Taps {
    int low, high;
    float weight;
};

__device__ inline Taps taps(int position, int scale, int length, int bilinear) {
    if (!bilinear) return Taps{position / scale, position / scale, 0};
    float at = between(position, scale, length);
    int low = (int)at;
    return Taps{low, min(low + 1, length - 1), at - low};
}

// tapping is a span of the enlarged axis that holds every position with a tap at a
// position of the source axis.
__device__ inline Span tapping(int position, int scale, int length, int bilinear) {
    if (!bilinear) return Span{position * scale, position * scale + scale};
    int before = scale * (2 * position - 1) - 1, behind = scale * (2 * position + 3);
    return Span{max((before + 2) >> 1, 0), min(behind / 2, scale * length)};
}

// tap_weight is that of a position of the source axis for one of the enlarged axis in its
// span.
__device__ inline float tap_weight(int source, int position, int scale, int length, int bilinear) {
    return bilinear ? max(1 - fabsf(between(position, scale, length) - source), 0.0f) : 1;
}

// upsample enlarges images of height x width by a scale. Pixels of y are y_channels apart.
template <class T, int V>
__device__ void upsample(uint32 pixels, int channels, uint32 length, T* y, int y_channels, const T* x, int height, int width, int scale, int bilinear) {
    Part at = part<V>(pixels, channels, length);
    x += at.channel;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel out = place(p, height * scale, width * scale);
        Taps v = taps(out.row, scale, height, bilinear), h = taps(out.column, scale, width, bilinear);
        Vec<V> value = load<V>(x + offset(out.image, v.low, h.low, height, width, channels));
        if (bilinear) {
            Vec<V> right = load<V>(x + offset(out.image, v.low, h.high, height, width, channels));
            Vec<V> below = load<V>(x + offset(out.image, v.high, h.low, height, width, channels));
            Vec<V> across = load<V>(x + offset(out.image, v.high, h.high, height, width, channels));
#pragma unroll
            for (int i = 0; i < V; i++) {
                float above = (1 - h.weight) * value[i] + h.weight * right[i];
                float under = (1 - h.weight) * below[i] + h.weight * across[i];
                value[i] = (1 - v.weight) * above + v.weight * under;
            }
        }
        store<V>(y + (int64)p * y_channels + at.channel, value);
    }
}
VECTOR_KERNELS(upsample, (uint32 pixels, int channels, uint32 length, T* y, int y_channels, const T* x, int height, int width, int scale, int bilinear),
               (pixels, channels, length, y, y_channels, x, height, width, scale, bilinear))

// upsample_backward is its gradient. Pixels of dy are dy_channels apart.
template <class T, int V>
__device__ void upsample_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, int dy_channels, int height, int width, int scale, int bilinear) {
    Part at = part<V>(pixels, channels, length);
    dy += at.channel;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel in = place(p, height, width);
        Span rows = tapping(in.row, scale, height, bilinear), columns = tapping(in.column, scale, width, bilinear);
        Vec<V> sum = splat<V>(0);
        for (int i = rows.begin; i < rows.end; i++) {
            float vertical = tap_weight(in.row, i, scale, height, bilinear);
            const T* row = dy + offset(in.image, i, 0, height * scale, width * scale, dy_channels);
#pragma unroll 4
            for (int j = columns.begin; j < columns.end; j++) {
                float weight = vertical * tap_weight(in.column, j, scale, width, bilinear);
                Vec<V> d = load<V>(row + (int64)j * dy_channels);
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += weight * d[k];
            }
        }
        store<V>(dx + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(upsample_backward, (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, int dy_channels, int height, int width, int scale, int bilinear),
               (pixels, channels, length, dx, dy, dy_channels, height, width, scale, bilinear))

// mixed is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
__device__ inline uint64 mixed(uint64 z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

// dropout zeroes elements at a rate and scales the others by 1/(1-rate). What happens to
// an element depends on its planar index, the seed and the salt alone.
template <class T, int V>
__device__ void dropout(uint32 pixels, int channels, uint32 length, T* y, const T* x, int area, float rate, uint64 salt, const uint64* seed) {
    constexpr uint64 step = 0x9e3779b97f4a7c15ull;
    Part at = part<V>(pixels, channels, length);
    uint64 key = mixed((*seed ^ salt) + step);
    float scale = 1 / (1 - rate);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        int64 i = (int64)p * channels + at.channel;
        Vec<V> v = load<V>(x + i);
        uint64 planar = ((int64)(p / area) * channels + at.channel) * area + p % area;
#pragma unroll
        for (int k = 0; k < V; k++) {
            float chance = (float)(mixed(key + (planar + (int64)k * area + 1) * step) >> 40) / (1 << 24);
            v[k] = chance >= rate ? v[k] * scale : 0;
        }
        store<V>(y + i, v);
    }
}
VECTOR_KERNELS(dropout,
               (uint32 pixels, int channels, uint32 length, T* y, const T* x, int area, float rate, uint64 salt, const uint64* seed),
               (pixels, channels, length, y, x, area, rate, salt, seed))
