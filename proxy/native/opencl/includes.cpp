#include "includes.hpp"

#include <filesystem>

namespace haltere {

std::string absolute_includes(const std::string& options) {
  std::string made;
  std::size_t at = 0;
  while (at < options.size()) {
    const bool begins = at == 0 || options[at - 1] == ' ';
    if (!begins || options.compare(at, 2, "-I") != 0) {
      made += options[at++];
      continue;
    }
    made += "-I";
    at += 2;
    while (at < options.size() && options[at] == ' ') made += options[at++];
    const bool quoted = at < options.size() && options[at] == '"';
    if (quoted) made += options[at++];
    const std::size_t end = std::min(options.find(quoted ? '"' : ' ', at), options.size());
    std::error_code ignored;
    made += std::filesystem::absolute(options.substr(at, end - at), ignored).string();
    at = end;
  }
  return made;
}

}  // namespace haltere
