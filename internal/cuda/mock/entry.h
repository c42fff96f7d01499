// Kernels by their names, called as the driver calls them: with a pointer to each
// argument.
#ifndef SURROGAZE_MOCK_ENTRY_H
#define SURROGAZE_MOCK_ENTRY_H

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "device.h"

namespace mock {

// Parameter is what a kernel takes.
struct Parameter {
  size_t size;   // bytes
  bool pointer;  // to device memory
};

// Entry is a kernel, and how one thread calls it with copies of its arguments.
struct Entry {
  std::vector<Parameter> parameters;
  void (*kernel)();
  void (*call)(void (*kernel)(), const uint64_t *arguments);
};

// add makes a kernel known by its name; find looks one up, or returns null.
bool add(const std::string &name, Entry entry);
const Entry *find(const std::string &name);

// runs says whether a device runs such a grid at all.
bool runs(dim3 grid, dim3 block, size_t shared);

// copies are the arguments that params points to.
std::vector<uint64_t> copies(const Entry &kernel, void **params);

// run executes a kernel on the threads of a grid with so many bytes of dynamic shared
// memory a block. It returns why it failed, or "".
std::string run(const Entry &kernel, const std::vector<uint64_t> &arguments, dim3 grid, dim3 block, size_t shared);

// call reads the arguments, which are no memory of the device's.
template <class... P, size_t... I>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(P...), const uint64_t *arguments, std::index_sequence<I...>) {
  kernel(value<P>(arguments[I])...);
}

template <class... P> Entry entry(void (*kernel)(P...)) {
  return {{Parameter{sizeof(P), std::is_pointer_v<P>}...}, reinterpret_cast<void (*)()>(kernel),
          [](void (*kernel)(), const uint64_t *arguments) {
            call(reinterpret_cast<void (*)(P...)>(kernel), arguments, std::index_sequence_for<P...>());
          }};
}

}  // namespace mock

// ENTRY makes a kernel known; it stands once, outside functions, behind the kernel.
#define ENTRY(name) static const bool name##_added = mock::add(#name, mock::entry(name));

#endif
