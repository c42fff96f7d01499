// What other mocked libraries need of the mocked driver. They link with it.
#ifndef SURROGAZE_MOCK_MOCK_H
#define SURROGAZE_MOCK_MOCK_H

#include <cstddef>
#include <functional>
#include <string>

namespace mock {

// enqueue puts work into a CUstream, or into the graph that captures it. The work runs
// when somebody waits for the stream, once or as often as the graph is launched; it
// returns why it failed, or "". enqueue returns a CUresult.
int enqueue(void *stream, std::string name, std::function<std::string()> work);

// holds says whether so many bytes from p on lie in one living block of device memory.
// It is for use within work.
bool holds(const void *p, size_t bytes);

}  // namespace mock

#endif
