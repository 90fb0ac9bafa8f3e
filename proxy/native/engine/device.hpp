// One OpenCL device, reached through the dispatch table that its handle begins with: the loader that
// found it (pyopencl's own) need not be linked, nor be the only one in the process.
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_icd.h>

#include <cstdint>
#include <string>

#include "failure.hpp"
#include "printing.hpp"

namespace haltere {

struct Device {
  cl_device_id id = nullptr;
  const cl_icd_dispatch* cl = nullptr;
  std::uint64_t memory_bytes = 0;      // all sessions together may have there at a time,
  std::uint64_t promised_bytes = 0;    // and there or swapped out
  std::uint64_t max_buffer_bytes = 0;
  std::uint64_t used_bytes = 0;   // there
  std::uint64_t owned_bytes = 0;  // there or swapped out
  std::uint64_t local_bytes = 0;  // of local memory
  std::uint64_t align = 1;        // of an offset into a buffer argument
  bool images = false;
  bool tells = false;  // it runs functions of ours behind other commands: see bells.hpp
  std::int64_t landed_ns = 0;  // the last time that it was done with something
  Printing printing{};
  unsigned abandoned = 0;      // sessions that are over while it is still busy with them

  // Throws Refused for a handle that has no such table.
  static Device open(void* id, std::uint64_t memory_bytes, std::uint64_t max_buffer_bytes);

  // Memory is a promise: drivers hand out more than there is and fail in the middle of a kernel.
  void take(std::uint64_t nbytes);
  void give(std::uint64_t nbytes) {
    used_bytes -= nbytes;
    owned_bytes -= nbytes;
  }
  bool swaps() const { return promised_bytes > memory_bytes; }

  template <class T>
  T info(cl_device_info query) const {
    T value{};
    check(cl->clGetDeviceInfo(id, query, sizeof value, &value, nullptr), text("device query %#x", query));
    return value;
  }

  // All raw answers of the driver, as DeviceValue records behind each other.
  std::string values() const;

 private:
  void formats(std::string& out) const;
};

}  // namespace haltere
