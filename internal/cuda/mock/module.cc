#include "module.h"

#include <regex>

namespace mock {

namespace {

// sizes are the bytes of the parameters in a list of PTX's.
std::vector<size_t> sizes(const std::string &list) {
  static const std::regex parameter(R"(\.param \.[a-z]+([0-9]+) )");
  std::vector<size_t> all;
  for (std::sregex_iterator p(list.begin(), list.end(), parameter), end; p != end; ++p)
    all.push_back(std::stoul((*p)[1]) / 8);
  return all;
}

std::vector<size_t> sizes(const Entry &e) {
  std::vector<size_t> all;
  for (const Parameter &p : e.parameters) all.push_back(p.size);
  return all;
}

}  // namespace

std::string load(const std::string &ptx, Module &to) {
  static const std::regex header(R"((^|\n)\.version [0-9.]+\n\.target sm_[0-9]+)");
  static const std::regex entry(R"(\.entry (\w+)\(([^)]*)\))");
  if (!std::regex_search(ptx, header)) return "line 1: no .version and .target";
  for (std::sregex_iterator e(ptx.begin(), ptx.end(), entry), end; e != end; ++e) {
    std::string name = (*e)[1];
    const Entry *known = find(name);
    if (known == nullptr) return "kernel " + name + ": the mock has none of that name";
    if (sizes(*known) != sizes((*e)[2])) return "kernel " + name + ": other parameters than its source";
    to.functions[name] = {name, known};
  }
  return "";
}

}  // namespace mock
