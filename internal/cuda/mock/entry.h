// Kernels by their names, called as the driver calls them: with a pointer to each
// argument.
#ifndef SURROGAZE_MOCK_ENTRY_H
#define SURROGAZE_MOCK_ENTRY_H

#include <functional>
#include <string>
#include <tuple>
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

// Entry is a kernel. bind copies the arguments that params points to and returns the
// call of one thread with them.
struct Entry {
  std::vector<Parameter> parameters;
  std::function<std::function<void()>(void **params)> bind;
};

// add makes a kernel known by its name; find looks one up, or returns null.
bool add(const std::string &name, Entry entry);
const Entry *find(const std::string &name);

// runs says whether a device runs such a grid at all.
bool runs(dim3 grid, dim3 block, size_t shared);

// run executes a kernel, bound to its arguments, on the threads of a grid with so many
// bytes of dynamic shared memory a block. It returns why it failed, or "".
std::string run(const std::function<void()> &thread, dim3 grid, dim3 block, size_t shared);

template <class... P, size_t... I>
std::tuple<P...> arguments(void **params, std::index_sequence<I...>) {
  return std::tuple<P...>(*static_cast<const P *>(params[I])...);
}

template <class... P> Entry entry(void (*kernel)(P...)) {
  return {{Parameter{sizeof(P), std::is_pointer_v<P>}...}, [kernel](void **params) {
            auto args = arguments<P...>(params, std::index_sequence_for<P...>());
            return std::function<void()>([kernel, args] { std::apply(kernel, args); });
          }};
}

}  // namespace mock

// ENTRY makes a kernel known; it stands once, outside functions, behind the kernel.
#define ENTRY(name) static const bool name##_added = mock::add(#name, mock::entry(name));

#endif
