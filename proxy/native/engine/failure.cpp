#include "failure.hpp"

#include <cstdarg>
#include <cstdio>

#include "device.hpp"

namespace haltere {

std::string text(const char* format, ...) {
  char room[1024];
  va_list args;
  va_start(args, format);
  const int length = std::vsnprintf(room, sizeof room, format, args);
  va_end(args);
  if (length < 0) return format;
  return {room, std::min<std::size_t>(static_cast<std::size_t>(length), sizeof room - 1)};
}

const char* family(int status) {
  switch (status) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_INVALID_BUFFER_SIZE:
      return "out_of_memory";
    case CL_DEVICE_NOT_FOUND:
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_DEVICE:
      return "device_lost";
    case CL_BUILD_PROGRAM_FAILURE:
    case CL_COMPILE_PROGRAM_FAILURE:
    case CL_LINK_PROGRAM_FAILURE:
    case CL_COMPILER_NOT_AVAILABLE:
    case CL_INVALID_BUILD_OPTIONS:
    case CL_INVALID_BINARY:
    case CL_INVALID_PROGRAM_EXECUTABLE:
    case CL_INVALID_KERNEL_NAME:
    case CL_INVALID_KERNEL_ARGS:
    case CL_INVALID_ARG_INDEX:
    case CL_INVALID_ARG_VALUE:
    case CL_INVALID_ARG_SIZE:
      return "program_rejected";
    case CL_INVALID_VALUE:
    case CL_INVALID_OPERATION:
    case CL_INVALID_MEM_OBJECT:
    case CL_INVALID_SAMPLER:
    case CL_INVALID_IMAGE_FORMAT_DESCRIPTOR:
    case CL_INVALID_IMAGE_SIZE:
    case CL_INVALID_IMAGE_DESCRIPTOR:
    case CL_IMAGE_FORMAT_NOT_SUPPORTED:
    case CL_IMAGE_FORMAT_MISMATCH:
    case CL_MEM_COPY_OVERLAP:
    case CL_MISALIGNED_SUB_BUFFER_OFFSET:
    case CL_INVALID_WORK_DIMENSION:
    case CL_INVALID_WORK_GROUP_SIZE:
    case CL_INVALID_WORK_ITEM_SIZE:
    case CL_INVALID_GLOBAL_OFFSET:
    case CL_INVALID_GLOBAL_WORK_SIZE:
      return "usage_error";
  }
  return "device_fault";
}

void check(int status, const std::string& what) {
  if (status == CL_SUCCESS) return;
  throw Refused{family(status), what + text(": OpenCL status %d", status), status};
}

}  // namespace haltere
