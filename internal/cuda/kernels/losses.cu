// The sigmoid, losses of rows of logits, weights of samples, and the mean that training
// descends.
#include "common.cuh"

// each_of applies f to the elements of vectors.
template <int V, class F, class... W> __device__ Vec<V> each_of(F f, const W&... w) {
    Vec<V> y;
#pragma unroll
    for (int k = 0; k < V; k++) y[k] = f(w[k]...);
    return y;
}

// each_element is y = f(x...), a vector of the n elements a thread.
template <class F, class... X> __device__ void each_element(int64 n, float* y, F f, const X*... x) {
    constexpr int V = width<float>;
    int64 i = thread_index() * V;
    if (i < n) store<V>(y + i, each_of<V>(f, load<V>(x + i, n - i)...), n - i);
}

// sigmoid_f32 is y = 1/(1+exp(-x)).
extern "C" __global__ void sigmoid_f32(int64 n, float* y, const float* x) { each_element(n, y, sigmoid, x); }

// sigmoid_backward_f32 is dx = dy*y*(1-y).
extern "C" __global__ void sigmoid_backward_f32(int64 n, float* dx, const float* dy, const float* y) {
    each_element(n, dx, [](float d, float y) { return d * y * (1 - y); }, dy, y);
}

// Row is a row of logits, which a warp's lanes share.
struct Row {
    const float* logits;
    int classes;

    __device__ float highest() const {
        float high = Max::none();
        for (int k = threadIdx.x % WARP; k < classes; k += WARP) high = fmaxf(high, logits[k]);
        return warp_reduce<Max>(high);
    }

    // total is the sum of exp(logit - high); in float64, which keeps what little the
    // others add to the highest's 1.
    __device__ double total(float high) const {
        double sum = 0;
        for (int k = threadIdx.x % WARP; k < classes; k += WARP) sum += expf(logits[k] - high);
        return warp_reduce<Sum>(sum);
    }
};

// row_of_warp is the row that a warp takes, perhaps beyond the last.
__device__ inline int row_of_warp() { return (int)(thread_index() / WARP); }

// argmax is the index of the largest of each row, the first of equals.
extern "C" __global__ void argmax(int n, int classes, float* index, const float* logits) {
    int i = row_of_warp();
    if (i >= n) return;
    const float* row = logits + (int64)i * classes;
    float high = row[0];
    int best = 0;
    for (int k = threadIdx.x % WARP; k < classes; k += WARP) {
        if (row[k] > high) high = row[k], best = k;
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        float value = __shfl_xor_sync(EVERY_LANE, high, step);
        int at = __shfl_xor_sync(EVERY_LANE, best, step);
        if (value > high || (value == high && at < best)) high = value, best = at;
    }
    if (threadIdx.x % WARP == 0) index[i] = best;
}

// cross_entropy is -log softmax(logits)[label] of each row, 0 without a label.
extern "C" __global__ void cross_entropy(int n, int classes, float* loss, const float* logits, const float* labels) {
    int i = row_of_warp();
    if (i >= n) return;
    Row row = {logits + (int64)i * classes, classes};
    int label = class_index(labels[i], classes);
    float high = row.highest();
    float others = (float)(row.total(high) - 1);
    if (threadIdx.x % WARP == 0) loss[i] = label < 0 ? 0 : log1pf(others) + (high - row.logits[label]);
}

// cross_entropy_backward is dlogits = dloss*(softmax - onehot).
extern "C" __global__ void cross_entropy_backward(int n, int classes, float* dlogits, const float* dloss, const float* logits, const float* labels) {
    int i = row_of_warp();
    if (i >= n) return;
    Row row = {logits + (int64)i * classes, classes};
    int label = class_index(labels[i], classes);
    float high = row.highest();
    double total = row.total(high);
    float scale = label < 0 ? 0 : (float)(dloss[i] / total);
    for (int k = threadIdx.x % WARP; k < classes; k += WARP) {
        float share = expf(row.logits[k] - high);
        if (k == label) share = (float)(share - total);
        dlogits[(int64)i * classes + k] = label < 0 ? 0 : scale * share;
    }
}

// contrast is each row of w (classes, n) less the mean of the others.
extern "C" __global__ void contrast(int classes, int n, float* y, const float* w) {
    __shared__ float totals[WARP];
    int i = blockIdx.x * WARP + threadIdx.x;
    Vec<1> sum = {};
#pragma unroll 4
    for (int k = threadIdx.y; i < n && k < classes; k += blockDim.y) sum[0] += w[(int64)k * n + i];
    sum_rows(sum);
    if (threadIdx.y == 0) totals[threadIdx.x] = sum[0];
    __syncthreads();
    float total = totals[threadIdx.x];
    for (int k = threadIdx.y; i < n && k < classes; k += blockDim.y) {
        float own = w[(int64)k * n + i];
        y[(int64)k * n + i] = own - (total - own) / (classes - 1);
    }
}

// balance is the weight of each of n samples in the first or in the second of two
// losses: with share = sum of weight*second / sum of weight*(first+second), or 0 where
// that sum is, it is 1 - share in the first, share*weight in the second.
extern "C" __global__ void balance(int n, int of_second, float* weights, const float* first, const float* second, const float* weight) {
    double a = 0, b = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        a += (double)weight[i] * first[i];
        b += (double)weight[i] * second[i];
    }
    a = block_reduce<Sum>(a);
    b = block_reduce<Sum>(b);
    float share = a + b != 0 ? (float)(b / (a + b)) : 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) weights[i] = of_second ? share * weight[i] : 1 - share;
}

// The most terms that weighted_mean takes.
enum : int { TERMS = 8 };

// weighted_mean is loss = sum over terms of values*weights / n, added to what is there
// where add is set.
extern "C" __global__ void weighted_mean(int n, int terms, int add, float* loss,
                                         const float* values0, const float* weights0, const float* values1, const float* weights1,
                                         const float* values2, const float* weights2, const float* values3, const float* weights3,
                                         const float* values4, const float* weights4, const float* values5, const float* weights5,
                                         const float* values6, const float* weights6, const float* values7, const float* weights7) {
    const float* values[TERMS] = {values0, values1, values2, values3, values4, values5, values6, values7};
    const float* weights[TERMS] = {weights0, weights1, weights2, weights3, weights4, weights5, weights6, weights7};
    double sum = 0;
#pragma unroll
    for (int t = 0; t < TERMS; t++) {
        if (t >= terms) continue;
        for (int i = threadIdx.x; i < n; i += blockDim.x) sum += (double)values[t][i] * weights[t][i];
    }
    sum = block_reduce<Sum>(sum) / n;
    if (threadIdx.x == 0) *loss = (float)(add ? *loss + sum : sum);
}

// weighted_mean_backward is dvalues = dloss*weights/n.
extern "C" __global__ void weighted_mean_backward(int n, float* dvalues, const float* dloss, const float* weights) {
    int64 i = thread_index();
    if (i < n) dvalues[i] = *dloss * weights[i] / n;
}
