// The memory of the device and the pinned memory of the host.
#ifndef SURROGAZE_MOCK_MEMORY_H
#define SURROGAZE_MOCK_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace mock {

// A Heap hands out memory aligned to 256 bytes. Fresh memory reads as NaN, and so do
// the guards around each block, which nobody may write.
class Heap {
 public:
  // allocate returns null for want of memory.
  void *allocate(size_t bytes);
  // release says whether there was a block at p.
  bool release(void *p);
  // holds says whether so many bytes at p lie within one block.
  bool holds(const void *p, size_t bytes) const;
  // damaged describes a block around which something was written, or is "".
  std::string damaged() const;
  size_t blocks() const { return sizes_.size(); }
  size_t used() const { return used_; }

 private:
  std::map<uintptr_t, size_t> sizes_;
  size_t used_ = 0;
};

}  // namespace mock

#endif
