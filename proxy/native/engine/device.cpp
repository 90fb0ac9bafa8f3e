#include "device.hpp"

#include <array>
#include <vector>

#include "../segment.hpp"

namespace haltere {
namespace {

constexpr cl_platform_info kPlatformQueries[] = {
    CL_PLATFORM_PROFILE, CL_PLATFORM_VERSION, CL_PLATFORM_NAME, CL_PLATFORM_VENDOR,
    CL_PLATFORM_EXTENSIONS, CL_PLATFORM_HOST_TIMER_RESOLUTION, CL_PLATFORM_NUMERIC_VERSION,
    CL_PLATFORM_EXTENSIONS_WITH_VERSION, 0x0920 /* CL_PLATFORM_ICD_SUFFIX_KHR */};

// All of OpenCL 1.0 to 3.0 lies in two runs of numbers; of extensions, those that programs ask for.
constexpr cl_device_info kFirst = 0x1000, kLast = 0x1075;
constexpr cl_device_info kExtensions[] = {
    0x4000, 0x4001, 0x4002, 0x4003, 0x4004, 0x4005, 0x4006, 0x4008,  // NVIDIA
    0x4036, 0x4037, 0x4038, 0x4039, 0x403A, 0x403B, 0x403C, 0x403D, 0x403E, 0x403F,  // AMD
    0x4040, 0x4041, 0x4042, 0x4043, 0x4044, 0x4048, 0x4049,
    0x4108,                                                          // Intel: simultaneous use
    0x4250, 0x4251, 0x4252, 0x4253, 0x4254, 0x4255, 0x4256,          // Intel: topology
    0x106A, 0x106F,                                                  // UUID, PCI
};

template <class Ask>
void answer(std::string& out, std::uint64_t scope, std::uint64_t query, Ask&& ask) {
  std::size_t nbytes = 0;
  if (ask(0, nullptr, &nbytes) != CL_SUCCESS || nbytes > kMaxRecordBytes / 2) return;
  std::vector<std::uint8_t> data(nbytes);
  if (nbytes && ask(nbytes, data.data(), nullptr) != CL_SUCCESS) return;
  std::string record;
  encode(record, 0, DeviceValue{scope, query, Bytes{data.data(), nbytes}});
  out += record;
}

}  // namespace

// Formats of images, by image type. Asking needs a context.
void Device::formats(std::string& out) const {
  const cl_context context = cl->clCreateContext(nullptr, 1, &id, nullptr, nullptr, nullptr);
  if (!context) return;
  for (cl_mem_object_type type = CL_MEM_OBJECT_IMAGE2D; type <= CL_MEM_OBJECT_IMAGE1D_BUFFER; ++type)
    answer(out, 2, type, [&](std::size_t size, void* into, std::size_t* nbytes) {
      constexpr std::size_t kOne = sizeof(cl_image_format);
      cl_uint count = 0;
      const cl_int status = cl->clGetSupportedImageFormats(context, CL_MEM_READ_WRITE, type, static_cast<cl_uint>(size / kOne),
                                                           static_cast<cl_image_format*>(into), &count);
      if (nbytes) *nbytes = count * kOne;
      return status;
    });
  cl->clReleaseContext(context);
}

Device Device::open(void* id, std::uint64_t memory_bytes, std::uint64_t max_buffer_bytes) {
  Device found;
  found.id = static_cast<cl_device_id>(id);
  found.cl = *static_cast<const cl_icd_dispatch* const*>(id);
  // A loader of the second kind keeps the table elsewhere and puts a tag in this place.
  constexpr std::uintptr_t kTag = 0x4F50454E434C3331;  // "OPENCL31"
  if (found.cl == nullptr ||
      reinterpret_cast<std::uintptr_t>(reinterpret_cast<const void*>(found.cl->clGetPlatformIDs)) == kTag)
    throw Refused{"unsupported", "this OpenCL driver's handles have no dispatch table", 0};
  found.memory_bytes = found.promised_bytes = memory_bytes;
  found.max_buffer_bytes = max_buffer_bytes;
  found.local_bytes = found.info<cl_ulong>(CL_DEVICE_LOCAL_MEM_SIZE);
  found.images = found.info<cl_bool>(CL_DEVICE_IMAGE_SUPPORT);
  found.tells = found.info<cl_device_exec_capabilities>(CL_DEVICE_EXECUTION_CAPABILITIES) & CL_EXEC_NATIVE_KERNEL;
  found.align = std::max<cl_uint>(found.info<cl_uint>(CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8, 1);
  return found;
}

void Device::take(std::uint64_t nbytes) {
  if (!within(owned_bytes, nbytes, promised_bytes))
    throw Refused{"out_of_memory",
                  text("alloc of %llu bytes: %llu of %llu are in use; free some, or go to another device",
                       static_cast<unsigned long long>(nbytes),
                       static_cast<unsigned long long>(owned_bytes),
                       static_cast<unsigned long long>(promised_bytes)),
                  CL_MEM_OBJECT_ALLOCATION_FAILURE};
  used_bytes += nbytes;
  owned_bytes += nbytes;
}

std::string Device::values() const {
  std::string out;
  const auto platform = info<cl_platform_id>(CL_DEVICE_PLATFORM);
  for (const cl_platform_info query : kPlatformQueries)
    answer(out, 0, query, [&](std::size_t size, void* into, std::size_t* nbytes) {
      return cl->clGetPlatformInfo(platform, query, size, into, nbytes);
    });
  const auto ask = [&](cl_device_info query) {
    if (query == CL_DEVICE_PLATFORM || query == CL_DEVICE_PARENT_DEVICE) return;  // pointers of this process
    answer(out, 1, query, [&](std::size_t size, void* into, std::size_t* nbytes) {
      return cl->clGetDeviceInfo(id, query, size, into, nbytes);
    });
  };
  for (cl_device_info query = kFirst; query <= kLast; ++query) ask(query);
  for (const cl_device_info query : kExtensions)
    if (query > kLast) ask(query);
  if (images) formats(out);
  return out;
}

}  // namespace haltere
