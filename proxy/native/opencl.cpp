// The OpenCL driver that programs load; see docs/opencl.md.
#include "segment.hpp"

extern "C" __attribute__((visibility("default"))) std::uint64_t haltere_opencl_version() {
  return haltere::kVersion;
}
