// Programs: creating and describing them. Building is in build.cpp.
#include "program.hpp"

#include "answer.hpp"
#include "entries.hpp"
#include "includes.hpp"

namespace haltere {
namespace {

constexpr std::string_view kBinaryMagic = "!HALTCL1";

Ref<_cl_program> make(cl_context context, const char* format, std::string payload) {
  check(valid(context), CL_INVALID_CONTEXT);
  auto program = Ref<_cl_program>::adopt(new _cl_program);
  program->context = Ref(context);
  program->format = format;
  program->payload = std::move(payload);
  return program;
}

cl_program CL_API_CALL with_source(cl_context context, cl_uint count, const char** strings, const std::size_t* lengths,
                                   cl_int* errcode_ret) {
  HALTERE_MAKE(cl_program, {
    check(count && strings, CL_INVALID_VALUE);
    std::string source;
    for (cl_uint i = 0; i < count; ++i) {
      check(strings[i], CL_INVALID_VALUE);
      if (lengths && lengths[i])
        source.append(strings[i], lengths[i]);
      else
        source.append(strings[i]);
    }
    while (!source.empty() && source.back() == '\0') source.pop_back();
    auto program = make(context, "opencl-c", std::move(source));
    program->from_source = true;
    return program.detach();
  })
}

cl_program CL_API_CALL with_il(cl_context context, const void* il, std::size_t nbytes, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_program, {
    check(valid(context), CL_INVALID_CONTEXT);
    check(il && nbytes, CL_INVALID_VALUE);
    const std::string* version = context->devices.front()->raw(CL_DEVICE_IL_VERSION);
    check(version && version->size() > 1, CL_INVALID_OPERATION);
    return make(context, "opencl-il", std::string(static_cast<const char*>(il), nbytes)).detach();
  })
}

cl_program CL_API_CALL with_binary(cl_context context, cl_uint count, const cl_device_id* devices,
                                   const std::size_t* lengths, const unsigned char** binaries, cl_int* status,
                                   cl_int* errcode_ret) {
  HALTERE_MAKE(cl_program, {
    check(valid(context), CL_INVALID_CONTEXT);
    check(count && devices && lengths && binaries, CL_INVALID_VALUE);
    for (cl_uint i = 0; i < count; ++i) {
      const bool known = std::find(context->devices.begin(), context->devices.end(), devices[i]) != context->devices.end();
      check(known, CL_INVALID_DEVICE);
      if (status) status[i] = lengths[i] && binaries[i] ? CL_SUCCESS : CL_INVALID_VALUE;
      check(lengths[i] && binaries[i], CL_INVALID_VALUE);
    }
    auto program = make(context, "opencl-binary", "");
    const Bytes first(binaries[0], lengths[0]);
    if (!read_synthetic(first, *program)) {
      program->payload = std::string(first.text());
      const bool loads = can_load(program.get());
      if (status) std::fill_n(status, count, loads ? CL_SUCCESS : CL_INVALID_BINARY);
      check(loads, CL_INVALID_BINARY);
    }
    program->binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
    return program.detach();
  })
}

cl_program CL_API_CALL with_built_in_kernels(cl_context context, cl_uint count, const cl_device_id* devices,
                                             const char* names, cl_int* errcode_ret) {
  if (!valid(context)) return refused_with<cl_program>(errcode_ret, CL_INVALID_CONTEXT);
  (void)count, (void)devices, (void)names;
  return refused_with<cl_program>(errcode_ret, CL_INVALID_VALUE);  // no device names any
}

cl_int CL_API_CALL keep(cl_program program) {
  if (!valid(program)) return CL_INVALID_PROGRAM;
  retain(program);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_program program) {
  if (!valid(program)) return CL_INVALID_PROGRAM;
  release(program);
  return CL_SUCCESS;
}

std::string binary_of(cl_program program) {
  if (program->status != CL_BUILD_SUCCESS && program->format != "opencl-binary") return "";
  if (program->format == "opencl-binary") return program->payload;
  if (!program->units.empty() && program->format == "opencl-c")
    return synthetic_binary("opencl-compile", program->options, program->units);
  const std::string options = program->stored_options ? *program->stored_options : absolute_includes(program->options);
  return synthetic_binary(program->format, options, program->payload);
}

cl_int CL_API_CALL info(cl_program program, cl_program_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(program), CL_INVALID_PROGRAM);
    const Answer answer(room, into, size_ret);
    const std::lock_guard lock(program->lock);
    const auto& devices = program->context->devices;
    switch (query) {
      case CL_PROGRAM_REFERENCE_COUNT: answer.value(cl_uint{program->references}); break;
      case CL_PROGRAM_CONTEXT: answer.value(program->context.get()); break;
      case CL_PROGRAM_NUM_DEVICES: answer.value(static_cast<cl_uint>(devices.size())); break;
      case CL_PROGRAM_DEVICES: answer.list(devices); break;
      case CL_PROGRAM_SOURCE: answer.text(program->from_source ? program->payload : ""); break;
      case CL_PROGRAM_IL: {
        const std::string& il = program->payload;
        if (program->format == "opencl-il")
          answer.bytes(il.data(), il.size());
        else
          answer.bytes(nullptr, 0);
        break;
      }
      case CL_PROGRAM_BINARY_SIZES: answer.list(std::vector<std::size_t>(devices.size(), binary_of(program).size())); break;
      case CL_PROGRAM_BINARIES: {
        const std::string binary = binary_of(program);
        if (into) {
          check(room >= devices.size() * sizeof(void*), CL_INVALID_VALUE);
          for (std::size_t i = 0; i < devices.size(); ++i)
            if (auto* target = static_cast<unsigned char**>(into)[i]) std::memcpy(target, binary.data(), binary.size());
        }
        if (size_ret) *size_ret = devices.size() * sizeof(void*);
        break;
      }
      case CL_PROGRAM_NUM_KERNELS:
        check(program->built != nullptr, CL_INVALID_PROGRAM_EXECUTABLE);
        answer.value(program->built->entries.size());
        break;
      case CL_PROGRAM_KERNEL_NAMES: {
        check(program->built != nullptr, CL_INVALID_PROGRAM_EXECUTABLE);
        std::string names;
        for (const Entry& entry : program->built->entries) names += (names.empty() ? "" : ";") + entry.name;
        answer.text(names);
        break;
      }
      case CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT:
      case CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT: answer.value(cl_bool{CL_FALSE}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL build_info(cl_program program, cl_device_id device, cl_program_build_info query, std::size_t room,
                              void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(program), CL_INVALID_PROGRAM);
    const auto& devices = program->context->devices;
    check(std::find(devices.begin(), devices.end(), device) != devices.end(), CL_INVALID_DEVICE);
    const Answer answer(room, into, size_ret);
    const std::lock_guard lock(program->lock);
    switch (query) {
      case CL_PROGRAM_BUILD_STATUS: answer.value(program->status); break;
      case CL_PROGRAM_BUILD_OPTIONS: answer.text(program->options); break;
      case CL_PROGRAM_BUILD_LOG: answer.text(program->log); break;
      case CL_PROGRAM_BINARY_TYPE: answer.value(program->binary_type); break;
      case CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE: answer.value(std::size_t{0}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

}  // namespace

std::string synthetic_binary(const std::string& format, const std::string& options, const std::string& payload) {
  std::string bytes(kBinaryMagic);
  Writer write(bytes);
  write(Bytes(format));
  write(Bytes(options));
  write(Bytes(payload));
  return bytes;
}

bool read_synthetic(Bytes binary, _cl_program& program) {
  if (binary.text().substr(0, kBinaryMagic.size()) != kBinaryMagic) return false;
  // a Reader skips a record's head: let it see one of that size
  std::string framed(kHeadBytes, '\0');
  framed.append(binary.text().substr(kBinaryMagic.size()));
  Reader read{Bytes(framed)};
  Bytes format, options, payload;
  read(format);
  read(options);
  read(payload);
  check(read.ended(), CL_INVALID_BINARY);
  program.format = std::string(format.text());
  program.stored_options = std::string(options.text());
  program.payload = std::string(payload.text());
  if (program.format == "opencl-compile") {
    program.units = program.payload;
    program.format = "opencl-c";
  }
  return true;
}

void check_devices(cl_program program, cl_uint count, const cl_device_id* devices) {
  check((count == 0) == (devices == nullptr), CL_INVALID_VALUE);
  const auto& known = program->context->devices;
  for (cl_uint i = 0; i < count; ++i)
    check(std::find(known.begin(), known.end(), devices[i]) != known.end(), CL_INVALID_DEVICE);
}

void enter_program(cl_icd_dispatch& table) {
  table.clCreateProgramWithSource = with_source;
  table.clCreateProgramWithIL = with_il;
  table.clCreateProgramWithBinary = with_binary;
  table.clCreateProgramWithBuiltInKernels = with_built_in_kernels;
  table.clRetainProgram = keep;
  table.clReleaseProgram = let_go;
  table.clGetProgramInfo = info;
  table.clGetProgramBuildInfo = build_info;
}

}  // namespace haltere
