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

// update moves V elements of a chunk, whose gradients are of type G, by a rule, which
// returns the new weight for a weight, its gradient and its moments, and changes those.
template <class G, int V, class Rule> __device__ void update(const Chunk& chunk, int i, Rule rule) {
    Vec<V> weight = load<V>(chunk.weight + i), first = splat<V>(0), second = first;
    Vec<V> grad = load<V>((const G*)chunk.grad + i);
    if (chunk.first) first = load<V>(chunk.first + i);
    if (chunk.second) second = load<V>(chunk.second + i);
#pragma unroll
    for (int k = 0; k < V; k++) weight[k] = rule(weight[k], grad[k], first[k], second[k]);
    store(chunk.weight + i, weight);
    if (chunk.first) store(chunk.first + i, first);
    if (chunk.second) store(chunk.second + i, second);
    if (chunk.copy) store(chunk.copy + i, weight);
}

template <class G, class Rule> __device__ void update_elements(const Chunk& chunk, Rule rule) {
    constexpr int V = 8;
    int whole = chunk.n / V * V;
    for (int i = threadIdx.x * V; i < whole; i += blockDim.x * V) update<G, V>(chunk, i, rule);
    for (int i = whole + threadIdx.x; i < chunk.n; i += blockDim.x) update<G, 1>(chunk, i, rule);
}

// update_chunk takes its own copy of the chunk, as what it stores might lie anywhere.
template <class Rule> __device__ void update_chunk(Chunk chunk, Rule rule) {
    if (chunk.bf16_grad) {
        update_elements<bf16>(chunk, rule);
    } else {
        update_elements<float>(chunk, rule);
    }
}

// sgd is g = grad + decay*weight; velocity = keep*velocity + g;
// weight -= rate*(of_gradient*g + of_velocity*velocity).
extern "C" __global__ void sgd(const Chunk* chunks, const State* state, const float* loss, float decay, float of_gradient, float of_velocity) {
    if (loss && !finite(*loss)) return;
    float rate = state->rate, keep = state->keep;
    update_chunk(chunks[blockIdx.x], [=](float weight, float grad, float& velocity, float&) {
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
    update_chunk(chunks[blockIdx.x], [=](float weight, float grad, float& first, float& second) {
        float g = grad + decay * weight;
        first = keep1 * first + new1 * g;
        second = keep2 * second + new2 * g * g;
        return shrink * weight - rate * first / (sqrtf(second) * root + eps);
    });
}
