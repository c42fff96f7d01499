#include "stream.h"

namespace mock {

void put(Stream &s, Work w) {
  if (s.capture != nullptr) {
    s.capture->nodes.push_back(std::move(w));
    return;
  }
  s.queue.push_back(std::move(w));
  s.put++;
}

std::string drain(Stream &s, long n) {
  while (s.finished < n && !s.queue.empty()) {
    Work w = std::move(s.queue.front());
    s.queue.pop_front();
    s.finished++;
    std::string failure = w.run();
    if (!failure.empty()) return w.name + ": " + failure;
  }
  return "";
}

}  // namespace mock
