// What goes wrong inside is thrown as a Failure and becomes OpenCL's code at the entry point.
#pragma once

#include <CL/cl.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace haltere {

struct Failure : std::runtime_error {
  Failure(cl_int opencl_code, const std::string& message = "") : std::runtime_error(message), code(opencl_code) {}
  cl_int code;
};

inline void check(bool condition, cl_int otherwise) {
  if (!condition) throw Failure(otherwise);
}

// OpenCL's code for an error of the server: the device's own if it says so, else that of its class.
cl_int code_of(std::string_view error_code, std::string_view native);

// Inside catch (...): the code of what was thrown.
cl_int code_of_exception() noexcept;

// The same for entry points that return an object.
template <class Result>
Result refused_with(cl_int* errcode_ret, cl_int code) noexcept {
  if (errcode_ret) *errcode_ret = code;
  return nullptr;
}

// One line on the program's standard error, for what no code can say.
void tell(const std::string& message) noexcept;

}  // namespace haltere
