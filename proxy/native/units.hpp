// What is compiled and linked separately, as bytes: the payload of Load records of the formats
// "opencl-compile" (one unit) and "opencl-link" (any number). Strings are u64 length and contents
// padded to 8, as fields of records are:
//
//     unit: source, options, u64 number of headers, for each: name, source
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec.hpp"

namespace haltere {

using Headers = std::vector<std::pair<std::string, std::string>>;  // name, source

struct Unit {
  std::string source, options;
  Headers headers;
};

inline std::string pack_unit(const Unit& unit) {
  std::string bytes;
  Writer write(bytes);
  write(Bytes(unit.source));
  write(Bytes(unit.options));
  write(std::uint64_t{unit.headers.size()});
  for (const auto& [name, source] : unit.headers) {
    write(Bytes(name));
    write(Bytes(source));
  }
  return bytes;
}

// nullopt: malformed.
inline std::optional<std::vector<Unit>> unpack_units(std::string_view packed) {
  std::string framed(kHeadBytes, '\0');  // a Reader begins behind a record's head
  framed.append(packed);
  Reader read{Bytes(framed)};
  const auto text = [&read] {
    Bytes bytes;
    read(bytes);
    return std::string(bytes.text());
  };
  std::vector<Unit> units;
  while (read.good() && !read.ended()) {
    Unit& unit = units.emplace_back();
    unit.source = text();
    unit.options = text();
    std::uint64_t count = 0;
    for (read(count); count && read.good(); --count) {
      std::string name = text();
      unit.headers.emplace_back(std::move(name), text());
    }
  }
  if (!read.good()) return std::nullopt;
  return units;
}

}  // namespace haltere
