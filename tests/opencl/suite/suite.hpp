// Small cases with names, each of which prints what a device's driver answers. A program is run
// with the name of one case, natively and through the proxy, and the lines are compared
// (test_suite.py). Lines that begin with "~ " may differ: they are for a reader.
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace suite {

using Bytes = std::vector<std::uint8_t>;

inline std::map<std::string, void (*)()>& cases() {
  static std::map<std::string, void (*)()> found;
  return found;
}

struct Registration {
  Registration(const char* name, void (*run)()) { cases()[name] = run; }
};

#define CASE(name)                                           \
  static void name();                                        \
  static const suite::Registration registered_##name{#name, name}; \
  static void name()

inline const char* name_of(cl_int code) {
  switch (code) {
#define NAMED(code) \
  case code: return #code;
    NAMED(CL_SUCCESS) NAMED(CL_DEVICE_NOT_FOUND) NAMED(CL_DEVICE_NOT_AVAILABLE)
    NAMED(CL_COMPILER_NOT_AVAILABLE) NAMED(CL_MEM_OBJECT_ALLOCATION_FAILURE)
    NAMED(CL_OUT_OF_RESOURCES) NAMED(CL_OUT_OF_HOST_MEMORY)
    NAMED(CL_PROFILING_INFO_NOT_AVAILABLE) NAMED(CL_MEM_COPY_OVERLAP)
    NAMED(CL_IMAGE_FORMAT_MISMATCH) NAMED(CL_IMAGE_FORMAT_NOT_SUPPORTED)
    NAMED(CL_BUILD_PROGRAM_FAILURE) NAMED(CL_MAP_FAILURE) NAMED(CL_MISALIGNED_SUB_BUFFER_OFFSET)
    NAMED(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) NAMED(CL_COMPILE_PROGRAM_FAILURE)
    NAMED(CL_LINKER_NOT_AVAILABLE) NAMED(CL_LINK_PROGRAM_FAILURE)
    NAMED(CL_DEVICE_PARTITION_FAILED) NAMED(CL_KERNEL_ARG_INFO_NOT_AVAILABLE)
    NAMED(CL_INVALID_VALUE) NAMED(CL_INVALID_DEVICE_TYPE) NAMED(CL_INVALID_PLATFORM)
    NAMED(CL_INVALID_DEVICE) NAMED(CL_INVALID_CONTEXT) NAMED(CL_INVALID_QUEUE_PROPERTIES)
    NAMED(CL_INVALID_COMMAND_QUEUE) NAMED(CL_INVALID_HOST_PTR) NAMED(CL_INVALID_MEM_OBJECT)
    NAMED(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR) NAMED(CL_INVALID_IMAGE_SIZE)
    NAMED(CL_INVALID_SAMPLER) NAMED(CL_INVALID_BINARY) NAMED(CL_INVALID_BUILD_OPTIONS)
    NAMED(CL_INVALID_PROGRAM) NAMED(CL_INVALID_PROGRAM_EXECUTABLE) NAMED(CL_INVALID_KERNEL_NAME)
    NAMED(CL_INVALID_KERNEL_DEFINITION) NAMED(CL_INVALID_KERNEL) NAMED(CL_INVALID_ARG_INDEX)
    NAMED(CL_INVALID_ARG_VALUE) NAMED(CL_INVALID_ARG_SIZE) NAMED(CL_INVALID_KERNEL_ARGS)
    NAMED(CL_INVALID_WORK_DIMENSION) NAMED(CL_INVALID_WORK_GROUP_SIZE)
    NAMED(CL_INVALID_WORK_ITEM_SIZE) NAMED(CL_INVALID_GLOBAL_OFFSET)
    NAMED(CL_INVALID_EVENT_WAIT_LIST) NAMED(CL_INVALID_EVENT) NAMED(CL_INVALID_OPERATION)
    NAMED(CL_INVALID_GL_OBJECT) NAMED(CL_INVALID_BUFFER_SIZE) NAMED(CL_INVALID_MIP_LEVEL)
    NAMED(CL_INVALID_GLOBAL_WORK_SIZE) NAMED(CL_INVALID_PROPERTY)
    NAMED(CL_INVALID_IMAGE_DESCRIPTOR) NAMED(CL_INVALID_COMPILER_OPTIONS)
    NAMED(CL_INVALID_LINKER_OPTIONS) NAMED(CL_INVALID_DEVICE_PARTITION_COUNT)
    NAMED(CL_INVALID_PIPE_SIZE) NAMED(CL_INVALID_DEVICE_QUEUE) NAMED(CL_INVALID_SPEC_ID)
    NAMED(CL_MAX_SIZE_RESTRICTION_EXCEEDED)
#undef NAMED
    default: return nullptr;
  }
}

inline std::string code(cl_int number) {
  const char* name = name_of(number);
  return name ? name : std::to_string(number);
}

// Print how a call went; `called` is the call as written.
inline cl_int tell(const char* called, cl_int number) {
  std::string line;
  for (const char* at = called; *at; ++at)  // on one line, without the runs of blanks
    if (*at != ' ' || line.empty() || line.back() != ' ') line += *at;
  std::printf("%s -> %s\n", line.c_str(), code(number).c_str());
  return number;
}
#define TELL(...) suite::tell(#__VA_ARGS__, (__VA_ARGS__))

[[noreturn]] inline void give_up(const char* what, int line, const char* why) {
  std::printf("line %d: %s: %s\n", line, what, why);
  std::fflush(nullptr);
  std::_Exit(1);
}

// A call that must work; else the case ends.
#define OK(...)                                                                      \
  do {                                                                               \
    const cl_int code_ = (__VA_ARGS__);                                              \
    if (code_ != CL_SUCCESS) suite::give_up(#__VA_ARGS__, __LINE__, suite::code(code_).c_str()); \
  } while (0)

// A fact that holds whatever the driver; else the case ends.
#define HOLDS(...)                                                        \
  do {                                                                    \
    if (!(__VA_ARGS__)) suite::give_up(#__VA_ARGS__, __LINE__, "does not hold"); \
  } while (0)

// The object made by a call whose last argument is `&error`, which must work.
#define MADE(...)                                     \
  ([&] {                                              \
    cl_int error = CL_SUCCESS;                        \
    auto made_ = (__VA_ARGS__);                       \
    if (error != CL_SUCCESS || !made_)                \
      suite::give_up(#__VA_ARGS__, __LINE__, suite::code(error).c_str()); \
    return made_;                                     \
  }())

// The error of a call whose last argument is `&error`, printed. The object, if any, is lost.
#define TELL_MADE(...)                                \
  ([&] {                                              \
    cl_int error = 12345; /* must be overwritten */   \
    auto made_ = (__VA_ARGS__);                       \
    suite::tell(#__VA_ARGS__, error);                 \
    return made_;                                     \
  }())

// A call which the specification refuses with `expected`, and some drivers let pass.
#define MAY_REFUSE(expected, ...)                                        \
  do {                                                                   \
    const cl_int code_ = (__VA_ARGS__);                                  \
    std::printf("~ %s -> %s\n", #__VA_ARGS__, suite::code(code_).c_str()); \
    HOLDS(code_ == CL_SUCCESS || code_ == (expected));                   \
  } while (0)

// A call that makes an object which no driver makes; which error that is differs.
#define REFUSED_MADE(...)                                       \
  do {                                                          \
    cl_int error = CL_SUCCESS;                                  \
    HOLDS((__VA_ARGS__) == nullptr);                            \
    std::printf("~ %s -> %s\n", #__VA_ARGS__, suite::code(error).c_str()); \
    HOLDS(error != CL_SUCCESS);                                 \
  } while (0)

// As MAY_REFUSE, for a call that makes an object, which is lost.
#define MAY_REFUSE_MADE(expected, ...) \
  MAY_REFUSE(expected, ([&] {          \
    cl_int error = 12345;              \
    (void)(__VA_ARGS__);               \
    return error;                      \
  }()))

inline std::uint64_t digest(const void* data, std::size_t size) {  // FNV-1a
  std::uint64_t hash = 14695981039346656037u;
  for (std::size_t at = 0; at < size; ++at)
    hash = (hash ^ static_cast<const std::uint8_t*>(data)[at]) * 1099511628211u;
  return hash;
}

template <typename T>
void show(const char* name, const std::vector<T>& values) {
  const std::size_t size = values.size() * sizeof(T);
  std::printf("%s: %zu bytes %016llx", name, size,
              static_cast<unsigned long long>(digest(values.data(), size)));
  for (std::size_t at = 0; at < values.size() && at < 8; ++at)
    std::printf(" %.9g", static_cast<double>(values[at]));
  std::printf("\n");
}

template <typename T = std::uint8_t>
std::vector<T> counting(std::size_t count, T first = 0) {
  std::vector<T> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

struct Host {  // the first device, a context and a queue; all released at the end
  cl_platform_id platform{};
  cl_device_id device{};
  cl_context context{};
  cl_command_queue queue{};

  explicit Host(cl_command_queue_properties properties = 0) {
    OK(clGetPlatformIDs(1, &platform, nullptr));
    OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr));
    context = MADE(clCreateContext(nullptr, 1, &device, nullptr, nullptr, &error));
    queue = new_queue(properties);
  }
  ~Host() {
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
  }
  Host(const Host&) = delete;

  cl_command_queue new_queue(cl_command_queue_properties properties = 0) const {
    const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, properties, 0};
    return MADE(clCreateCommandQueueWithProperties(context, device, list, &error));
  }
  cl_mem buffer(std::size_t size, cl_mem_flags flags = CL_MEM_READ_WRITE, void* host = nullptr) const {
    return MADE(clCreateBuffer(context, flags, size, host, &error));
  }
  template <typename T>
  cl_mem filled(const std::vector<T>& values, cl_mem_flags flags = CL_MEM_READ_WRITE) const {
    return buffer(values.size() * sizeof(T), flags | CL_MEM_COPY_HOST_PTR,
                  const_cast<T*>(values.data()));
  }
  template <typename T = std::uint8_t>
  std::vector<T> read(cl_mem buffer, std::size_t count, std::size_t offset = 0) const {
    std::vector<T> values(count);
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, offset, count * sizeof(T), values.data(), 0,
                           nullptr, nullptr));
    return values;
  }
  cl_program build(const char* source, const char* options = "") const {
    cl_program program = MADE(clCreateProgramWithSource(context, 1, &source, nullptr, &error));
    if (clBuildProgram(program, 1, &device, options, nullptr, nullptr) != CL_SUCCESS) {
      std::string log(65536, '\0');
      clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, log.size(), log.data(), nullptr);
      give_up(source, 0, log.c_str());
    }
    return program;
  }
  cl_kernel kernel(const char* source, const char* name, const char* options = "") const {
    cl_program program = build(source, options);
    cl_kernel made = MADE(clCreateKernel(program, name, &error));
    OK(clReleaseProgram(program));  // the kernel holds it
    return made;
  }
  void launch(cl_kernel kernel, std::size_t global, std::size_t local = 0,
              cl_event* event = nullptr) const {
    OK(clEnqueueNDRangeKernel(queue, kernel, 1, nullptr, &global, local ? &local : nullptr, 0,
                              nullptr, event));
  }
};

template <typename... Values>
void set_args(cl_kernel kernel, const Values&... values) {
  cl_uint index = 0;
  (
      [&] { OK(clSetKernelArg(kernel, index++, sizeof(values), &values)); }(), ...);
}

// What a query answers: its size, and errors for a buffer one byte too small. Raw bytes.
template <typename Query>
Bytes queried(const char* name, Query query) {
  std::size_t size = 0;
  cl_int asked = query(0, nullptr, &size);
  if (asked != CL_SUCCESS) {
    std::printf("%s -> %s\n", name, code(asked).c_str());
    return {};
  }
  Bytes value(size + 8, 0xEE);
  std::size_t again = 0;
  OK(query(size, value.data(), &again));
  HOLDS(again == size);
  for (std::size_t at = size; at < value.size(); ++at) HOLDS(value[at] == 0xEE);
  if (size) {
    Bytes small(size);
    cl_int error = query(size - 1, small.data(), nullptr);
    if (error != CL_INVALID_VALUE) std::printf("%s one byte short -> %s\n", name, code(error).c_str());
  }
  OK(query(value.size(), value.data(), nullptr));  // too much room is no error
  value.resize(size);
  return value;
}

inline void show_bytes(const char* name, const Bytes& value) {
  std::printf("%s: %zu bytes", name, value.size());
  for (std::size_t at = 0; at < value.size() && at < 64; ++at) std::printf(" %02x", value[at]);
  if (value.size() > 64)
    std::printf(" ... %016llx", static_cast<unsigned long long>(digest(value.data(), value.size())));
  std::printf("\n");
}

inline void show_text(const char* name, const Bytes& value) {
  std::printf("%s: \"%.*s\"\n", name, static_cast<int>(value.size()),
              reinterpret_cast<const char*>(value.data()));
}

template <typename T>
T as(const Bytes& value) {
  T found{};
  std::memcpy(&found, value.data(), value.size() < sizeof(T) ? value.size() : sizeof(T));
  return found;
}

template <typename Info, typename Object>
cl_uint number(Info info, Object object, cl_uint what) {
  cl_uint value = 0;
  OK(info(object, what, sizeof value, &value, nullptr));
  return value;
}

}  // namespace suite

int main(int count, char** arguments) {
  const auto found = suite::cases().find(count > 1 ? arguments[1] : "");
  if (found == suite::cases().end()) {
    for (const auto& [name, run] : suite::cases()) std::printf("%s\n", name.c_str());
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  found->second();
  std::printf("end of %s\n", arguments[1]);
  return 0;
}
