// Build options whose relative include folders are made absolute: the server compiles elsewhere.
#pragma once

#include <string>

namespace haltere {

std::string absolute_includes(const std::string& options);

}  // namespace haltere
