// What is compiled and linked separately, as bytes: the payload of Load records of the formats
// "opencl-compile" (one unit) and "opencl-link" (any number). Strings are u64 length and contents
// padded to 8, as fields of records are:
//
//     unit: source, options, u64 number of headers, for each: name, source
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "../codec.hpp"

namespace haltere {

// Options whose relative include folders are made absolute: the server compiles elsewhere.
std::string absolute_includes(const std::string& options);

inline std::string pack_unit(const std::string& source, const std::string& options,
                             const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string bytes;
  Writer write(bytes);
  write(Bytes(source));
  write(Bytes(options));
  write(std::uint64_t{headers.size()});
  for (const auto& [name, text] : headers) {
    write(Bytes(name));
    write(Bytes(text));
  }
  return bytes;
}

}  // namespace haltere
