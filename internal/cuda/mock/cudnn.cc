// The part of cuDNN's graph API that the project uses, as libcudnn.so.9: convolutions,
// computed in the plainest way. The numbers are those of cudnn_graph.h.
//
// It is as strict as the library, and stricter where the library is known to forgive:
// what is described must stay alive while it is used, work must find all of its memory
// on the device, and the handle goes last.
//
//	MOCK_CUDNN_ENGINES  numbers of the engines there are, as 0,3; all if not set
//
// The version of CUDA that it says it was built with is a text in the file, for tests to
// write another there.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mock.h"

extern "C" int cuCtxGetCurrent(void **context);

extern "C" const volatile char mock_cudnn_cuda[] = "built for CUDA 12010";

namespace {

enum Status {
  success = 0,
  not_initialized = 1001,
  bad_param = 2000,
  not_finalized = 2004,
  size_insufficient = 2006,
  shape_mismatch = 2008,
  wrong_type = 2010,
  wrong_kind = 2012,
  not_supported = 3000,
  internal_error = 4000,
  execution_failed = 5000,
};

enum Kind {
  convolution_kind = 1,
  engine_kind = 2,
  config_kind = 3,
  heuristics_kind = 4,
  plan_kind = 5,
  knob_kind = 7,
  forward_kind = 10,
  backward_weights_kind = 11,
  backward_data_kind = 12,
  graph_kind = 15,
  pack_kind = 16,
  tensor_kind = 17,
};

enum Type {
  handle_type = 0,
  data_type = 1,
  int64_type = 3,
  float_type = 4,
  pointer_type = 6,
  mode_type = 7,
  heuristic_type = 8,
  knob_type = 9,
  numerical_type = 11,
  descriptor_type = 15,
  behavior_type = 19,
};

size_t size_of(int type) {
  switch (type) {
    case data_type:
    case mode_type:
    case heuristic_type:
    case knob_type:
    case numerical_type:
    case behavior_type:
    case float_type:
      return 4;
    default:
      return 8;
  }
}

enum { float32 = 0, bfloat16 = 9 };

thread_local std::string last_error;

Status fail(Status status, const std::string &why) {
  last_error = why;
  return status;
}

// An Attribute is one that a kind of descriptor has.
struct Attribute {
  int type;
  int64_t least, most;  // values; least 0 is optional
  bool settable;
  int refers;  // kind of the descriptors that are its values, 0 for an operation
};

using Attributes = std::map<int, Attribute>;

Attributes operation(int first) {
  return {{first, {float_type, 1, 1, true, 0}},
          {first + 1, {float_type, 1, 1, true, 0}},
          {first + 2, {descriptor_type, 1, 1, true, convolution_kind}},
          {first + 3, {descriptor_type, 1, 1, true, tensor_kind}},
          {first + 4, {descriptor_type, 1, 1, true, tensor_kind}},
          {first + 5, {descriptor_type, 1, 1, true, tensor_kind}}};
}

const int64_t any = 1 << 20;

const std::map<int, Attributes> kinds = {
    {convolution_kind,
     {{100, {data_type, 1, 1, true, 0}},
      {101, {mode_type, 1, 1, true, 0}},
      {102, {int64_type, 2, 2, true, 0}},
      {103, {int64_type, 2, 2, true, 0}},
      {104, {int64_type, 2, 2, true, 0}},
      {105, {int64_type, 2, 2, true, 0}},
      {106, {int64_type, 1, 1, true, 0}}}},
    {engine_kind,
     {{1301, {int64_type, 0, 1, false, 0}},
      {1303, {numerical_type, 0, any, false, 0}},
      {1305, {behavior_type, 0, any, false, 0}}}},
    {config_kind, {{300, {descriptor_type, 0, 1, false, engine_kind}}, {302, {descriptor_type, 0, any, false, knob_kind}}}},
    {heuristics_kind,
     {{200, {heuristic_type, 1, 1, true, 0}},
      {201, {descriptor_type, 1, 1, true, graph_kind}},
      {202, {descriptor_type, 0, any, false, config_kind}}}},
    {plan_kind,
     {{400, {handle_type, 1, 1, true, 0}},
      {401, {descriptor_type, 1, 1, true, config_kind}},
      {402, {int64_type, 0, 1, false, 0}}}},
    {knob_kind, {{600, {knob_type, 0, 1, false, 0}}, {601, {int64_type, 0, 1, false, 0}}}},
    {forward_kind, operation(700)},
    {backward_data_kind, operation(706)},
    {backward_weights_kind, operation(712)},
    {graph_kind, {{800, {handle_type, 1, 1, true, 0}}, {801, {descriptor_type, 1, any, true, 0}}}},
    {pack_kind,
     {{1000, {int64_type, 1, any, true, 0}}, {1001, {pointer_type, 1, any, true, 0}}, {1003, {pointer_type, 1, 1, true, 0}}}},
    {tensor_kind,
     {{900, {int64_type, 1, 1, true, 0}},
      {901, {data_type, 1, 1, true, 0}},
      {902, {int64_type, 4, 4, true, 0}},
      {903, {int64_type, 4, 4, true, 0}},
      {906, {int64_type, 1, 1, true, 0}}}},
};

// An Engine is a way to compute convolutions.
struct Engine {
  std::vector<int> numerical, behavior;  // notes of it
  int64_t workspace;                     // bytes
  bool planned;                          // plans of it can be made
  int rounding;                          // bits of the factors that are dropped
};

const std::vector<Engine> engines = {
    {{9}, {}, 0, true, 0},
    {{0}, {}, 4096, true, 13},       // tensor cores take float32 as TF32
    {{2, 4}, {}, 0, true, 0},        // results depend on the order of additions
    {{}, {0}, 256, true, 0},         // compiled at run time
    {{5}, {}, 0, true, 0},           // Winograd
    {{0}, {}, 0, false, 0},          // proposed, but never fits
    {{0, 1}, {}, 0, true, 16},       // rounds its factors to bfloat16
};

// A Choice is an engine with the value of its one knob.
struct Choice {
  int engine;
  int64_t knob;
};

struct Tensor {
  int64_t id, dims[4], strides[4];
  int type;
  size_t bytes() const {
    int64_t last = 0;
    for (int i = 0; i < 4; i++) last += (dims[i] - 1) * strides[i];
    return size_t(last + 1) * (type == bfloat16 ? 2 : 4);
  }
};

// A Problem is a convolution to compute. x and w and y are dx, dw, dy where they are
// asked for.
struct Problem {
  int kind;
  Tensor x, w, y;
  int64_t dilation[2], stride[2], pad[2];
  float alpha, beta;
  int64_t groups() const { return x.dims[1] / w.dims[1]; }
  const Tensor &out() const {
    return kind == forward_kind ? y : kind == backward_data_kind ? x : w;
  }
};

struct Descriptor {
  int kind;
  bool finalized = false;
  std::map<int, std::vector<char>> values;
  Problem problem;  // of an operation, and what holds one
  Choice choice;    // of a configuration, and what is of it

  template <class T> T get(int name, size_t i = 0) const {
    T value;
    memcpy(&value, values.at(name).data() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <class T> void put(int name, const std::vector<T> &list) {
    auto *bytes = reinterpret_cast<const char *>(list.data());
    values[name].assign(bytes, bytes + list.size() * sizeof(T));
  }
};

struct Handle {
  void *stream = nullptr;
};

std::mutex mutex;
std::map<void *, std::unique_ptr<Descriptor>> descriptors;
std::map<void *, std::unique_ptr<Handle>> handles;

Descriptor *find(void *p) {
  auto found = descriptors.find(p);
  return found == descriptors.end() ? nullptr : found->second.get();
}

// alive says whether a descriptor and all that it is made of are.
bool alive(void *p) {
  Descriptor *d = find(p);
  if (d == nullptr) return false;
  for (auto &[name, attribute] : kinds.at(d->kind)) {
    if (attribute.type != descriptor_type || !attribute.settable || d->values.count(name) == 0) continue;
    for (size_t i = 0; i < d->values.at(name).size() / sizeof(void *); i++)
      if (!alive(d->get<void *>(name, i))) return false;
  }
  return true;
}

Tensor tensor(const Descriptor &d) {
  Tensor t;
  t.id = d.get<int64_t>(906);
  t.type = d.get<int>(901);
  for (size_t i = 0; i < 4; i++) {
    t.dims[i] = d.get<int64_t>(902, i);
    t.strides[i] = d.get<int64_t>(903, i);
  }
  return t;
}

Status finalize_tensor(Descriptor &d) {
  Tensor t = tensor(d);
  if (t.type != float32 && t.type != bfloat16) return fail(not_supported, "type of a tensor");
  if (d.get<int64_t>(900) <= 0) return fail(bad_param, "alignment of a tensor");
  for (int i = 0; i < 4; i++)
    if (t.dims[i] <= 0 || t.strides[i] <= 0) return fail(bad_param, "dimensions or strides of a tensor");
  return success;
}

Status finalize_convolution(Descriptor &d) {
  if (d.get<int64_t>(106) != 2) return fail(bad_param, "spatial dimensions");
  if (d.get<int>(100) != float32) return fail(not_supported, "type of computation");
  if (d.get<int>(101) != 1) return fail(not_supported, "mode of a convolution");
  for (size_t i = 0; i < 2; i++)
    if (d.get<int64_t>(102, i) < 1 || d.get<int64_t>(103, i) < 1 || d.get<int64_t>(104, i) < 0 || d.get<int64_t>(105, i) < 0)
      return fail(bad_param, "geometry of a convolution");
  return success;
}

Status finalize_operation(Descriptor &d) {
  // Places of the attributes differ from direction to direction.
  const bool forward = d.kind == forward_kind, data = d.kind == backward_data_kind;
  const int first = forward ? 700 : data ? 706 : 712;
  const int x = forward ? 704 : data ? 710 : 716, w = forward ? 703 : data ? 709 : 715, y = forward ? 705 : data ? 711 : 717;
  Descriptor &c = *find(d.get<void *>(first + 2));
  Problem &p = d.problem;
  p.kind = d.kind;
  p.alpha = d.get<float>(first);
  p.beta = d.get<float>(first + 1);
  p.x = tensor(*find(d.get<void *>(x)));
  p.w = tensor(*find(d.get<void *>(w)));
  p.y = tensor(*find(d.get<void *>(y)));
  if (p.x.id == p.w.id || p.x.id == p.y.id || p.w.id == p.y.id) return fail(bad_param, "tensors share an identity");
  if (p.x.dims[1] % p.w.dims[1] != 0 || p.w.dims[0] % p.groups() != 0) return fail(shape_mismatch, "channels and groups");
  if (p.y.dims[0] != p.x.dims[0] || p.y.dims[1] != p.w.dims[0]) return fail(shape_mismatch, "channels or images of y");
  for (size_t i = 0; i < 2; i++) {
    p.dilation[i] = c.get<int64_t>(102, i);
    p.stride[i] = c.get<int64_t>(103, i);
    p.pad[i] = c.get<int64_t>(105, i);
    const int64_t padded = p.x.dims[2 + i] + p.pad[i] + c.get<int64_t>(104, i), window = p.dilation[i] * (p.w.dims[2 + i] - 1) + 1;
    if (padded < window || p.y.dims[2 + i] != (padded - window) / p.stride[i] + 1) return fail(shape_mismatch, "size of y");
  }
  return success;
}

Status finalize_graph(Descriptor &d) {
  if (handles.count(d.get<void *>(800)) == 0) return fail(bad_param, "handle of a graph");
  if (d.values.at(801).size() != sizeof(void *)) return fail(not_supported, "more than one operation");
  d.problem = find(d.get<void *>(801))->problem;
  return success;
}

bool there(int engine) {
  const char *list = getenv("MOCK_CUDNN_ENGINES");
  if (list == nullptr) return true;
  return ("," + std::string(list) + ",").find("," + std::to_string(engine) + ",") != std::string::npos;
}

// answer lists what heuristics propose. Factors and products of one precision are all
// that there is.
std::vector<Choice> answer(const Problem &p, int heuristic) {
  if (p.x.type != p.y.type || p.w.type != p.x.type) return {};
  std::vector<Choice> list;
  if (heuristic != 2) {
    list = {{5, 0}, {1, 2}, {1, 1}, {6, 0}, {2, 0}, {3, 0}};
    if (p.w.dims[2] == 3 && p.w.dims[3] == 3 && p.stride[0] == 1 && p.stride[1] == 1) list.push_back({4, 0});
  }
  list.push_back({0, 0});
  list.erase(std::remove_if(list.begin(), list.end(), [](Choice c) { return !there(c.engine); }), list.end());
  return list;
}

Status finalize_heuristics(Descriptor &d) {
  const int heuristic = d.get<int>(200);
  if (heuristic < 0 || heuristic > 3) return fail(bad_param, "mode of heuristics");
  d.problem = find(d.get<void *>(201))->problem;
  return success;
}

Status finalize_plan(Descriptor &d) {
  if (handles.count(d.get<void *>(400)) == 0) return fail(bad_param, "handle of a plan");
  Descriptor &config = *find(d.get<void *>(401));
  d.problem = config.problem;
  d.choice = config.choice;
  const Engine &e = engines[size_t(d.choice.engine)];
  if (!e.planned) return fail(not_supported, "this engine does not fit");
  d.put<int64_t>(402, {e.workspace});
  return success;
}

Status finalize_pack(Descriptor &d) {
  if (d.values.at(1000).size() != d.values.at(1001).size()) return fail(bad_param, "identities and pointers differ in number");
  return success;
}

Status finalize(Descriptor &d) {
  for (auto &[name, attribute] : kinds.at(d.kind))
    if (attribute.settable && attribute.least > 0 && d.values.count(name) == 0)
      return fail(bad_param, "attribute " + std::to_string(name) + " is missing");
  if (!alive(&d)) return fail(bad_param, "refers to a descriptor that was destroyed");
  switch (d.kind) {
    case tensor_kind:
      return finalize_tensor(d);
    case convolution_kind:
      return finalize_convolution(d);
    case forward_kind:
    case backward_data_kind:
    case backward_weights_kind:
      return finalize_operation(d);
    case graph_kind:
      return finalize_graph(d);
    case heuristics_kind:
      return finalize_heuristics(d);
    case plan_kind:
      return finalize_plan(d);
    case pack_kind:
      return finalize_pack(d);
    default:
      return fail(bad_param, "descriptors of this kind are not finalized by users");
  }
}

// refers says whether descriptors may be the values of an attribute.
Status refers(const Attribute &attribute, int64_t count, const void *elements) {
  for (int64_t i = 0; i < count; i++) {
    Descriptor *value = find(static_cast<void *const *>(elements)[i]);
    if (value == nullptr) return fail(bad_param, "no descriptor");
    if (!value->finalized) return fail(not_finalized, "a value is not finalized");
    const bool is_operation = value->kind >= forward_kind && value->kind <= backward_data_kind;
    if (attribute.refers == 0 ? !is_operation : value->kind != attribute.refers) return fail(wrong_kind, "a value is of another kind");
  }
  return success;
}

// fill gives descriptors that the caller made what the library knows: configurations of
// heuristics, the engine and knobs of a configuration.
Status fill(const Descriptor &from, int name, int64_t room, int64_t *count, void *elements) {
  std::vector<Choice> choices = from.kind == heuristics_kind ? answer(from.problem, from.get<int>(200)) : std::vector<Choice>{from.choice};
  *count = int64_t(choices.size());
  const int kind = kinds.at(from.kind).at(name).refers;
  for (int64_t i = 0; i < std::min(room, *count); i++) {
    Descriptor *to = find(static_cast<void **>(elements)[i]);
    if (to == nullptr || to->kind != kind) return fail(bad_param, "want made descriptors of the right kind");
    const Choice choice = choices[size_t(i)];
    const Engine &engine = engines[size_t(choice.engine)];
    to->finalized = true;
    to->problem = from.problem;
    to->choice = choice;
    if (kind == engine_kind) {
      to->put<int64_t>(1301, {choice.engine});
      to->put<int>(1303, engine.numerical);
      to->put<int>(1305, engine.behavior);
    } else if (kind == knob_kind) {
      to->put<int>(600, {12});
      to->put<int64_t>(601, {choice.knob});
    }
  }
  return success;
}

float widen(const Tensor &t, const void *p, int64_t i) {
  if (t.type == float32) return static_cast<const float *>(p)[i];
  const uint32_t bits = uint32_t(static_cast<const uint16_t *>(p)[i]) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

// rounded keeps the upper bits of a number, to nearest even.
float rounded(float value, int dropped) {
  if (dropped == 0 || value != value) return value;
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  bits &= ~((1u << dropped) - 1);
  memcpy(&value, &bits, 4);
  return value;
}

void store(const Tensor &t, void *p, int64_t i, float value) {
  if (t.type == float32) {
    static_cast<float *>(p)[i] = value;
    return;
  }
  uint32_t bits;
  value = rounded(value, 16);
  memcpy(&bits, &value, 4);
  static_cast<uint16_t *>(p)[i] = uint16_t(bits >> 16);
}

// compute sums products of two of the tensors into the third.
void compute(const Problem &p, int rounding, void *x, void *w, void *y) {
  const Tensor &out = p.out();
  void *to = p.kind == forward_kind ? y : p.kind == backward_data_kind ? x : w;
  std::vector<float> sums(out.bytes() / (out.type == bfloat16 ? 2 : 4));
  const int64_t per_group = p.w.dims[1], outs = p.w.dims[0] / p.groups();
  for (int64_t n = 0; n < p.y.dims[0]; n++)
    for (int64_t k = 0; k < p.y.dims[1]; k++)
      for (int64_t i = 0; i < p.y.dims[2]; i++)
        for (int64_t j = 0; j < p.y.dims[3]; j++)
          for (int64_t c = 0; c < per_group; c++)
            for (int64_t u = 0; u < p.w.dims[2]; u++)
              for (int64_t v = 0; v < p.w.dims[3]; v++) {
                const int64_t h = i * p.stride[0] - p.pad[0] + u * p.dilation[0], s = j * p.stride[1] - p.pad[1] + v * p.dilation[1];
                if (h < 0 || h >= p.x.dims[2] || s < 0 || s >= p.x.dims[3]) continue;
                const auto &xs = p.x.strides, &ws = p.w.strides, &ys = p.y.strides;
                const int64_t xi = n * xs[0] + (k / outs * per_group + c) * xs[1] + h * xs[2] + s * xs[3];
                const int64_t wi = k * ws[0] + c * ws[1] + u * ws[2] + v * ws[3];
                const int64_t yi = n * ys[0] + k * ys[1] + i * ys[2] + j * ys[3];
                auto factor = [&](const Tensor &t, void *from, int64_t at) { return rounded(widen(t, from, at), rounding); };
                if (p.kind == forward_kind)
                  sums[size_t(yi)] += factor(p.x, x, xi) * factor(p.w, w, wi);
                else if (p.kind == backward_data_kind)
                  sums[size_t(xi)] += factor(p.y, y, yi) * factor(p.w, w, wi);
                else
                  sums[size_t(wi)] += factor(p.x, x, xi) * factor(p.y, y, yi);
              }
  for (int64_t a = 0; a < out.dims[0]; a++)
    for (int64_t b = 0; b < out.dims[1]; b++)
      for (int64_t c = 0; c < out.dims[2]; c++)
        for (int64_t d = 0; d < out.dims[3]; d++) {
          const int64_t at = a * out.strides[0] + b * out.strides[1] + c * out.strides[2] + d * out.strides[3];
          float value = p.alpha * sums[size_t(at)];
          if (p.beta != 0) value += p.beta * widen(out, to, at);
          store(out, to, at, value);
        }
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return 90100; }

size_t cudnnGetCudartVersion() { return size_t(atol(const_cast<const char *>(mock_cudnn_cuda) + strlen("built for CUDA "))); }

const char *cudnnGetErrorString(int status) {
  switch (status) {
    case success:
      return "CUDNN_STATUS_SUCCESS";
    case not_initialized:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case not_finalized:
      return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case size_insufficient:
      return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case shape_mismatch:
      return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case wrong_type:
      return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case wrong_kind:
      return "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE";
    case bad_param:
      return "CUDNN_STATUS_BAD_PARAM";
    case not_supported:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case internal_error:
      return "CUDNN_STATUS_INTERNAL_ERROR";
    case execution_failed:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "an unknown status";
  }
}

void cudnnGetLastErrorString(char *text, size_t size) {
  snprintf(text, size, "%s", last_error.c_str());
  last_error.clear();
}

int cudnnCreate(void **handle) {
  std::lock_guard<std::mutex> lock(mutex);
  void *context = nullptr;
  if (cuCtxGetCurrent(&context) != 0 || context == nullptr) return fail(not_initialized, "no context is current");
  auto made = std::make_unique<Handle>();
  *handle = made.get();
  handles[*handle] = std::move(made);
  return success;
}

int cudnnDestroy(void *handle) {
  std::lock_guard<std::mutex> lock(mutex);
  if (handles.erase(handle) != 1) return fail(bad_param, "no handle");
  if (!handles.empty() || descriptors.empty()) return success;
  const size_t left = descriptors.size();
  descriptors.clear();
  return fail(internal_error, std::to_string(left) + " descriptors are left");
}

int cudnnSetStream(void *handle, void *stream) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = handles.find(handle);
  if (found == handles.end()) return fail(bad_param, "no handle");
  found->second->stream = stream;
  return success;
}

int cudnnBackendCreateDescriptor(int kind, void **to) {
  std::lock_guard<std::mutex> lock(mutex);
  if (kinds.count(kind) == 0) return fail(not_supported, "kind of a descriptor");
  auto made = std::make_unique<Descriptor>();
  made->kind = kind;
  *to = made.get();
  descriptors[*to] = std::move(made);
  return success;
}

int cudnnBackendDestroyDescriptor(void *descriptor) {
  std::lock_guard<std::mutex> lock(mutex);
  return descriptors.erase(descriptor) == 1 ? success : fail(bad_param, "no descriptor");
}

int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *elements) {
  std::lock_guard<std::mutex> lock(mutex);
  Descriptor *d = find(descriptor);
  if (d == nullptr || elements == nullptr) return fail(bad_param, "no descriptor or no values");
  if (d->finalized) return fail(bad_param, "it is finalized already");
  auto &attributes = kinds.at(d->kind);
  auto found = attributes.find(name);
  if (found == attributes.end() || !found->second.settable) return fail(bad_param, "no such attribute to set");
  const Attribute &attribute = found->second;
  if (attribute.type != type) return fail(wrong_type, "type of an attribute");
  if (count < attribute.least || count > attribute.most) return fail(bad_param, "number of values");
  if (type == descriptor_type)
    if (Status s = refers(attribute, count, elements); s != success) return s;
  auto *bytes = static_cast<const char *>(elements);
  d->values[name].assign(bytes, bytes + size_t(count) * size_of(type));
  return success;
}

int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t room, int64_t *count, void *elements) {
  std::lock_guard<std::mutex> lock(mutex);
  Descriptor *d = find(descriptor);
  if (d == nullptr) return fail(bad_param, "no descriptor");
  if (!d->finalized) return fail(not_finalized, "it is not finalized");
  auto &attributes = kinds.at(d->kind);
  auto found = attributes.find(name);
  if (found == attributes.end()) return fail(bad_param, "no such attribute");
  if (found->second.type != type) return fail(wrong_type, "type of an attribute");
  int64_t there = 0;
  if (count == nullptr) count = &there;
  if (type == descriptor_type && !found->second.settable) return fill(*d, name, room, count, elements);
  const std::vector<char> &bytes = d->values[name];
  *count = int64_t(bytes.size() / size_of(type));
  if (room > 0) memcpy(elements, bytes.data(), size_t(std::min(room, *count)) * size_of(type));
  return success;
}

int cudnnBackendFinalize(void *descriptor) {
  std::lock_guard<std::mutex> lock(mutex);
  Descriptor *d = find(descriptor);
  if (d == nullptr) return fail(bad_param, "no descriptor");
  if (d->finalized) return fail(bad_param, "it is finalized already");
  const Status status = finalize(*d);
  d->finalized = status == success;
  return status;
}

int cudnnBackendExecute(void *handle, void *plan, void *pack) {
  std::lock_guard<std::mutex> lock(mutex);
  auto h = handles.find(handle);
  Descriptor *p = find(plan), *v = find(pack);
  if (h == handles.end() || p == nullptr || v == nullptr || p->kind != plan_kind || v->kind != pack_kind) return fail(bad_param, "handle, plan or pack");
  if (!p->finalized || !v->finalized) return fail(not_finalized, "plan or pack is not finalized");
  if (!alive(p)) return fail(bad_param, "what the plan is made of was destroyed");
  std::map<int64_t, void *> pointers;
  for (size_t i = 0; i < v->values.at(1000).size() / 8; i++) pointers[v->get<int64_t>(1000, i)] = v->get<void *>(1001, i);
  const Problem problem = p->problem;
  const Tensor *tensors[] = {&problem.x, &problem.w, &problem.y};
  for (const Tensor *t : tensors)
    if (pointers[t->id] == nullptr) return fail(bad_param, "a tensor has no pointer");
  const Engine &engine = engines[size_t(p->choice.engine)];
  void *workspace = v->get<void *>(1003);
  if (engine.workspace > 0 && workspace == nullptr) return fail(size_insufficient, "no workspace");
  void *x = pointers[problem.x.id], *w = pointers[problem.w.id], *y = pointers[problem.y.id];
  const int64_t scratch = engine.workspace;
  const int rounding = problem.x.type == float32 ? engine.rounding : 0;
  const int result = mock::enqueue(h->second->stream, "convolution", [=]() -> std::string {
    if (!mock::holds(x, problem.x.bytes()) || !mock::holds(w, problem.w.bytes()) || !mock::holds(y, problem.y.bytes()))
      return "a tensor is not on the device";
    if (scratch > 0) {
      if (!mock::holds(workspace, size_t(scratch))) return "the workspace is not on the device";
      memset(workspace, 0xff, size_t(scratch));
    }
    compute(problem, rounding, x, w, y);
    return "";
  });
  return result == 0 ? success : fail(execution_failed, "error " + std::to_string(result) + " of the driver");
}

}  // extern "C"
