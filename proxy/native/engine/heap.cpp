#include "heap.hpp"

#include <cstring>
#include <vector>

namespace haltere {

std::optional<SharedHeap::Found> SharedHeap::find(std::uint64_t handle, std::uint64_t nbytes) const {
  if (!base_) return std::nullopt;
  Place& place = place_of(base_, handle);
  const std::uint64_t stated = shared_word(place.handle).load(std::memory_order_acquire);
  const std::uint64_t offset = shared_word(place.offset).load(std::memory_order_relaxed);
  if (stated != handle || offset < kHeapFirst || offset % kHeapAlign || !within(offset, nbytes, nbytes_)) return std::nullopt;
  return Found{&place, base_ + offset};
}

bool shares_memory(const Device& device) {
  const cl_icd_dispatch& cl = *device.cl;
  cl_device_type type = 0;
  cl_bool unified = CL_FALSE;
  if (cl.clGetDeviceInfo(device.id, CL_DEVICE_TYPE, sizeof type, &type, nullptr) != CL_SUCCESS ||
      cl.clGetDeviceInfo(device.id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, nullptr) != CL_SUCCESS ||
      !(type & CL_DEVICE_TYPE_CPU) || !unified)
    return false;
  constexpr std::size_t kBytes = 4096;
  alignas(kBytes) static std::uint8_t memory[kBytes];
  std::vector<std::uint8_t> seen(kBytes);
  const std::uint8_t one = 0x5a, two = 0xa5;
  std::memset(memory, 0, kBytes);
  const cl_context context = cl.clCreateContext(nullptr, 1, &device.id, nullptr, nullptr, nullptr);
  if (!context) return false;
  cl_int status = CL_SUCCESS;
  const cl_command_queue queue = cl.clCreateCommandQueue(context, device.id, 0, &status);
  const cl_mem buffer = cl.clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, kBytes, memory, &status);
  bool shared = false;
  if (queue && buffer) {
    shared = cl.clEnqueueFillBuffer(queue, buffer, &one, 1, 0, kBytes, 0, nullptr, nullptr) == CL_SUCCESS && cl.clFinish(queue) == CL_SUCCESS;
    for (const std::uint8_t byte : memory) shared &= byte == one;  // without a map
    std::memset(memory, two, kBytes);
    shared = shared && cl.clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, kBytes, seen.data(), 0, nullptr, nullptr) == CL_SUCCESS;
    for (const std::uint8_t byte : seen) shared &= byte == two;
  }
  if (buffer) cl.clReleaseMemObject(buffer);
  if (queue) cl.clReleaseCommandQueue(queue);
  cl.clReleaseContext(context);
  return shared;
}

}  // namespace haltere
