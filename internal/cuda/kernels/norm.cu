// What knows channels and nothing of where pixels lie: batch norm, biases.
//
// The pixels of a batch norm's x are x_channels apart: x may be the first channels of a
// feature map that has more.
//
// Sums over pixels take two steps, each in a fixed order: every block leaves those of its
// chunk of pixels in partial, (chunks, sums, channels), and a second kernel combines the
// chunks.
#include "common.cuh"

// Moments are the number, mean and sum of squared deviations of V channels' values.
template <int V> struct Moments {
    float count;
    Vec<V> mean, squares;
};

// from_sums are the moments of a number of values with the sums of their distances from a
// pivot and of the distances' squares.
template <int V> __device__ Moments<V> from_sums(float count, Vec<V> sum, Vec<V> squares, const Vec<V>& pivot) {
    float share = count > 0 ? 1 / count : 0;
#pragma unroll
    for (int i = 0; i < V; i++) {
        float apart = sum[i] * share;
        squares[i] -= sum[i] * apart;
        sum[i] = pivot[i] + apart;
    }
    return Moments<V>{count, sum, squares};
}

// pooled are the moments of a block's rows together, for row 0. They are summed about the
// mean of row 0, which is near the whole's, so that float32 suffices. A block is at most
// WARP threads wide.
template <int V> __device__ Moments<V> pooled(const Moments<V>& of) {
    __shared__ float pivots[V][WARP];
    __syncthreads();
    if (threadIdx.y == 0) {
#pragma unroll
        for (int i = 0; i < V; i++) pivots[i][threadIdx.x] = of.mean[i];
    }
    __syncthreads();
    Vec<V> pivot, sum, squares;
    Vec<2 * V + 1> sums;
    sums[2 * V] = of.count;
#pragma unroll
    for (int i = 0; i < V; i++) {
        pivot[i] = pivots[i][threadIdx.x];
        float apart = of.mean[i] - pivot[i];
        sums[i] = of.count * apart;
        sums[V + i] = of.squares[i] + of.count * apart * apart;
    }
    sum_rows(sums);
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] = sums[i], squares[i] = sums[V + i];
    return from_sums(sums[2 * V], sum, squares, pivot);
}

// batch_norm_moments leaves mean and squared deviations of each chunk of x. A thread sums
// about its first value.
template <class T, int V> __device__ void batch_norm_moments(uint32 pixels, int channels, uint32 length, float* partial, const T* x, int x_channels) {
    Part at = part<V, FROM_END>(pixels, channels, length);
    x += at.channel;
    float count = 0;
    Vec<V> sum = splat<V>(0), squares = splat<V>(0), pivot = splat<V>(0);
    if (at.has(at.pixel)) pivot = load<V>(x + (int64)at.pixel * x_channels);
    batches<4>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> v[B];
#pragma unroll
        for (int b = 0; b < B; b++) v[b] = load<V>(x + (int64)(p + b * blockDim.y) * x_channels);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float apart = v[b][i] - pivot[i];
                sum[i] += apart;
                squares[i] += apart * apart;
            }
        }
        count += B;
    });
    Moments<V> m = pooled(from_sums(count, sum, squares, pivot));
    if (at.inside && threadIdx.y == 0) {
        partial += (int64)at.chunk * 2 * channels + at.channel;
        store<V>(partial, m.mean);
        store<V>(partial + channels, m.squares);
    }
}
VECTOR_KERNELS(batch_norm_moments, (uint32 pixels, int channels, uint32 length, float* partial, const T* x, int x_channels),
               (pixels, channels, length, partial, x, x_channels))

// batch_norm_statistics pools the moments of all chunks: mean, rstd = 1/sqrt(var + eps),
// and the running statistics, which move by momentum, the variance unbiased.
extern "C" __global__ void batch_norm_statistics(uint32 pixels, int channels, uint32 length, int chunks, float* mean, float* rstd,
                                                 float* running_mean, float* running_variance, const float* partial,
                                                 float eps, float momentum) {
    Part at = part<1>(chunks, channels, chunks);
    float count = 0;
    Vec<1> sum = splat<1>(0), squares = splat<1>(0), pivot = splat<1>(0);
    if (at.has(at.pixel)) pivot[0] = partial[(int64)at.pixel * 2 * channels + at.channel];
    batches<4>(at, [&](uint32 chunk, auto these) {
        constexpr int B = decltype(these)::value;
        float mean[B], within[B];
#pragma unroll
        for (int b = 0; b < B; b++) {
            const float* of = partial + (int64)(chunk + b * blockDim.y) * 2 * channels + at.channel;
            mean[b] = of[0];
            within[b] = of[channels];
        }
#pragma unroll
        for (int b = 0; b < B; b++) {
            float n = min(length, pixels - (chunk + b * blockDim.y) * length);
            float apart = mean[b] - pivot[0];
            count += n;
            sum[0] += n * apart;
            squares[0] += within[b] + n * apart * apart;
        }
    });
    Moments<1> m = pooled(from_sums(count, sum, squares, pivot));
    if (!at.inside || threadIdx.y > 0) return;
    int c = at.channel;
    float squared = max(m.squares[0], 0.0f);
    mean[c] = m.mean[0];
    rstd[c] = 1 / sqrtf(squared / pixels + eps);
    running_mean[c] += momentum * (m.mean[0] - running_mean[c]);
    if (pixels > 1) running_variance[c] += momentum * (squared / (pixels - 1) - running_variance[c]);
}

// normalised is what batch norm makes of a value. Forward and backward pass must agree
// to the bit on where a ReLU's mask is.
__device__ inline float normalised(float x, float mean, float scale, float beta) { return fmaf(x - mean, scale, beta); }

// normalise is y = [relu](scale (x - mean) + beta + [residual]).
template <bool RESIDUAL, class T, int V>
__device__ void normalise(Part at, int channels, T* y, const T* x, int x_channels, const T* residual, int relu, const Vec<V>& mean, const Vec<V>& scale, const Vec<V>& beta) {
    batches<2>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> v[B], r[B];
#pragma unroll
        for (int b = 0; b < B; b++) {
            int64 i = (int64)(p + b * blockDim.y) * channels + at.channel;
            v[b] = load<V>(x + (int64)(p + b * blockDim.y) * x_channels + at.channel);
            r[b] = RESIDUAL ? load<V>(residual + i) : splat<V>(0);
        }
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                float z = normalised(v[b][i], mean[i], scale[i], beta[i]);
                if (RESIDUAL) z += r[b][i];
                v[b][i] = relu && z < 0 ? 0 : z;
            }
            store<V>(y + (int64)(p + b * blockDim.y) * channels + at.channel, v[b]);
        }
    });
}

template <class T, int V>
__device__ void normalise(Part at, int channels, T* y, const T* x, int x_channels, const T* residual, int relu, const Vec<V>& mean, const Vec<V>& scale, const Vec<V>& beta) {
    if (residual) {
        normalise<true>(at, channels, y, x, x_channels, residual, relu, mean, scale, beta);
    } else {
        normalise<false>(at, channels, y, x, x_channels, residual, relu, mean, scale, beta);
    }
}

template <class T, int V>
__device__ void batch_norm_train(uint32 pixels, int channels, uint32 length, T* y, const T* x, int x_channels, const T* residual, int relu,
                                 const float* gamma, const float* beta, const float* mean, const float* rstd) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> scale = load<V>(gamma + at.channel), r = load<V>(rstd + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= r[i];
    normalise(at, channels, y, x, x_channels, residual, relu, load<V>(mean + at.channel), scale, load<V>(beta + at.channel));
}
VECTOR_KERNELS(batch_norm_train,
               (uint32 pixels, int channels, uint32 length, T* y, const T* x, int x_channels, const T* residual, int relu, const float* gamma,
                const float* beta, const float* mean, const float* rstd),
               (pixels, channels, length, y, x, x_channels, residual, relu, gamma, beta, mean, rstd))

template <class T, int V>
__device__ void batch_norm_eval(uint32 pixels, int channels, uint32 length, T* y, const T* x, int x_channels, const T* residual, int relu,
                                const float* gamma, const float* beta, const float* mean, const float* variance, float eps) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> scale = load<V>(gamma + at.channel), v = load<V>(variance + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= 1 / sqrtf(v[i] + eps);
    normalise(at, channels, y, x, x_channels, residual, relu, load<V>(mean + at.channel), scale, load<V>(beta + at.channel));
}
VECTOR_KERNELS(batch_norm_eval,
               (uint32 pixels, int channels, uint32 length, T* y, const T* x, int x_channels, const T* residual, int relu, const float* gamma,
                const float* beta, const float* mean, const float* variance, float eps),
               (pixels, channels, length, y, x, x_channels, residual, relu, gamma, beta, mean, variance, eps))

// inverse_deviation is rstd = 1/sqrt(variance + eps).
extern "C" __global__ void inverse_deviation(int64 n, float* rstd, const float* variance, float eps) {
    int64 i = thread_index();
    if (i < n) rstd[i] = 1 / sqrtf(variance[i] + eps);
}

// QUAD_KERNELS makes instances that keep so little of each channel that four blocks fit
// on a multiprocessor.
#define QUAD_KERNELS(name, parameters, arguments)                                              \
    KERNEL_INSTANCE(name, _f32_v4, float, TEMPLATE_ARGUMENTS(float, 4), parameters, arguments) \
    KERNEL_INSTANCE(name, _f32_v1, float, TEMPLATE_ARGUMENTS(float, 1), parameters, arguments) \
    KERNEL_INSTANCE(name, _bf16_v4, bf16, TEMPLATE_ARGUMENTS(bf16, 4), parameters, arguments)  \
    KERNEL_INSTANCE(name, _bf16_v1, bf16, TEMPLATE_ARGUMENTS(bf16, 1), parameters, arguments)

// Mask says how it is found where the ReLU behind a batch norm let values pass: there is
// no ReLU, from its result y, or from the result computed again from x.
enum Mask { NONE, RESULT, AGAIN };

// Added is what a gradient is added to, if anything: channels of a feature map that may
// have more.
template <class T> struct Added {
    const T* of;
    int channels;

    // to adds it to V channels of B pixels, blockDim.y apart.
    template <int V, int B> __device__ void to(Vec<V> (&d)[B], uint32 pixel, int channel) const {
        if (!of) return;
        Vec<V> v[B];
#pragma unroll
        for (int b = 0; b < B; b++) v[b] = load<V>(of + (int64)(pixel + b * blockDim.y) * channels + channel);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) d[b][i] += v[b][i];
        }
    }
};

// Gradient is dy of a batch norm, 0 where the ReLU behind it gave 0.
template <Mask MASK, class T, int V> struct Gradient {
    const T *dy, *x, *y;
    Added<T> added;
    int channel, channels, x_channels;
    Vec<V> mean, scale, beta;

    __device__ Gradient(int channel, int channels, const T* dy, Added<T> added, const T* x, int x_channels, const T* y, const float* gamma, const float* beta, const float* mean, const float* rstd)
        : dy(dy + channel), x(x + channel), y(y + channel), added(added), channel(channel), channels(channels), x_channels(x_channels), mean(load<V>(mean + channel)) {
        if (MASK != AGAIN) return;
        this->beta = load<V>(beta + channel);
        this->scale = load<V>(gamma + channel);
        Vec<V> r = load<V>(rstd + channel);
#pragma unroll
        for (int i = 0; i < V; i++) this->scale[i] *= r[i];
    }

    // at reads the gradient of B pixels, blockDim.y apart, and how far x is from its mean.
    template <int B> __device__ void at(uint32 pixel, Vec<V> (&d)[B], Vec<V> (&apart)[B]) const {
        Vec<V> passed[B];
#pragma unroll
        for (int b = 0; b < B; b++) {
            int64 i = (int64)(pixel + b * blockDim.y) * channels;
            d[b] = load<V>(dy + i);
            apart[b] = load<V>(x + (int64)(pixel + b * blockDim.y) * x_channels);
            if (MASK == RESULT) passed[b] = load<V>(y + i);
        }
        added.to(d, pixel, channel);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                if (MASK == AGAIN) passed[b][i] = to_float(rounded<T>(normalised(apart[b][i], mean[i], scale[i], beta[i])));
                if (MASK != NONE) d[b][i] = passed[b][i] <= 0 ? 0 : d[b][i];
                apart[b][i] -= mean[i];
            }
        }
    }
};

// BY_MASK calls a function template over the mask that the given operands imply.
#define BY_MASK(function, ...)                   \
    if (y) {                                     \
        function<RESULT, T, V>(__VA_ARGS__);     \
    } else if (beta) {                           \
        function<AGAIN, T, V>(__VA_ARGS__);      \
    } else {                                     \
        function<NONE, T, V>(__VA_ARGS__);       \
    }

template <Mask MASK, class T, int V>
__device__ void gradient_sums(Part at, int channels, Vec<2 * V>& sums, T* dresidual, const T* dy, Added<T> added, const T* x, int x_channels, const T* y, const float* gamma,
                              const float* beta, const float* mean, const float* rstd) {
    Gradient<MASK, T, V> gradient(at.channel, channels, dy, added, x, x_channels, y, gamma, beta, mean, rstd);
    batches<2>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> d[B], apart[B];
        gradient.at(p, d, apart);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                sums[i] += d[b][i];
                sums[V + i] += d[b][i] * apart[b][i];
            }
            if (dresidual) store<V>(dresidual + (int64)(p + b * blockDim.y) * channels + at.channel, d[b]);
        }
    });
}

// batch_norm_gradient_sums leaves the sums of the gradient and of its products with
// x - mean of each chunk, and the gradient itself in dresidual, if that is given.
template <class T, int V>
__device__ void batch_norm_gradient_sums(uint32 pixels, int channels, uint32 length, float* partial, T* dresidual, const T* dy,
                                         const T* dy_added, int dy_added_channels, const T* x, int x_channels, const T* y, const float* gamma,
                                         const float* beta, const float* mean, const float* rstd) {
    Added<T> added{dy_added, dy_added_channels};
    Part at = part<V, FROM_END>(pixels, channels, length);
    Vec<2 * V> sums = splat<2 * V>(0);
    BY_MASK(gradient_sums, at, channels, sums, dresidual, dy, added, x, x_channels, y, gamma, beta, mean, rstd)
    sum_rows(sums);
    if (!at.inside || threadIdx.y > 0) return;
    partial += (int64)at.chunk * 2 * channels + at.channel;
#pragma unroll
    for (int i = 0; i < V; i++) partial[i] = sums[i], partial[channels + i] = sums[V + i];
}
QUAD_KERNELS(batch_norm_gradient_sums,
               (uint32 pixels, int channels, uint32 length, float* partial, T* dresidual, const T* dy, const T* dy_added,
                int dy_added_channels, const T* x, int x_channels, const T* y, const float* gamma, const float* beta, const float* mean, const float* rstd),
               (pixels, channels, length, partial, dresidual, dy, dy_added, dy_added_channels, x, x_channels, y, gamma, beta, mean, rstd))

// sum_over_chunks adds one of several sums of every chunk, for row 0.
__device__ inline float sum_over_chunks(Part at, int stride, const float* partial) {
    Vec<1> sum = sum_pixels<1>(at, stride, partial);
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

template <Mask MASK, class T, int V>
__device__ void gradient_by_x(Part at, int channels, T* dx, Added<T> dx_added, const Vec<V>& slope, const Vec<V>& shift, const T* dy, Added<T> dy_added, const T* x, int x_channels,
                              const T* y, const float* gamma, const float* beta, const float* mean, const float* rstd) {
    Gradient<MASK, T, V> gradient(at.channel, channels, dy, dy_added, x, x_channels, y, gamma, beta, mean, rstd);
    Vec<V> scale = load<V>(gamma + at.channel), r = load<V>(rstd + at.channel);
#pragma unroll
    for (int i = 0; i < V; i++) scale[i] *= r[i];
    batches<2>(at, [&](uint32 p, auto these) {
        constexpr int B = decltype(these)::value;
        Vec<V> d[B], apart[B];
        gradient.at(p, d, apart);
#pragma unroll
        for (int b = 0; b < B; b++) {
#pragma unroll
            for (int i = 0; i < V; i++) d[b][i] = scale[i] * (d[b][i] + shift[i] + slope[i] * apart[b][i]);
        }
        dx_added.to(d, p, at.channel);
#pragma unroll
        for (int b = 0; b < B; b++) store<V>(dx + (int64)(p + b * blockDim.y) * channels + at.channel, d[b]);
    });
}

// batch_norm_backward is
//
//     dx = gamma rstd (d - dbeta/n - (x - mean) rstd dgamma/n) + dx_added
//
// with the gradient d of dy + dy_added and n pixels; without dgamma the statistics are constants, and
// dx = gamma rstd d.
template <class T, int V>
__device__ void batch_norm_backward(uint32 pixels, int channels, uint32 length, T* dx, const T* dx_added, int dx_added_channels, const T* dy,
                                    const T* dy_added, int dy_added_channels, const T* x, int x_channels, const T* y, const float* gamma, const float* beta,
                                    const float* mean, const float* rstd, const float* dgamma, const float* dbeta) {
    Part at = part<V>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> slope = splat<V>(0), shift = splat<V>(0);
    if (dgamma) {
        float share = 1.0f / pixels;
        slope = load<V>(dgamma + at.channel), shift = load<V>(dbeta + at.channel);
        Vec<V> r = load<V>(rstd + at.channel);
#pragma unroll
        for (int i = 0; i < V; i++) {
            slope[i] *= -r[i] * share;
            shift[i] *= -share;
        }
    }
    Added<T> to_dx{dx_added, dx_added_channels}, to_dy{dy_added, dy_added_channels};
    BY_MASK(gradient_by_x, at, channels, dx, to_dx, slope, shift, dy, to_dy, x, x_channels, y, gamma, beta, mean, rstd)
}
QUAD_KERNELS(batch_norm_backward,
               (uint32 pixels, int channels, uint32 length, T* dx, const T* dx_added, int dx_added_channels, const T* dy,
                const T* dy_added, int dy_added_channels, const T* x, int x_channels, const T* y, const float* gamma, const float* beta,
                const float* mean, const float* rstd, const float* dgamma, const float* dbeta),
               (pixels, channels, length, dx, dx_added, dx_added_channels, dy, dy_added, dy_added_channels, x, x_channels, y, gamma, beta, mean, rstd, dgamma, dbeta))

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
    Part at = part<V, FROM_END>(pixels, channels, length);
    if (!at.inside) return;
    Vec<V> shift = bias ? load<V>(bias + at.channel) : splat<V>(0);
    normalise(at, channels, y, y, channels, residual, relu, splat<V>(0), splat<V>(1), shift);
}
VECTOR_KERNELS(conv_epilogue, (uint32 pixels, int channels, uint32 length, T* y, const float* bias, const T* residual, int relu),
               (pixels, channels, length, y, bias, residual, relu))

// channel_sums leaves the sums of each chunk of x.
template <class T, int V> __device__ void channel_sums(uint32 pixels, int channels, uint32 length, float* partial, const T* x) {
    Part at = part<V, FROM_END>(pixels, channels, length);
    Vec<V> sum = sum_pixels<V>(at, channels, x);
    sum_rows(sum);
    if (at.inside && threadIdx.y == 0) store<V>(partial + (int64)at.chunk * channels + at.channel, sum);
}
VECTOR_KERNELS(channel_sums, (uint32 pixels, int channels, uint32 length, float* partial, const T* x),
               (pixels, channels, length, partial, x))
