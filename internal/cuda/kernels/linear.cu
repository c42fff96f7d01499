// Linear layers: y = x·wᵀ + b of N vectors, and its gradients.
#include "common.cuh"

template <int V> __device__ float dot(const Vec<V>& a, const Vec<V>& b) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < V; i++) sum += a[i] * b[i];
    return sum;
}

// linear_few is y = x·wᵀ + b where few outputs would leave tiles empty: a warp computes
// OUTPUTS outputs of one vector.
enum : int { OUTPUTS = 4 };

template <int V>
__device__ void linear_few(int vectors, int in, int out, float* y, const float* x, const float* w, const float* b) {
    int groups = (out + OUTPUTS - 1) / OUTPUTS, warp = thread_index() / WARP, lane = threadIdx.x % WARP;
    int n = warp / groups, first = warp % groups * OUTPUTS;
    if (n >= vectors) return;
    x += (int64)n * in;
    float sums[OUTPUTS] = {};
    for (int i = lane * V; i < in; i += WARP * V) {
        Vec<V> v = load<V>(x + i);
#pragma unroll
        for (int k = 0; k < OUTPUTS; k++) sums[k] += dot(v, load<V>(w + (int64)min(first + k, out - 1) * in + i));
    }
#pragma unroll
    for (int k = 0; k < OUTPUTS; k++) {
        float sum = warp_reduce<Sum>(sums[k]);
        if (lane == 0 && first + k < out) y[(int64)n * out + first + k] = sum + (b ? b[first + k] : 0);
    }
}
F32_KERNELS(linear_few, (int vectors, int in, int out, float* y, const float* x, const float* w, const float* b),
            (vectors, in, out, y, x, w, b))

// A block of PRODUCT_THREADS threads computes a tile of a product, TILE deep at a time.
// In shared memory rows begin PITCH apart, so that reads of eight rows meet no bank twice.
enum : int { PRODUCT_THREADS = 128, TILE = 32, PITCH = TILE + 4 };

// Operand is a matrix of rows that a product runs along. DEPTH_INNER: the numbers of a
// row lie side by side; else those of a column do.
template <bool DEPTH_INNER> struct Operand {
    const float* numbers;
    int rows, depth;

    // A thread brings two quads of a row into a tile; these are the places of each,
    // such that the threads of a warp read side by side.
    __device__ static int row_of(int quad) { return DEPTH_INNER ? threadIdx.x / 8 + 16 * quad : threadIdx.x % TILE; }
    __device__ static int depth_of(int quad) { return 4 * (DEPTH_INNER ? threadIdx.x % 8 : threadIdx.x / TILE + 4 * quad); }

    __device__ Vec<4> read(int row, int at) const {
        Vec<4> v = splat<4>(0);
        if (row >= rows) return v;
        if (DEPTH_INNER && depth % 4 == 0) return at < depth ? load<4>(numbers + (int64)row * depth + at) : v;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (at + i < depth) v[i] = numbers[DEPTH_INNER ? (int64)row * depth + at + i : (int64)(at + i) * rows + row];
        }
        return v;
    }

    __device__ void fetch(Vec<4> (&quads)[2], int row, int at) const {
#pragma unroll
        for (int q = 0; q < 2; q++) quads[q] = read(row + row_of(q), at + depth_of(q));
    }

    __device__ static void keep(float (*tile)[PITCH], const Vec<4> (&quads)[2]) {
#pragma unroll
        for (int q = 0; q < 2; q++) store<4>(&tile[row_of(q)][depth_of(q)], quads[q]);
    }
};

// product is y[i, j] = sum over k of a[i, k] * b[j, k], plus bias[j] if there is one.
// Each thread computes 2 x 4 numbers of the block's tile, and fetches the next part of
// the operands while it does.
template <bool A, bool B> __device__ void product(Operand<A> a, Operand<B> b, float* y, const float* bias) {
    __shared__ __align__(16) float tile_a[TILE][PITCH];
    __shared__ __align__(16) float tile_b[TILE][PITCH];
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE, i = threadIdx.x / 8, j = threadIdx.x % 8;
    Vec<4> next_a[2], next_b[2];
    a.fetch(next_a, row, 0);
    b.fetch(next_b, column, 0);
    float sums[2][4] = {};
    for (int k = 0; k < a.depth; k += TILE) {
        __syncthreads();
        a.keep(tile_a, next_a);
        b.keep(tile_b, next_b);
        __syncthreads();
        a.fetch(next_a, row, k + TILE);
        b.fetch(next_b, column, k + TILE);
#pragma unroll
        for (int at = 0; at < TILE; at += 4) {
            Vec<4> left[2], right[4];
#pragma unroll
            for (int r = 0; r < 2; r++) left[r] = load<4>(&tile_a[i + 16 * r][at]);
#pragma unroll
            for (int c = 0; c < 4; c++) right[c] = load<4>(&tile_b[j + 8 * c][at]);
#pragma unroll
            for (int r = 0; r < 2; r++) {
#pragma unroll
                for (int c = 0; c < 4; c++) sums[r][c] += dot(left[r], right[c]);
            }
        }
    }
    for (int r = 0; r < 2; r++) {
        for (int c = 0; c < 4; c++) {
            int to = row + i + 16 * r, of = column + j + 8 * c;
            if (to < a.rows && of < b.rows) y[(int64)to * b.rows + of] = sums[r][c] + (bias ? bias[of] : 0);
        }
    }
}

#define PRODUCT extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS)

// linear is y = x·wᵀ + b.
PRODUCT linear(int n, int in, int out, float* y, const float* x, const float* w, const float* b) {
    product(Operand<true>{x, n, in}, Operand<true>{w, out, in}, y, b);
}

// linear_backward_data is dx = dy·w.
PRODUCT linear_backward_data(int n, int in, int out, float* dx, const float* dy, const float* w) {
    product(Operand<true>{dy, n, out}, Operand<false>{w, in, out}, dx, nullptr);
}

// linear_backward_weights is dw = dyᵀ·x.
PRODUCT linear_backward_weights(int n, int in, int out, float* dw, const float* x, const float* dy) {
    product(Operand<false>{dy, out, n}, Operand<false>{x, in, n}, dw, nullptr);
}

// linear_backward_bias is db = dy summed over the vectors.
extern "C" __global__ void linear_backward_bias(int n, int out, float* db, const float* dy) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    Vec<1> sum = {};
#pragma unroll 4
    for (int i = threadIdx.y; k < out && i < n; i += blockDim.y) sum[0] += dy[(int64)i * out + k];
    sum_rows(sum);
    if (k < out && threadIdx.y == 0) db[k] = sum[0];
}
