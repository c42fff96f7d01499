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

// covering are the windows, positions on an axis of the result, that cover a position of
// the input's.
__device__ inline Span covering(const Window& g, int position, int out_length) {
    int before = position + g.pad - g.size;
    return Span{before < 0 ? 0 : before / g.stride + 1, min((position + g.pad) / g.stride + 1, out_length)};
}

#define WINDOW_PARAMETERS int height, int width, int out_height, int out_width, int size, int stride, int pad
#define WINDOW_ARGUMENTS height, width, out_height, out_width, size, stride, pad

// max_pool is the maximum of every window; NaN wins.
template <class T, int V>
__device__ void max_pool(uint32 pixels, int channels, uint32 length, T* y, const T* x, Window g) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel out = place(p, g.out_height, g.out_width);
        Span rows = covered(g, out.row, g.height), columns = covered(g, out.column, g.width);
        Vec<V> most = load<V>(x + offset(out.image, rows.begin, columns.begin, g.height, g.width, channels) + at.channel);
        for (int h = rows.begin; h < rows.end; h++) {
            const T* row = x + offset(out.image, h, 0, g.height, g.width, channels) + at.channel;
#pragma unroll 3
            for (int w = columns.begin; w < columns.end; w++) {
                Vec<V> v = load<V>(row + (int64)w * channels);
#pragma unroll
                for (int i = 0; i < V; i++) most[i] = v[i] > most[i] || v[i] != v[i] ? v[i] : most[i];
            }
        }
        store<V>(y + (int64)p * channels + at.channel, most);
    }
}
VECTOR_KERNELS(max_pool, (uint32 pixels, int channels, uint32 length, T* y, const T* x, WINDOW_PARAMETERS),
               (pixels, channels, length, y, x, Window{WINDOW_ARGUMENTS}))

// max_pool_backward gives a position the dy of those windows whose first it is, in row
// order, that is not below the maximum.
template <class T, int V>
__device__ void max_pool_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, const T* x, const T* y, Window g) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel in = place(p, g.height, g.width);
        Span rows = covering(g, in.row, g.out_height), columns = covering(g, in.column, g.out_width);
        Vec<V> mine = load<V>(x + (int64)p * channels + at.channel), sum = splat<V>(0);
        for (int i = rows.begin; i < rows.end; i++) {
            for (int j = columns.begin; j < columns.end; j++) {
                int64 out = offset(in.image, i, j, g.out_height, g.out_width, channels) + at.channel;
                Vec<V> most = load<V>(y + out), d = load<V>(dy + out);
                uint32 first = 0;
#pragma unroll
                for (int k = 0; k < V; k++) first |= (mine[k] < most[k] ? 0u : 1u) << k;
                int from = max(i * g.stride - g.pad, 0);
                Span across = covered(g, j, g.width);
                for (int h = from; first && h <= in.row; h++) {
                    int end = h < in.row ? across.end : in.column;
                    const T* row = x + offset(in.image, h, 0, g.height, g.width, channels) + at.channel;
                    for (int w = across.begin; w < end; w++) {
                        Vec<V> before = load<V>(row + (int64)w * channels);
#pragma unroll
                        for (int k = 0; k < V; k++) first &= ~((before[k] < most[k] ? 0u : 1u) << k);
                    }
                }
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += first >> k & 1 ? d[k] : 0;
            }
        }
        store<V>(dx + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(max_pool_backward,
               (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, const T* x, const T* y, WINDOW_PARAMETERS),
               (pixels, channels, length, dx, dy, x, y, Window{WINDOW_ARGUMENTS}))

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

template <class T, int V>
__device__ void avg_pool_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, Window g, int count_pad) {
    Part at = part<V>(pixels, channels, length);
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel in = place(p, g.height, g.width);
        Span rows = covering(g, in.row, g.out_height), columns = covering(g, in.column, g.out_width);
        Vec<V> sum = splat<V>(0);
        for (int i = rows.begin; i < rows.end; i++) {
            const T* row = dy + offset(in.image, i, 0, g.out_height, g.out_width, channels) + at.channel;
            for (int j = columns.begin; j < columns.end; j++) {
                float factor = share(g, covered(g, i, g.height), covered(g, j, g.width), count_pad);
                Vec<V> d = load<V>(row + (int64)j * channels);
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += d[k] * factor;
            }
        }
        store<V>(dx + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(avg_pool_backward, (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, WINDOW_PARAMETERS, int count_pad),
               (pixels, channels, length, dx, dy, Window{WINDOW_ARGUMENTS}, count_pad))

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

// Taps are the two positions of a source axis between which a position of the enlarged
// one lies, half-pixel centres, clamped, and the weight of the second.
struct Taps {
    int low, high;
    float weight;
    __device__ float of(int position) const { return (position == low ? 1 - weight : 0) + (position == high ? weight : 0); }
};

__device__ inline Taps taps(int position, int scale, int length, int bilinear) {
    if (!bilinear) return Taps{position / scale, position / scale, 0};
    float at = max((position + 0.5f) * (1.0f / scale) - 0.5f, 0.0f);
    int low = min((int)at, length - 1);
    return Taps{low, min(low + 1, length - 1), at - low};
}

// tapping is a span of the enlarged axis that holds every position with a tap at a
// position of the source axis.
__device__ inline Span tapping(int position, int scale, int length, int bilinear) {
    if (!bilinear) return Span{position * scale, position * scale + scale};
    int before = scale * (2 * position - 1) - 1, behind = scale * (2 * position + 3);
    return Span{max((before + 2) >> 1, 0), min(behind / 2, scale * length)};
}

// upsample enlarges images of height x width by a scale.
template <class T, int V>
__device__ void upsample(uint32 pixels, int channels, uint32 length, T* y, const T* x, int height, int width, int scale, int bilinear) {
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
        store<V>(y + (int64)p * channels + at.channel, value);
    }
}
VECTOR_KERNELS(upsample, (uint32 pixels, int channels, uint32 length, T* y, const T* x, int height, int width, int scale, int bilinear),
               (pixels, channels, length, y, x, height, width, scale, bilinear))

template <class T, int V>
__device__ void upsample_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, int height, int width, int scale, int bilinear) {
    Part at = part<V>(pixels, channels, length);
    dy += at.channel;
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Pixel in = place(p, height, width);
        Span rows = tapping(in.row, scale, height, bilinear), columns = tapping(in.column, scale, width, bilinear);
        Vec<V> sum = splat<V>(0);
        for (int i = rows.begin; i < rows.end; i++) {
            float vertical = taps(i, scale, height, bilinear).of(in.row);
            const T* row = dy + offset(in.image, i, 0, height * scale, width * scale, channels);
#pragma unroll 4
            for (int j = columns.begin; j < columns.end; j++) {
                float weight = vertical * taps(j, scale, width, bilinear).of(in.column);
                Vec<V> d = load<V>(row + (int64)j * channels);
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += weight * d[k];
            }
        }
        store<V>(dx + (int64)p * channels + at.channel, sum);
    }
}
VECTOR_KERNELS(upsample_backward, (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, int height, int width, int scale, int bilinear),
               (pixels, channels, length, dx, dy, height, width, scale, bilinear))

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
