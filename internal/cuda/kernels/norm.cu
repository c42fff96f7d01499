// What knows channels and nothing of where pixels lie: batch norm, biases.
//
// Sums over pixels take two steps, each in a fixed order: every block leaves those of its
// chunk of pixels in partial, (chunks, sums, channels), and a second kernel combines the
// chunks.
#include "common.cuh"

// BATCH pixels of a thread are loaded before the first is stored.
constexpr int BATCH = 2;

// Moments are the number, mean and sum of squared deviations of V channels' values.
template <int V> struct Moments {
    float count;
    Vec<V> mean, squares;
};

// pooled are the moments of a block's rows together, for row 0. They are summed about the
// mean of row 0, which is near the whole's, so that float32 suffices.
template <int V> __device__ Moments<V> pooled(Moments<V> of) {
    __shared__ float pivots[V][256];
    __syncthreads();
    if (threadIdx.y == 0) {
#pragma unroll
        for (int i = 0; i < V; i++) pivots[i][threadIdx.x] = of.mean[i];
    }
    __syncthreads();
    Vec<1> count = splat<1>(of.count);
    Vec<V> pivot;
#pragma unroll
    for (int i = 0; i < V; i++) {
        pivot[i] = pivots[i][threadIdx.x];
        float apart = of.mean[i] - pivot[i];
        of.mean[i] = of.count > 0 ? of.count * apart : 0;
        of.squares[i] += of.count > 0 ? of.count * apart * apart : 0;
    }
    sum_rows(count);
    sum_rows(of.mean);
    sum_rows(of.squares);
    of.count = count[0];
#pragma unroll
    for (int i = 0; i < V; i++) {
        float apart = of.count > 0 ? of.mean[i] / of.count : 0;
        of.squares[i] -= of.count * apart * apart;
        of.mean[i] = pivot[i] + apart;
    }
    return of;
}

// batch_norm_moments leaves mean and squared deviations of each chunk of x. A thread sums
// about its first value.
template <class T, int V> __device__ void batch_norm_moments(uint32 pixels, int channels, uint32 length, float* partial, const T* x) {
    Part at = part<V>(pixels, channels, length);
    x += at.channel;
    Moments<V> m{0, splat<V>(0), splat<V>(0)};
    Vec<V> pivot = splat<V>(0);
    if (at.has(at.pixel)) pivot = load<V>(x + (int64)at.pixel * channels);
#pragma unroll 4
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Vec<V> v = load<V>(x + (int64)p * channels);
#pragma unroll
        for (int i = 0; i < V; i++) {
            float apart = v[i] - pivot[i];
            m.mean[i] += apart;
            m.squares[i] += apart * apart;
        }
        m.count++;
    }
#pragma unroll
    for (int i = 0; i < V; i++) {
        float apart = m.count > 0 ? m.mean[i] / m.count : 0;
        m.squares[i] -= m.count * apart * apart;
        m.mean[i] = pivot[i] + apart;
    }
    m = pooled(m);
    if (at.inside && threadIdx.y == 0) {
        partial += (int64)blockIdx.x * 2 * channels + at.channel;
        store<V>(partial, m.mean);
        store<V>(partial + channels, m.squares);
    }
}
VECTOR_KERNELS(batch_norm_moments, (uint32 pixels, int channels, uint32 length, float* partial, const T* x),
               (pixels, channels, length, partial, x))

// batch_norm_statistics pools the moments of all chunks: mean, rstd = 1/sqrt(var + eps),
// and the running statistics, which move by momentum, the variance unbiased.
extern "C" __global__ void batch_norm_statistics(uint32 pixels, int channels, uint32 length, int chunks, float* mean, float* rstd,
                                                 float* running_mean, float* running_variance, const float* partial,
                                                 float eps, float momentum) {
    Part at = part<1>(chunks, channels, chunks);
    Moments<1> m{0, splat<1>(0), splat<1>(0)};
    float pivot = at.has(at.pixel) ? partial[(int64)at.pixel * 2 * channels + at.channel] : 0;
#pragma unroll 4
    for (uint32 chunk = at.pixel; chunk < at.end; chunk += blockDim.y) {
        const float* of = partial + (int64)chunk * 2 * channels + at.channel;
        float count = min(length, pixels - chunk * length);
        float apart = of[0] - pivot;
        m.count += count;
        m.mean[0] += count * apart;
        m.squares[0] += of[channels] + count * apart * apart;
    }
    if (m.count > 0) {
        float apart = m.mean[0] / m.count;
        m.squares[0] -= m.count * apart * apart;
        m.mean[0] = pivot + apart;
    }
    m = pooled(m);
    if (!at.inside || threadIdx.y > 0) return;
    int c = at.channel;
    float squares = max(m.squares[0], 0.0f);
    mean[c] = m.mean[0];
    rstd[c] = 1 / sqrtf(squares / pixels + eps);
    running_mean[c] += momentum * (m.mean[0] - running_mean[c]);
    if (pixels > 1) running_variance[c] += momentum * (squares / (pixels - 1) - running_variance[c]);
}

// normalised is what batch norm makes of a value. Forward and backward pass must agree
// to the bit on where a ReLU's mask is.
__device__ inline float normalised(float x, float mean, float scale, float beta) { return fmaf(x - mean, scale, beta); }

// normalise is y = [relu](scale (x - mean) + beta + [residual]).
template <class T, int V>
__device__ void normalise(Part at, int channels, T* y, const T* x, const T* residual, int relu, Vec<V> mean, Vec<V> scale, Vec<V> beta) {
    for (uint32 p = at.pixel; p < at.end; p += BATCH * blockDim.y) {
        Vec<V> v[BATCH], r[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            uint32 pixel = p + b * blockDim.y;
            if (!at.has(pixel)) break;
            int64 i = (int64)pixel * channels + at.channel;
            v[b] = load<V>(x + i);
            r[b] = residual ? load<V>(residual + i) : splat<V>(0);
        }
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            uint32 pixel = p + b * blockDim.y;
            if (!at.has(pixel)) break;
#pragma unroll
            for (int i = 0; i < V; i++) {
                float z = normalised(v[b][i], mean[i], scale[i], beta[i]) + r[b][i];
                v[b][i] = relu && z < 0 ? 0 : z;
            }
            store<V>(y + (int64)pixel * channels + at.channel, v[b]);
        }
    }
}

template <class T, int V>
__device__ void batch_norm_train(uint32 pixels, int channels, uint32 length, T* y, const T* x, const T* residual, int relu,
                                 const float* gamma, const float* beta, const float* mean, const float* rstd) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> scale = load<V>(gamma + at.channel), r = load<V>(rstd + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= r[i];
    normalise<T, V>(at, channels, y, x, residual, relu, load<V>(mean + at.channel), scale, load<V>(beta + at.channel));
}
VECTOR_KERNELS(batch_norm_train,
               (uint32 pixels, int channels, uint32 length, T* y, const T* x, const T* residual, int relu, const float* gamma,
                const float* beta, const float* mean, const float* rstd),
               (pixels, channels, length, y, x, residual, relu, gamma, beta, mean, rstd))

template <class T, int V>
__device__ void batch_norm_eval(uint32 pixels, int channels, uint32 length, T* y, const T* x, const T* residual, int relu,
                                const float* gamma, const float* beta, const float* mean, const float* variance, float eps) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> scale = load<V>(gamma + at.channel), v = load<V>(variance + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= 1 / sqrtf(v[i] + eps);
    normalise<T, V>(at, channels, y, x, residual, relu, load<V>(mean + at.channel), scale, load<V>(beta + at.channel));
}
VECTOR_KERNELS(batch_norm_eval,
               (uint32 pixels, int channels, uint32 length, T* y, const T* x, const T* residual, int relu, const float* gamma,
                const float* beta, const float* mean, const float* variance, float eps),
               (pixels, channels, length, y, x, residual, relu, gamma, beta, mean, variance, eps))

// inverse_deviation is rstd = 1/sqrt(variance + eps).
extern "C" __global__ void inverse_deviation(int64 n, float* rstd, const float* variance, float eps) {
    int64 i = thread_index();
    if (i < n) rstd[i] = 1 / sqrtf(variance[i] + eps);
}

// Gradient is dy of a batch norm, 0 where the ReLU behind it gave 0. The ReLU's result
// is y, or computed again from x where beta is given; there was none where neither is.
template <class T, int V> struct Gradient {
    const T *dy, *x, *y;
    bool again;
    Vec<V> mean, scale, beta;

    __device__ Gradient(int channel, const T* dy, const T* x, const T* y, const float* gamma, const float* beta, const float* mean, const float* rstd)
        : dy(dy + channel), x(x ? x + channel : nullptr), y(y ? y + channel : nullptr), again(beta != nullptr) {
        this->mean = load<V>(mean + channel);
        this->scale = load<V>(gamma + channel);
        this->beta = splat<V>(0);
        if (!again) return;
        this->beta = load<V>(beta + channel);
        Vec<V> r = load<V>(rstd + channel);
#pragma unroll
        for (int i = 0; i < V; i++) this->scale[i] *= r[i];
    }

    // at reads the gradient at an offset, and how far x is from its mean.
    __device__ void at(int64 offset, Vec<V>& d, Vec<V>& apart) const {
        d = load<V>(dy + offset);
        Vec<V> v = x ? load<V>(x + offset) : mean;
        if (y) {
            Vec<V> passed = load<V>(y + offset);
#pragma unroll
            for (int i = 0; i < V; i++) d[i] = passed[i] <= 0 ? 0 : d[i];
        } else if (again) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float passed = to_float(rounded<T>(normalised(v[i], mean[i], scale[i], beta[i])));
                d[i] = passed <= 0 ? 0 : d[i];
            }
        }
#pragma unroll
        for (int i = 0; i < V; i++) apart[i] = v[i] - mean[i];
    }
};

// batch_norm_gradient_sums leaves the sums of the gradient and of its products with
// x - mean of each chunk, and the gradient itself in dresidual, if that is given.
template <class T, int V>
__device__ void batch_norm_gradient_sums(uint32 pixels, int channels, uint32 length, float* partial, T* dresidual, const T* dy, const T* x,
                                         const T* y, const float* gamma, const float* beta, const float* mean, const float* rstd) {
    Part at = part<V>(pixels, channels, length);
    Gradient<T, V> gradient(at.channel, dy, x, y, gamma, beta, mean, rstd);
    Vec<V> sum = splat<V>(0), dot = splat<V>(0);
#pragma unroll 2
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        int64 offset = (int64)p * channels;
        Vec<V> d, apart;
        gradient.at(offset, d, apart);
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum[i] += d[i];
            dot[i] += d[i] * apart[i];
        }
        if (dresidual) store<V>(dresidual + offset + at.channel, d);
    }
    sum_rows(sum);
    sum_rows(dot);
    if (at.inside && threadIdx.y == 0) {
        partial += (int64)blockIdx.x * 2 * channels + at.channel;
        store<V>(partial, sum);
        store<V>(partial + channels, dot);
    }
}
VECTOR_KERNELS(batch_norm_gradient_sums,
               (uint32 pixels, int channels, uint32 length, float* partial, T* dresidual, const T* dy, const T* x, const T* y,
                const float* gamma, const float* beta, const float* mean, const float* rstd),
               (pixels, channels, length, partial, dresidual, dy, x, y, gamma, beta, mean, rstd))

// sum_over_chunks adds one of several sums of every chunk, for row 0.
__device__ inline float sum_over_chunks(Part at, int stride, const float* partial) {
    Vec<1> sum = splat<1>(0);
#pragma unroll 4
    for (uint32 chunk = at.pixel; chunk < at.end; chunk += blockDim.y) sum[0] += partial[(int64)chunk * stride + at.channel];
    sum_rows(sum);
    return sum[0];
}

// sum_chunks is y = the sum over chunks of partial (chunks, n).
extern "C" __global__ void sum_chunks(int chunks, int n, float* y, const float* partial) {
    Part at = part<1>(chunks, n, chunks);
    float sum = sum_over_chunks(at, n, partial);
    if (at.inside && threadIdx.y == 0) y[at.channel] = sum;
}

// batch_norm_gradients are dgamma and dbeta from the sums of all chunks.
extern "C" __global__ void batch_norm_gradients(int chunks, int channels, float* dgamma, float* dbeta, const float* partial, const float* rstd) {
    Part at = part<1>(chunks, channels, chunks);
    float sum = sum_over_chunks(at, 2 * channels, partial);
    float dot = sum_over_chunks(at, 2 * channels, partial + channels);
    if (!at.inside || threadIdx.y > 0) return;
    dgamma[at.channel] = dot * rstd[at.channel];
    dbeta[at.channel] = sum;
}

// batch_norm_backward is
//
//     dx = gamma rstd (d - dbeta/n - (x - mean) rstd dgamma/n)
//
// with the gradient d and n pixels; without dgamma the statistics are constants, and
// dx = gamma rstd d.
template <class T, int V>
__device__ void batch_norm_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dy, const T* x, const T* y, const float* gamma,
                                    const float* beta, const float* mean, const float* rstd, const float* dgamma, const float* dbeta) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Gradient<T, V> gradient(at.channel, dy, x, y, gamma, beta, mean, rstd);
    Vec<V> scale = load<V>(gamma + at.channel), slope = splat<V>(0), shift = splat<V>(0);
    Vec<V> r = load<V>(rstd + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= r[i];
    if (dgamma) {
        float share = 1.0f / pixels;
        slope = load<V>(dgamma + at.channel), shift = load<V>(dbeta + at.channel);
#pragma unroll
        for (int i = 0; i < V; i++) {
            slope[i] *= -r[i] * share;
            shift[i] *= -share;
        }
    }
    for (uint32 p = at.pixel; p < at.end; p += BATCH * blockDim.y) {
        Vec<V> d[BATCH], apart[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            uint32 pixel = p + b * blockDim.y;
            if (at.has(pixel)) gradient.at((int64)pixel * channels, d[b], apart[b]);
        }
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            uint32 pixel = p + b * blockDim.y;
            if (!at.has(pixel)) break;
#pragma unroll
            for (int i = 0; i < V; i++) d[b][i] = scale[i] * (d[b][i] + shift[i] + slope[i] * apart[b][i]);
            store<V>(dx + (int64)pixel * channels + at.channel, d[b]);
        }
    }
}
VECTOR_KERNELS(batch_norm_backward,
               (uint32 pixels, int channels, uint32 length, T* dx, const T* dy, const T* x, const T* y, const float* gamma,
                const float* beta, const float* mean, const float* rstd, const float* dgamma, const float* dbeta),
               (pixels, channels, length, dx, dy, x, y, gamma, beta, mean, rstd, dgamma, dbeta))

// fold_batch_norm scales a convolution's weight, of which every output channel has
// size elements, by the batch norm behind it.
template <class T>
__device__ void fold_batch_norm(int64 n, int size, T* weight, float* bias, const float* w, const float* gamma, const float* beta,
                                const float* mean, const float* variance, float eps) {
    int64 i = thread_index();
    if (i >= n) return;
    int k = i / size;
    float scale = gamma[k] / sqrtf(variance[k] + eps);
    weight[i] = rounded<T>(w[i] * scale);
    if (i % size == 0) bias[k] = beta[k] - mean[k] * scale;
}
KERNELS(fold_batch_norm,
        (int64 n, int size, T* weight, float* bias, const float* w, const float* gamma, const float* beta, const float* mean,
         const float* variance, float eps),
        (n, size, weight, bias, w, gamma, beta, mean, variance, eps))

// conv_epilogue is y = [relu](y + [bias] + [residual]).
template <class T, int V>
__device__ void conv_epilogue(uint32 pixels, int channels, uint32 length, T* y, const float* bias, const T* residual, int relu) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> shift = bias ? load<V>(bias + at.channel) : splat<V>(0);
    normalise<T, V>(at, channels, y, y, residual, relu, splat<V>(0), splat<V>(1), shift);
}
VECTOR_KERNELS(conv_epilogue, (uint32 pixels, int channels, uint32 length, T* y, const float* bias, const T* residual, int relu),
               (pixels, channels, length, y, bias, residual, relu))

// channel_sums leaves the sums of each chunk of x.
template <class T, int V> __device__ void channel_sums(uint32 pixels, int channels, uint32 length, float* partial, const T* x) {
    Part at = part<V>(pixels, channels, length);
    Vec<V> sum = splat<V>(0);
#pragma unroll 4
    for (uint32 p = at.pixel; p < at.end; p += blockDim.y) {
        Vec<V> v = load<V>(x + (int64)p * channels + at.channel);
#pragma unroll
        for (int i = 0; i < V; i++) sum[i] += v[i];
    }
    sum_rows(sum);
    if (at.inside && threadIdx.y == 0) store<V>(partial + (int64)blockIdx.x * channels + at.channel, sum);
}
VECTOR_KERNELS(channel_sums, (uint32 pixels, int channels, uint32 length, float* partial, const T* x),
               (pixels, channels, length, partial, x))
