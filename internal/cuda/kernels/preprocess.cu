// Images and maps as a network sees them: views of their pixels, antialiased.
#include "common.cuh"

typedef unsigned char uint8;

// Span is the part of an axis of pixels that is seen.
struct Span {
    double centre, side;
};

// View is an image or a map with the window onto it. kernels.View writes it.
struct View {
    const void* pixels;
    Span x, y;
    int width, height, flags;
    float gain[3], mean[3], scale[3];  // of the channels
};

enum { BACKWARDS_X = 1, BACKWARDS_Y = 2, TRANSPOSED = 4 };

// reflected folds a coordinate into [0, n] as if mirrors stood at both ends.
__device__ inline double reflected(double x, int n) {
    x = fabs(x);
    x -= floor(x / (2 * n)) * (2 * n);
    return x > n ? 2 * n - x : x;
}

// Triangle and Area are filters: how a place that covers step pixels weighs the k-th from
// the first that it may see. The place is centre from the left of that one.
struct Triangle {
    float centre, slope;
    __device__ static double support(double step) { return max(step, 1.0); }
    __device__ Triangle(double centre, double step) : centre((float)centre), slope(1 / (float)support(step)) {}
    __device__ float weight(int k) const { return fmaxf(1 - fabsf(k + 0.5f - centre) * slope, 0); }
};

struct Area {
    Triangle within;  // of a pixel
    float left, right;
    bool narrow;
    __device__ static double support(double step) { return step < 1 ? Triangle::support(step) : step / 2 + 0.5; }
    __device__ Area(double centre, double step)
        : within(centre, step), left((float)(centre - step / 2)), right((float)(centre + step / 2)), narrow(step < 1) {}
    __device__ float weight(int k) const {
        return narrow ? within.weight(k) : fmaxf(fminf(k + 1.0f, right) - fmaxf((float)k, left), 0);
    }
};

// Taps are the pixels along an axis that a position of the result is the mean of.
template <class Filter> struct Taps {
    int first, count;
    Filter filter;
    __device__ Taps(int first, int end, double centre, double step) : first(first), count(end - first), filter(centre - first, step) {}
    __device__ float weight(int k) const { return filter.weight(k); }
};

// taps are those of one of `out` positions that are spread over a span of n pixels.
template <class Filter> __device__ Taps<Filter> taps(Span s, bool backwards, int n, int position, int out) {
    double step = s.side / out, support = Filter::support(step);
    if (backwards) position = out - 1 - position;
    double centre = reflected(s.centre + ((position + 0.5) / out - 0.5) * s.side, n);
    return Taps<Filter>(max((int)(centre - support + 0.5), 0), min((int)(centre + support + 0.5), n), centre, step);
}

// seen is the mean, by a filter, of the pixels of C channels that a position of the
// result shows.
template <class Filter, int C, class P> __device__ Vec<C> seen(const View& v, int row, int column, int height, int width) {
    bool transposed = v.flags & TRANSPOSED;
    Taps<Filter> x = taps<Filter>(v.x, v.flags & BACKWARDS_X, v.width, transposed ? row : column, transposed ? height : width);
    Taps<Filter> y = taps<Filter>(v.y, v.flags & BACKWARDS_Y, v.height, transposed ? column : row, transposed ? width : height);
    const P* pixels = static_cast<const P*>(v.pixels) + ((int64)y.first * v.width + x.first) * C;
    Vec<C> sum = splat<C>(0);
    float total = 0;
    for (int j = 0; j < y.count; j++, pixels += (int64)v.width * C) {
        float of_row = y.weight(j);
        for (int k = 0; k < x.count; k++) {
            float weight = of_row * x.weight(k);
            total += weight;
#pragma unroll
            for (int c = 0; c < C; c++) sum[c] += weight * pixels[k * C + c];
        }
    }
#pragma unroll
    for (int c = 0; c < C; c++) sum[c] /= total;
    return sum;
}

// drawn is the number of channels that a drawn pixel of a type has: an image's own, or so
// many, 0 behind those, as fill a vector of bfloat16.
template <class T> constexpr int drawn = 3;
template <> constexpr int drawn<bf16> = 8;

// draw_images draws three channels of bytes. A thread computes a pixel, z counts images.
template <class T> __device__ void draw_images(int height, int width, T* y, const View* views) {
    int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x, image = blockIdx.z;
    if (row >= height || column >= width) return;
    const View v = views[image];
    Vec<3> mean = seen<Triangle, 3, uint8>(v, row, column, height, width);
    Vec<drawn<T>> pixel = splat<drawn<T>>(0);
#pragma unroll
    for (int c = 0; c < 3; c++) pixel[c] = (fminf(mean[c] * v.gain[c], 1) - v.mean[c]) * v.scale[c];
    store<drawn<T>>(y + offset(image, row, column, height, width, drawn<T>), pixel);
}
KERNELS(draw_images, (int height, int width, T* y, const View* views), (height, width, y, views))

// draw_maps draws one channel of float32.
extern "C" __global__ void draw_maps(int height, int width, float* y, const View* views) {
    int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x, image = blockIdx.z;
    if (row >= height || column >= width) return;
    const View v = views[image];
    y[offset(image, row, column, height, width, 1)] = seen<Area, 1, float>(v, row, column, height, width)[0];
}
