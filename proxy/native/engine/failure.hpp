// What goes wrong: `Refused` is one command's or call's error, told to the worker; `Violation` ends
// the session. Codes are those of hal/errors.py, `native` is OpenCL's number or 0.
#pragma once

#include <cstdint>
#include <string>

namespace haltere {

struct Refused {
  std::string code;
  std::string message;
  int native = 0;
};

struct Violation {
  std::string message;
};

// There is no room on the device now, but there will be: others are swapped out for it. Nothing was
// done, and the command is to be tried again.
struct NoRoom {
  std::uint64_t nbytes;
  bool driver = false;  // by all that is counted there is room, and the driver has none
};

// Another launch that may print is with the device: tried again when that is done. Nothing was done.
struct Busy {};

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

// The hal's code for OpenCL's, as hal/backends/opencl/errors.py has it.
const char* family(int status);

// Throws Refused unless `status` is success, saying what was asked.
void check(int status, const std::string& what);

inline Refused usage(int native, std::string message) {
  return {"usage_error", std::move(message), native};
}

// True if `offset` + `nbytes` lies within `size`, without overflow.
inline bool within(std::uint64_t offset, std::uint64_t nbytes, std::uint64_t size) {
  return offset <= size && nbytes <= size - offset;
}

// a * b, at most 2^64 - 1: no product of a stranger's numbers wraps around.
inline std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

inline std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

}  // namespace haltere
