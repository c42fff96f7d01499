// Modules: PTX, of which the mock reads names and parameters and runs the same kernels
// as the C++ compiler made them.
#ifndef SURROGAZE_MOCK_MODULE_H
#define SURROGAZE_MOCK_MODULE_H

#include <map>
#include <string>

#include "entry.h"

namespace mock {

// A Function is a kernel of a module.
struct Function {
  std::string name;
  const Entry *entry;
};

struct Module {
  std::map<std::string, Function> functions;
};

// load reads PTX. It returns why it cannot, or "".
std::string load(const std::string &ptx, Module &to);

}  // namespace mock

#endif
