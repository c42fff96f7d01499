#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace mock {

namespace {

constexpr size_t guard = 256;

size_t padded(size_t bytes) { return (bytes + guard - 1) / guard * guard + 2 * guard; }

bool untouched(const unsigned char *from, const unsigned char *to) {
  return std::all_of(from, to, [](unsigned char b) { return b == 0xff; });
}

}  // namespace

void *Heap::allocate(size_t bytes) {
  size_t all = padded(bytes);
  auto *raw = static_cast<unsigned char *>(aligned_alloc(guard, all));
  if (raw == nullptr) return nullptr;
  memset(raw, 0xff, all);
  sizes_[reinterpret_cast<uintptr_t>(raw + guard)] = bytes;
  used_ += bytes;
  return raw + guard;
}

bool Heap::release(void *p) {
  auto found = sizes_.find(reinterpret_cast<uintptr_t>(p));
  if (found == sizes_.end()) return false;
  used_ -= found->second;
  memset(p, 0xff, found->second);  // what still reads it sees NaN, as long as nothing else is there
  sizes_.erase(found);
  free(static_cast<unsigned char *>(p) - guard);
  return true;
}

bool Heap::holds(const void *p, size_t bytes) const {
  auto at = reinterpret_cast<uintptr_t>(p);
  auto next = sizes_.upper_bound(at);
  if (next == sizes_.begin()) return false;
  auto [base, size] = *std::prev(next);
  return at - base < size && bytes <= size - (at - base);
}

std::string Heap::damaged() const {
  for (auto [base, size] : sizes_) {
    auto *p = reinterpret_cast<const unsigned char *>(base);
    if (!untouched(p - guard, p)) return "the bytes before a block of " + std::to_string(size);
    if (!untouched(p + size, p + padded(size) - guard)) return "the bytes behind a block of " + std::to_string(size);
  }
  return "";
}

}  // namespace mock
