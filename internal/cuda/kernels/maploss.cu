// Distances between maps and entropies of maps, one block an image, so that sums are
// added in one order.
#include "common.cuh"

// each_pixel calls f with the values of one or two maps at the pixels of a thread.
template <int V, class F> __device__ void each_pixel(int plane, const float* map, F f) {
#pragma unroll 2
    for (int i = threadIdx.x * V; i < plane; i += blockDim.x * V) {
        Vec<V> x = load<V>(map + i);
#pragma unroll
        for (int k = 0; k < V; k++) f(x[k]);
    }
}

template <int V, class F> __device__ void each_pixel(int plane, const float* a, const float* b, F f) {
#pragma unroll 2
    for (int i = threadIdx.x * V; i < plane; i += blockDim.x * V) {
        Vec<V> x = load<V>(a + i), y = load<V>(b + i);
#pragma unroll
        for (int k = 0; k < V; k++) f(x[k], y[k]);
    }
}

// Density scales a map to sum 1, a map of zeros to a uniform one.
struct Density {
    float total, offset, scale;

    __device__ Density(float sum, int plane) : total(block_reduce<Sum>(sum)), offset(0), scale(1 / total) {
        if (total == 0) offset = 1, scale = 1.0f / plane;
    }
    __device__ float of(float v) const { return (v + offset) * scale; }
};

// Maps are an image's prediction and target. Where logits is set, the prediction is
// still to pass a sigmoid.
template <int V> struct Maps {
    const float* pred;
    const float* target;
    int plane;
    bool logits;

    __device__ Maps(int plane, int logits, const float* preds, const float* targets)
        : pred(preds + (int64)blockIdx.x * plane), target(targets + (int64)blockIdx.x * plane), plane(plane), logits(logits) {}

    __device__ float probability(float x) const { return logits ? sigmoid(x) : x; }

    template <class F> __device__ void each(F f) const {
        each_pixel<V>(plane, pred, target, [&](float x, float t) { f(probability(x), t); });
    }

    // mean is that of f(p, t).
    template <class F> __device__ float mean(F f) const { return sum(f) / plane; }

    template <class F> __device__ float sum(F f) const {
        float sum = 0;
        each([&](float p, float t) { sum += f(p, t); });
        return block_reduce<Sum>(sum);
    }
};

// A distance is made from two maps, whose statistics it keeps. It has a loss, and slopes
// by the prediction at each pixel, once it has prepared for them.

struct MeanSquare {
    int plane;

    template <int V> __device__ explicit MeanSquare(const Maps<V>& m) : plane(m.plane) {}
    template <int V> __device__ float loss(const Maps<V>& m) const {
        return m.mean([](float p, float t) { return (p - t) * (p - t); });
    }
    template <int V> __device__ void prepare(const Maps<V>&) {}
    __device__ float slope(float p, float t) const { return 2 * (p - t) / plane; }
};

// CrossEntropy is that of probabilities.
struct CrossEntropy {
    int plane;

    template <int V> __device__ explicit CrossEntropy(const Maps<V>& m) : plane(m.plane) {}
    __device__ static float bounded(float log) { return log < -100 ? -100 : log; }
    template <int V> __device__ float loss(const Maps<V>& m) const {
        return m.mean([](float p, float t) { return -t * bounded(logf(p)) - (1 - t) * bounded(log1pf(-p)); });
    }
    template <int V> __device__ void prepare(const Maps<V>&) {}
    __device__ float slope(float p, float t) const { return (p - t) / fmaxf(p * (1 - p), 1e-12f) / plane; }
};

// CrossEntropyOfLogits takes predictions as they are before their sigmoid, and its
// slopes are by those.
struct CrossEntropyOfLogits {
    int plane;

    template <int V> __device__ explicit CrossEntropyOfLogits(const Maps<V>& m) : plane(m.plane) {}
    template <int V> __device__ float loss(const Maps<V>& m) const {
        return m.mean([](float x, float t) { return fmaxf(x, 0) - x * t + log1pf(expf(-fabsf(x))); });
    }
    template <int V> __device__ void prepare(const Maps<V>&) {}
    __device__ float slope(float x, float t) const { return (sigmoid(x) - t) / plane; }
};

// Divergence is Kullback and Leibler's.
struct Divergence {
    static constexpr float EPSILON = 2.2204e-16f; // keeps the logarithm finite, as pysaliency does

    Density p, t;
    float common; // what every slope is less, for the prediction's scaling

    template <int V> __device__ explicit Divergence(const Maps<V>& m)
        : p(part(m, [](float p, float) { return p; }), m.plane), t(part(m, [](float, float t) { return t; }), m.plane), common(0) {}

    // part is a thread's part of the sum of f(p, t).
    template <int V, class F> __device__ static float part(const Maps<V>& m, F f) {
        float sum = 0;
        m.each([&](float p, float t) { sum += f(p, t); });
        return sum;
    }

    template <int V> __device__ float loss(const Maps<V>& m) const {
        return m.sum([&](float v, float w) {
            float q = p.of(v), u = t.of(w);
            return u * logf(EPSILON + u / (q + EPSILON));
        });
    }

    __device__ float density_slope(float q, float u) const { return -u * u / (EPSILON * (q + EPSILON) + u) / (q + EPSILON); }

    template <int V> __device__ void prepare(const Maps<V>& m) {
        common = m.sum([&](float v, float w) {
            float q = p.of(v);
            return density_slope(q, t.of(w)) * q;
        });
    }

    __device__ float slope(float v, float w) const {
        return p.total == 0 ? 0 : (density_slope(p.of(v), t.of(w)) - common) / p.total;
    }
};

// Correlation is 1 less Pearson's. Values are taken less those of the first pixel: sums
// of a constant map are zero then, and in float64 those of squares lose nothing.
struct Correlation {
    float first_p, first_t, mean_p, mean_t; // means of what is over the first
    float r, of_p, of_t;                    // zero where a map is constant

    template <int V> __device__ explicit Correlation(const Maps<V>& m) : first_p(m.probability(m.pred[0])), first_t(m.target[0]) {
        double p = 0, t = 0, pp = 0, tt = 0, pt = 0;
        m.each([&](float v, float w) {
            double a = v - first_p, b = w - first_t;
            p += a, t += b, pp += a * a, tt += b * b, pt += a * b;
        });
        p = block_reduce<Sum>(p) / m.plane;
        t = block_reduce<Sum>(t) / m.plane;
        pp = block_reduce<Sum>(pp) - m.plane * p * p;
        tt = block_reduce<Sum>(tt) - m.plane * t * t;
        bool constant = pp <= 0 || tt <= 0; // NaN is not
        double spread = sqrt(pp * tt), correlation = (block_reduce<Sum>(pt) - m.plane * p * t) / spread;
        mean_p = (float)p, mean_t = (float)t;
        r = constant ? 0 : (float)correlation;
        of_p = constant ? 0 : (float)(correlation / pp);
        of_t = constant ? 0 : (float)(1 / spread);
    }
    template <int V> __device__ float loss(const Maps<V>&) const { return 1 - r; }
    template <int V> __device__ void prepare(const Maps<V>&) {}
    __device__ float slope(float p, float t) const { return of_p * (p - first_p - mean_p) - of_t * (t - first_t - mean_t); }
};

template <class Distance, int V> __device__ void map_loss(const Maps<V>& m, float* loss) {
    float value = Distance(m).loss(m);
    if (threadIdx.x == 0) loss[blockIdx.x] = value;
}

template <class Distance, int V> __device__ void map_loss_backward(const Maps<V>& m, float* dpreds, const float* dloss) {
    Distance distance(m);
    distance.prepare(m);
    float scale = dloss[blockIdx.x];
    float* dpred = dpreds + (int64)blockIdx.x * m.plane;
    for (int i = threadIdx.x * V; i < m.plane; i += blockDim.x * V) {
        Vec<V> x = load<V>(m.pred + i), t = load<V>(m.target + i);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float p = m.probability(x[k]), slope = scale * distance.slope(p, t[k]);
            x[k] = m.logits ? slope * p * sigmoid(-x[k]) : slope;
        }
        store(dpred + i, x);
    }
}

// Blocks of these kernels may have 1024 threads.
#define MAP_KERNEL extern "C" __global__ void __launch_bounds__(1024, 1)

#define MAP_LOSS_OF_WIDTH(kind, Distance, V)                                                                        \
    MAP_KERNEL map_loss_##kind##_f32_v##V(int plane, int logits, float* loss, const float* pred, const float* target) { \
        map_loss<Distance>(Maps<V>(plane, logits, pred, target), loss);                                             \
    }                                                                                                               \
    MAP_KERNEL map_loss_##kind##_backward_f32_v##V(int plane, int logits, float* dpred, const float* dloss,         \
                                                   const float* pred, const float* target) {                        \
        map_loss_backward<Distance>(Maps<V>(plane, logits, pred, target), dpred, dloss);                            \
    }

#define MAP_LOSS(kind, Distance)         \
    MAP_LOSS_OF_WIDTH(kind, Distance, 4) \
    MAP_LOSS_OF_WIDTH(kind, Distance, 1)

MAP_LOSS(mse, MeanSquare)
MAP_LOSS(bce, CrossEntropy)
MAP_LOSS(bce_of_logits, CrossEntropyOfLogits)
MAP_LOSS(kl, Divergence)
MAP_LOSS(cc, Correlation)

// Entropy is that of a map scaled to sum 1: log(total) - sum of v log v / total.
struct Entropy {
    float total, value;
    float mean_log; // of the map's values, weighted by themselves

    template <int V> __device__ static Entropy of(int plane, const float* map) {
        float sum = 0, weighted = 0;
        each_pixel<V>(plane, map, [&](float v) {
            sum += v;
            weighted += v != 0 ? v * logf(v) : 0;
        });
        float total = block_reduce<Sum>(sum), mean_log = block_reduce<Sum>(weighted) / total;
        return {total, total != 0 ? logf(total) - mean_log : logf(plane), mean_log};
    }
};

template <int V> __device__ void entropy(int plane, float* entropies, const float* maps) {
    Entropy e = Entropy::of<V>(plane, maps + (int64)blockIdx.x * plane);
    if (threadIdx.x == 0) entropies[blockIdx.x] = e.value;
}

// entropy_backward is dmap = -dentropy*(log(v/total) + entropy)/total, 0 at zeros; the
// logarithm of the total cancels.
template <int V> __device__ void entropy_backward(int plane, float* dmaps, const float* dentropies, const float* maps) {
    const float* map = maps + (int64)blockIdx.x * plane;
    float* dmap = dmaps + (int64)blockIdx.x * plane;
    Entropy e = Entropy::of<V>(plane, map);
    float scale = -dentropies[blockIdx.x] / e.total;
    for (int i = threadIdx.x * V; i < plane; i += blockDim.x * V) {
        Vec<V> v = load<V>(map + i);
#pragma unroll
        for (int k = 0; k < V; k++) v[k] = e.total != 0 && v[k] != 0 ? scale * (logf(v[k]) - e.mean_log) : 0;
        store(dmap + i, v);
    }
}

#define ENTROPY_OF_WIDTH(V)                                                                    \
    MAP_KERNEL entropy_f32_v##V(int plane, float* entropies, const float* maps) {              \
        entropy<V>(plane, entropies, maps);                                                    \
    }                                                                                          \
    MAP_KERNEL entropy_backward_f32_v##V(int plane, float* dmaps, const float* dentropies, const float* maps) { \
        entropy_backward<V>(plane, dmaps, dentropies, maps);                                   \
    }

ENTROPY_OF_WIDTH(4)
ENTROPY_OF_WIDTH(1)
