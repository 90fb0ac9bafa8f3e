#include "failure.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

namespace haltere {
namespace {

struct Row {
  std::string_view code;
  cl_int opencl;
};

constexpr Row kRows[] = {
    {"out_of_memory", CL_MEM_OBJECT_ALLOCATION_FAILURE},
    {"program_rejected", CL_BUILD_PROGRAM_FAILURE},
    {"usage_error", CL_INVALID_VALUE},
    {"unsupported", CL_INVALID_OPERATION},
    {"backpressure", CL_OUT_OF_RESOURCES},
    {"server_gone", CL_DEVICE_NOT_AVAILABLE},
    {"lease_expired", CL_DEVICE_NOT_AVAILABLE},
    {"device_lost", CL_DEVICE_NOT_AVAILABLE},
};

}  // namespace

cl_int code_of(std::string_view error_code, std::string_view native) {
  const int given = std::atoi(std::string(native).c_str());
  if (given < 0) return given;
  for (const Row& row : kRows)
    if (row.code == error_code) return row.opencl;
  return CL_OUT_OF_RESOURCES;
}

cl_int code_of_exception() noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    return failure.code;
  } catch (const std::bad_alloc&) {
    return CL_OUT_OF_HOST_MEMORY;
  } catch (...) {
    return CL_OUT_OF_RESOURCES;
  }
}

void tell(const std::string& message) noexcept { std::fprintf(stderr, "haltere: %s\n", message.c_str()); }

}  // namespace haltere
