// Programs and their kernels. OpenCL takes an argument as a size and a pointer, so that a scalar
// passed for a buffer is read as an object and brings the process down: the kinds are learnt here.
#include <algorithm>

#include "objects.hpp"

namespace haltere {
namespace {

constexpr std::size_t kMaxLogBytes = 32 << 10;

template <class T>
T kernel_info(const Device& device, cl_kernel kernel, cl_kernel_info query) {
  T value{};
  check(device.cl->clGetKernelInfo(kernel, query, sizeof value, &value, nullptr), "kernel query");
  return value;
}

template <class T>
T group_info(const Device& device, cl_kernel kernel, cl_kernel_work_group_info query) {
  T value{};
  device.cl->clGetKernelWorkGroupInfo(kernel, device.id, query, sizeof value, &value, nullptr);
  return value;  // zeros where the driver does not say
}

// What a query gives as text, without its final zero; empty where the driver does not say.
template <class Ask>
std::string words(Ask&& ask) {
  std::size_t nbytes = 0;
  if (ask(0, nullptr, &nbytes) != CL_SUCCESS || nbytes == 0) return {};
  std::string found(nbytes, '\0');
  if (ask(nbytes, found.data(), nullptr) != CL_SUCCESS) return {};
  found.resize(std::min(found.find('\0'), found.size()));
  return found;
}

std::string arg_text(const Device& device, cl_kernel kernel, cl_uint index, cl_kernel_arg_info query) {
  return words([&](std::size_t size, void* into, std::size_t* nbytes) {
    return device.cl->clGetKernelArgInfo(kernel, index, query, size, into, nbytes);
  });
}

template <class T>
T arg_number(const Device& device, cl_kernel kernel, cl_uint index, cl_kernel_arg_info query) {
  T value{};
  device.cl->clGetKernelArgInfo(kernel, index, query, sizeof value, &value, nullptr);
  return value;
}

// For binaries without argument info: what the driver accepts tells, and nothing is passed but NULL.
// It does not tell eight bytes of a number from an image or a sampler: of those the worker's word is
// taken (a binary is code already, whoever may load one needs no wrong argument to do harm).
ArgKind probed_kind(const Device& device, cl_kernel kernel, cl_uint index) {
  const auto takes = [&](std::size_t size, const void* value) {
    return device.cl->clSetKernelArg(kernel, index, size, value) == CL_SUCCESS;
  };
  const void* const nothing = nullptr;
  if (takes(sizeof nothing, nullptr))  // memory that is not given, or local memory
    return takes(sizeof nothing / 2, nullptr) ? ArgKind::kLocal : ArgKind::kBuffer;
  return takes(sizeof nothing, &nothing) ? ArgKind::kWord : ArgKind::kScalar;
}

ArgKind kind_of(const Device& device, cl_kernel kernel, cl_uint index) {
  const std::string type = arg_text(device, kernel, index, CL_KERNEL_ARG_TYPE_NAME);
  if (type.empty()) return probed_kind(device, kernel, index);
  const bool pointer = type.find('*') != std::string::npos;
  const bool image = type.find("image") == 0 && type.ends_with("_t");
  if (!pointer && image) return ArgKind::kImage;
  if (!pointer && type == "sampler_t") return ArgKind::kSampler;
  for (const char* word : {"pipe", "event_t", "queue_t"})
    if (!pointer && type.find(word) != std::string::npos) return ArgKind::kUnknown;
  switch (arg_number<cl_kernel_arg_address_qualifier>(device, kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER)) {
    case CL_KERNEL_ARG_ADDRESS_GLOBAL:
    case CL_KERNEL_ARG_ADDRESS_CONSTANT: return ArgKind::kBuffer;
    case CL_KERNEL_ARG_ADDRESS_LOCAL: return ArgKind::kLocal;
    case CL_KERNEL_ARG_ADDRESS_PRIVATE: return pointer ? ArgKind::kUnknown : ArgKind::kScalar;
  }
  return ArgKind::kUnknown;
}

}  // namespace

void Objects::build(std::string_view format, Bytes payload, const std::string& options) {
  drop_built();
  cl_program made = nullptr;
  const bool separate = format == "opencl-compile" || format == "opencl-link";
  try {
    cl_int status = CL_SUCCESS, loaded = CL_SUCCESS;
    if (format == "opencl-c") {
      const char* source = reinterpret_cast<const char*>(payload.data);
      const std::size_t nbytes = payload.size;
      if (payload.text().find('\0') != std::string_view::npos)
        throw Refused{"program_rejected", "opencl-c image: the source holds a zero byte", CL_INVALID_VALUE};
      made = device.cl->clCreateProgramWithSource(context, 1, &source, &nbytes, &status);
    } else if (format == "opencl-binary") {
      made = device.cl->clCreateProgramWithBinary(context, 1, &device.id, &payload.size, &payload.data, &loaded, &status);
      if (status == CL_SUCCESS) status = loaded;
    } else if (format == "opencl-il" && device.cl->clCreateProgramWithIL) {
      made = device.cl->clCreateProgramWithIL(context, payload.data, payload.size, &status);
    } else if (separate) {
      made = linked(payload, options, format == "opencl-compile");
    } else {
      throw Refused{"program_rejected", "this device cannot load a '" + std::string(format) + "' image",
                    CL_INVALID_OPERATION};
    }
    check(status, "load of a program");
    bool prints = true;  // as far as can be told from a binary
    if (format == "opencl-c")
      status = build_source(made, payload.text(), options, prints);
    else if (!separate)
      status = device.cl->clBuildProgram(made, 1, &device.id, options.c_str(), nullptr, nullptr);
    else
      prints = may_print(payload.text()) || payload.text().find("include") != std::string_view::npos;
    if (status != CL_SUCCESS) reject(made, status);
    Program program{.program = made, .prints = prints};
    if (format == "opencl-compile") {
      built_ = std::move(program);
      return;
    }
    cl_uint count = 0;
    check(device.cl->clCreateKernelsInProgram(made, 0, nullptr, &count), "kernels of a program");
    if (count == 0)
      throw Refused{"program_rejected", "image: defines no kernel", CL_INVALID_PROGRAM_EXECUTABLE};
    std::vector<cl_kernel> kernels(count);
    check(device.cl->clCreateKernelsInProgram(made, count, kernels.data(), nullptr), "kernels of a program");
    for (const cl_kernel kernel : kernels) {
      Kernel& entry = program.kernels[words([&](std::size_t size, void* into, std::size_t* nbytes) {
        return device.cl->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, size, into, nbytes);
      })];
      entry.kernel = kernel;
      const auto args = kernel_info<cl_uint>(device, kernel, CL_KERNEL_NUM_ARGS);
      for (cl_uint index = 0; index < args; ++index) entry.kinds.push_back(kind_of(device, kernel, index));
    }
    built_ = std::move(program);
  } catch (const Refused&) {
    if (made) device.cl->clReleaseProgram(made);
    throw;
  }
}

// Files that it includes may print: it is built without a printf, and if that fails, with it.
int Objects::build_source(cl_program program, std::string_view source, const std::string& options, bool& prints) {
  const auto build = [&](const char* more) {
    const std::string all = options + more + " -cl-kernel-arg-info";
    return device.cl->clBuildProgram(program, 1, &device.id, all.c_str(), nullptr, nullptr);
  };
  prints = may_print(source) || may_print(options);
  if (!prints && device.printing.on() && source.find("include") != std::string_view::npos) {
    if (build(" -Dprintf=haltere_has_no_printf") == CL_SUCCESS) return CL_SUCCESS;
    prints = true;
  }
  return build("");
}

void Objects::adopt(u64 handle) {
  programs.check_new(handle);
  if (!built_) return programs.add_failed(handle);
  programs.add(handle, std::move(*built_));
  built_.reset();
}

void Objects::drop_built() {
  if (built_) release(*built_);
  built_.reset();
}

std::string Objects::log_of(cl_program program) {
  std::string log = words([&](std::size_t size, void* into, std::size_t* nbytes) {
    return device.cl->clGetProgramBuildInfo(program, device.id, CL_PROGRAM_BUILD_LOG, size, into, nbytes);
  });
  if (log.size() > kMaxLogBytes) log = log.substr(0, kMaxLogBytes) + " [cut]";
  return log;
}

void Objects::reject(cl_program program, cl_int status) {
  throw Refused{"program_rejected", text("image does not build (OpenCL status %d): ", status) + log_of(program), status};
}

std::string Objects::build_log(u64 handle) { return log_of(programs.get(handle).program); }

void Objects::unload(u64 handle) {
  if (programs.forget_failed(handle)) return;
  release(programs.get(handle));
  programs.live.erase(handle);
}

void Objects::release(Program& found) {
  for (const auto& [name, kernel] : found.kernels) device.cl->clReleaseKernel(kernel.kernel);
  device.cl->clReleaseProgram(found.program);
}

Kernel& Objects::kernel(Program& program, std::string_view entry) {
  const auto found = program.kernels.find(entry);
  if (found == program.kernels.end()) {
    std::string known;
    for (const auto& [name, kernel] : program.kernels) known += (known.empty() ? "" : ", ") + name;
    throw Refused{"program_rejected",
                  "launch '" + std::string(entry) + "': the image's entries are " + known,
                  CL_INVALID_KERNEL_NAME};
  }
  return found->second;
}

std::string Objects::describe(u64 handle) {
  Program& program = programs.get(handle);
  std::string out, record;
  for (const auto& [name, entry] : program.kernels) {
    const std::string attributes = words([&](std::size_t size, void* into, std::size_t* nbytes) {
      return device.cl->clGetKernelInfo(entry.kernel, CL_KERNEL_ATTRIBUTES, size, into, nbytes);
    });
    KernelInfo info{};
    info.name = Bytes(std::string_view(name));
    info.attributes = Bytes(std::string_view(attributes));
    info.arg_count = entry.kinds.size();
    info.work_group = group_info<std::size_t>(device, entry.kernel, CL_KERNEL_WORK_GROUP_SIZE);
    info.multiple = group_info<std::size_t>(device, entry.kernel, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE);
    info.local_bytes = group_info<cl_ulong>(device, entry.kernel, CL_KERNEL_LOCAL_MEM_SIZE);
    info.private_bytes = group_info<cl_ulong>(device, entry.kernel, CL_KERNEL_PRIVATE_MEM_SIZE);
    struct Group { std::size_t size[3]; };
    const auto group = group_info<Group>(device, entry.kernel, CL_KERNEL_COMPILE_WORK_GROUP_SIZE);
    info.compiled_size.count = 3;
    std::copy(group.size, group.size + 3, info.compiled_size.value);
    encode(record, 0, info);
    out += record;
    for (cl_uint index = 0; index < entry.kinds.size(); ++index) {
      const std::string type = arg_text(device, entry.kernel, index, CL_KERNEL_ARG_TYPE_NAME);
      const std::string arg = arg_text(device, entry.kernel, index, CL_KERNEL_ARG_NAME);
      ArgInfo described{};
      described.address = arg_number<cl_kernel_arg_address_qualifier>(device, entry.kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER);
      described.access = arg_number<cl_kernel_arg_access_qualifier>(device, entry.kernel, index, CL_KERNEL_ARG_ACCESS_QUALIFIER);
      described.qualifiers = arg_number<cl_kernel_arg_type_qualifier>(device, entry.kernel, index, CL_KERNEL_ARG_TYPE_QUALIFIER);
      described.type_name = Bytes(std::string_view(type));
      described.name = Bytes(std::string_view(arg));
      encode(record, 0, described);
      out += record;
    }
  }
  return out;
}

}  // namespace haltere
