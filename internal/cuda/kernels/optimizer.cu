// A step of the optimiser over all parameters in one launch, a block for each chunk of a
// parameter. A step whose loss is not finite changes nothing.
#include "common.cuh"

// Chunk is consecutive elements of a parameter, as optimizer.go writes it.
struct Chunk {
    float* weight;
    const void* grad; // float or bf16
    float* first;     // SGD: velocity, or null; Adam: first moment
    float* second;    // Adam: second moment
    bf16* copy;       // also takes the weight, or null
    int n;
    int bf16_grad;
};

// State is what changes from step to step, as optimizer.go writes it.
struct State {
    float rate;   // Adam: / (1 - beta1^step)
    float keep;   // SGD: of the velocity, 0 in the first step
    float shrink; // Adam: of the weight, where its decay is decoupled
    float root;   // Adam: 1 / sqrt(1 - beta2^step)
};

__device__ inline bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }

// update moves a chunk's elements by a rule, which returns the new weight for a weight,
// its gradient and its moments, and changes those.
template <class Rule> __device__ void update(const Chunk& chunk, Rule rule) {
    constexpr int V = 8;
    for (int i = threadIdx.x * V; i < chunk.n; i += blockDim.x * V) {
        int count = chunk.n - i;
        Vec<V> weight = load<V>(chunk.weight + i, count), first = splat<V>(0), second = first;
        Vec<V> grad = chunk.bf16_grad ? load<V>((const bf16*)chunk.grad + i, count) : load<V>((const float*)chunk.grad + i, count);
        if (chunk.first) first = load<V>(chunk.first + i, count);
        if (chunk.second) second = load<V>(chunk.second + i, count);
#pragma unroll
        for (int k = 0; k < V; k++) weight[k] = rule(weight[k], grad[k], first[k], second[k]);
        store<V>(chunk.weight + i, weight, count);
        if (chunk.first) store<V>(chunk.first + i, first, count);
        if (chunk.second) store<V>(chunk.second + i, second, count);
        if (chunk.copy) store<V>(chunk.copy + i, weight, count);
    }
}

// sgd is g = grad + decay*weight; velocity = keep*velocity + g;
// weight -= rate*(of_gradient*g + of_velocity*velocity).
extern "C" __global__ void sgd(const Chunk* chunks, const State* state, const float* loss, float decay, float of_gradient, float of_velocity) {
    if (loss && !finite(*loss)) return;
    float rate = state->rate, keep = state->keep;
    update(chunks[blockIdx.x], [=](float weight, float grad, float& velocity, float&) {
        float g = grad + decay * weight;
        velocity = keep * velocity + g;
        return weight - rate * (of_gradient * g + of_velocity * velocity);
    });
}

// adam is g = grad + decay*weight; first = keep1*first + new1*g;
// second = keep2*second + new2*g²;
// weight = shrink*weight - rate*first / (root*sqrt(second) + eps).
extern "C" __global__ void adam(const Chunk* chunks, const State* state, const float* loss, float decay, float keep1, float new1, float keep2, float new2, float eps) {
    if (loss && !finite(*loss)) return;
    float rate = state->rate, shrink = state->shrink, root = state->root;
    update(chunks[blockIdx.x], [=](float weight, float grad, float& first, float& second) {
        float g = grad + decay * weight;
        first = keep1 * first + new1 * g;
        second = keep2 * second + new2 * g * g;
        return shrink * weight - rate * first / (sqrtf(second) * root + eps);
    });
}
