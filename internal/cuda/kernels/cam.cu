// Class activation maps: the features at each pixel times the weights of a class, scaled
// image by image to [0, 1].
#include "common.cuh"

// A warp sums over the channels of PIXELS pixels at once, so that it reads the weights
// once for all of them.
enum : int { PIXELS = 4 };

// cam_raw is raw[n, i] = sum over c of w[class[n], c] * f[n, i, c], and 0 where an image
// has no class.
template <class T, int V>
__device__ void cam_raw(int plane, int channels, int classes, float* raw, const T* f, const float* w, const float* classes_of) {
    int n = blockIdx.y, first = (int)(thread_index() / WARP) * PIXELS, lane = threadIdx.x % WARP;
    if (first >= plane) return;
    int k = class_index(classes_of[n], classes);
    f += (int64)n * plane * channels;
    w += (int64)k * channels;
    float sums[PIXELS] = {};
    for (int c = lane * V; k >= 0 && c < channels; c += WARP * V) {
        Vec<V> weights = load<V>(w + c);
#pragma unroll
        for (int p = 0; p < PIXELS; p++) {
            Vec<V> x = load<V>(f + (int64)min(first + p, plane - 1) * channels + c);
#pragma unroll
            for (int i = 0; i < V; i++) sums[p] += weights[i] * x[i];
        }
    }
#pragma unroll
    for (int p = 0; p < PIXELS; p++) {
        float sum = warp_reduce<Sum>(sums[p]);
        if (lane == 0 && first + p < plane) raw[(int64)n * plane + first + p] = sum;
    }
}
VECTOR_KERNELS(cam_raw, (int plane, int channels, int classes, float* raw, const T* f, const float* w, const float* classes_of),
               (plane, channels, classes, raw, f, w, classes_of))

// A number with its position as one key: keys of larger numbers are larger, and of equal
// numbers the first position is the lowest, or with the position inverted the highest.
__device__ inline uint64 key(float x, uint32 position) {
    uint32 bits = float_to_bits(x);
    uint32 ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64)ordered << 32 | position;
}

struct Lowest {
    __device__ static uint64 none() { return ~0ull; }
    __device__ static uint64 of(uint64 a, uint64 b) { return a < b ? a : b; }
};

struct Highest {
    __device__ static uint64 none() { return 0; }
    __device__ static uint64 of(uint64 a, uint64 b) { return a > b ? a : b; }
};

// Range is an image's map before scaling: where its minimum and maximum first are, and
// how far apart they are.
struct Range {
    int low_at, high_at;
    float low, span;

    __device__ Range(int plane, const float* raw) {
        uint64 lowest = Lowest::none(), highest = Highest::none();
        for (int i = threadIdx.x; i < plane; i += blockDim.x) {
            lowest = Lowest::of(lowest, key(raw[i], i));
            highest = Highest::of(highest, key(raw[i], ~i));
        }
        low_at = (int)block_reduce<Lowest>(lowest);
        high_at = ~(int)block_reduce<Highest>(highest);
        low = raw[low_at];
        span = raw[high_at] - low;
    }
};

// cam_scale scales each image's map in place; a constant map becomes zeros.
extern "C" __global__ void cam_scale(int plane, float* maps) {
    float* map = maps + (int64)blockIdx.x * plane;
    Range range(plane, map);
    __syncthreads(); // all have read the extremes
    for (int i = threadIdx.x; i < plane; i += blockDim.x) map[i] = range.span > 0 ? (map[i] - range.low) / range.span : 0;
}

// cam_slopes turns each image's map before scaling into the gradient by it. The
// extremes are 0 and 1 whatever the map: what pulls at them, which may be much, goes
// nowhere, and they take what scaling passes to them of the others.
extern "C" __global__ void cam_slopes(int plane, float* maps, const float* dcam) {
    float* map = maps + (int64)blockIdx.x * plane;
    dcam += (int64)blockIdx.x * plane;
    Range range(plane, map);
    __syncthreads(); // all have read the extremes
    float low = 0, high = 0;
    for (int i = threadIdx.x; i < plane; i += blockDim.x) {
        if (!(range.span > 0)) {
            map[i] = 0;
        } else if (i != range.low_at && i != range.high_at) {
            float slope = dcam[i] / range.span, cam = (map[i] - range.low) / range.span;
            map[i] = slope;
            low += slope * (cam - 1);
            high -= slope * cam;
        }
    }
    low = block_reduce<Sum>(low);
    high = block_reduce<Sum>(high);
    if (threadIdx.x == 0 && range.span > 0) map[range.low_at] = low, map[range.high_at] = high;
}

// cam_backward_features is df[n, i, c] = slopes[n, i] * w[class[n], c].
template <class T, int V>
__device__ void cam_backward_features(int plane, int channels, int classes, T* df, const float* slopes, const float* w, const float* classes_of) {
    int n = blockIdx.y, vectors = channels / V;
    int64 i = thread_index();
    if (i >= (int64)plane * vectors) return;
    int k = class_index(classes_of[n], classes), pixel = (int)((uint32)i / vectors), c = (int)((uint32)i % vectors) * V;
    Vec<V> d = splat<V>(0);
    if (k >= 0) {
        float slope = slopes[(int64)n * plane + pixel];
        d = load<V>(w + (int64)k * channels + c);
#pragma unroll
        for (int v = 0; v < V; v++) d[v] *= slope;
    }
    store(df + ((int64)n * plane + pixel) * channels + c, d);
}
VECTOR_KERNELS(cam_backward_features, (int plane, int channels, int classes, T* df, const float* slopes, const float* w, const float* classes_of),
               (plane, channels, classes, df, slopes, w, classes_of))

// cam_image_weights is the part of an image in the gradient by its class's weights:
// parts[n, c] = sum over i of slopes[n, i] * f[n, i, c].
template <class T, int V> __device__ void cam_image_weights(int plane, int channels, float* parts, const float* slopes, const T* f) {
    int n = blockIdx.y, c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    Vec<V> sum = splat<V>(0);
#pragma unroll 4
    for (int i = threadIdx.y; c < channels && i < plane; i += blockDim.y) {
        int64 pixel = (int64)n * plane + i;
        Vec<V> x = load<V>(f + pixel * channels + c);
        float slope = slopes[pixel];
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += slope * x[v];
    }
    sum_rows(sum);
    if (c < channels && threadIdx.y == 0) store(parts + (int64)n * channels + c, sum);
}
VECTOR_KERNELS(cam_image_weights, (int plane, int channels, float* parts, const float* slopes, const T* f),
               (plane, channels, parts, slopes, f))

// cam_backward_weights is dw[k, c] = sum of parts[n, c] over the images of class k.
extern "C" __global__ void cam_backward_weights(int images, int channels, float* dw, const float* parts, const float* classes_of) {
    int k = blockIdx.y, c = blockIdx.x * blockDim.x + threadIdx.x;
    Vec<1> sum = {};
    for (int n = threadIdx.y; c < channels && n < images; n += blockDim.y) {
        if (class_index(classes_of[n], gridDim.y) == k) sum[0] += parts[(int64)n * channels + c];
    }
    sum_rows(sum);
    if (c < channels && threadIdx.y == 0) dw[(int64)k * channels + c] = sum[0];
}
