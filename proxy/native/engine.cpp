// The server's native half; see engine.py.
#include "segment.hpp"

extern "C" __attribute__((visibility("default"))) std::uint64_t haltere_engine_version() {
  return haltere::kVersion;
}
