// The OpenCL driver that programs load; see docs/opencl.md. It answers the ICD loader with one
// platform, whose objects carry the table of all entry points.
#include "opencl/entries.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace haltere {
namespace {

cl_int CL_API_CALL icd_platforms(cl_uint entries, cl_platform_id* platforms, cl_uint* count) {
  return dispatch_table.clGetPlatformIDs(entries, platforms, count);
}

}  // namespace

cl_icd_dispatch dispatch_table{};

void* extension_function(const char* name) {
  if (name && std::string_view(name) == "clIcdGetPlatformIDsKHR") return reinterpret_cast<void*>(icd_platforms);
  return nullptr;
}

namespace {

[[maybe_unused]] const bool filled = [] {
  enter_refused(dispatch_table);
  enter_platform(dispatch_table);
  enter_context(dispatch_table);
  enter_queue(dispatch_table);
  enter_memory(dispatch_table);
  enter_transfer(dispatch_table);
  enter_map(dispatch_table);
  enter_image(dispatch_table);
  enter_image_transfer(dispatch_table);
  enter_sampler(dispatch_table);
  enter_program(dispatch_table);
  enter_build(dispatch_table);
  enter_kernel(dispatch_table);
  enter_launch(dispatch_table);
  enter_event(dispatch_table);
  return true;
}();

}  // namespace
}  // namespace haltere

EXPORTED std::uint64_t haltere_opencl_version() { return haltere::kVersion; }

EXPORTED cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint entries, cl_platform_id* platforms, cl_uint* count) {
  return haltere::icd_platforms(entries, platforms, count);
}

EXPORTED void* CL_API_CALL clGetExtensionFunctionAddress(const char* name) { return haltere::extension_function(name); }

EXPORTED cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id platform, cl_platform_info query, std::size_t room,
                                              void* into, std::size_t* size_ret) {
  return haltere::dispatch_table.clGetPlatformInfo(platform, query, room, into, size_ret);
}
