// Programs: source, options, logs, compiling and linking, binaries.
#include <ctime>

#include "suite.hpp"

using namespace suite;

namespace {

const char* kScale = "kernel void scale(global float* a, float by) { a[get_global_id(0)] *= by FACTOR; }";

std::string log_of(const Host& host, cl_program program) {
  const Bytes log = queried("log", [&](auto... rest) {
    return clGetProgramBuildInfo(program, host.device, CL_PROGRAM_BUILD_LOG, rest...);
  });
  return {log.begin(), log.end()};
}

cl_program source(const Host& host, const char* text) {
  return MADE(clCreateProgramWithSource(host.context, 1, &text, nullptr, &error));
}

void show_build(const Host& host, cl_program program) {
  const auto ask = [&](const char* name, cl_uint number) {
    return queried(name, [&](auto... rest) {
      return clGetProgramBuildInfo(program, host.device, number, rest...);
    });
  };
  const Bytes status = ask("status", CL_PROGRAM_BUILD_STATUS);
  show_bytes("status", status);
  show_text("options", ask("options", CL_PROGRAM_BUILD_OPTIONS));
  const Bytes type = ask("binary type", CL_PROGRAM_BINARY_TYPE);
  if (as<cl_build_status>(status) == CL_BUILD_SUCCESS) show_bytes("binary type", type);
  ask("globals", CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE);
}

std::vector<float> run(const Host& host, cl_program program, const char* name, float by) {
  cl_kernel kernel = MADE(clCreateKernel(program, name, &error));
  cl_mem buffer = host.filled(counting<float>(16, 1));
  set_args(kernel, buffer, by);
  host.launch(kernel, 16);
  auto found = host.read<float>(buffer, 16);
  OK(clReleaseMemObject(buffer));
  OK(clReleaseKernel(kernel));
  return found;
}

// A driver may hold a program's kernels for a moment after commands are done and they are released.
cl_int built_again(const Host& host, cl_program program, const char* options) {
  for (int at = 0; at < 1000; ++at) {
    const cl_int built = clBuildProgram(program, 1, &host.device, options, nullptr, nullptr);
    if (built != CL_INVALID_OPERATION) return built;
    const timespec pause = {0, 5'000'000};
    nanosleep(&pause, nullptr);
  }
  return CL_INVALID_OPERATION;
}

Bytes binary_of(cl_program program) {
  std::size_t size = 0;
  OK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr));
  HOLDS(size > 0);
  Bytes binary(size);
  unsigned char* into = binary.data();
  OK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof into, &into, nullptr));
  return binary;
}

}  // namespace

CASE(source_comes_in_parts_with_and_without_lengths) {
  Host host;
  const char* parts[] = {"kernel void scale(global float* a, ", "float by) { a[get_global_id(0)] ", "*= by; } this is not read"};
  const std::size_t lengths[] = {0, std::strlen(parts[1]), 8};
  cl_program program = MADE(clCreateProgramWithSource(host.context, 3, parts, lengths, &error));
  const Bytes text = queried("source", [&](auto... rest) { return clGetProgramInfo(program, CL_PROGRAM_SOURCE, rest...); });
  show_text("source", text);
  OK(clBuildProgram(program, 0, nullptr, nullptr, nullptr, nullptr));
  show("scaled", run(host, program, "scale", 3));
  OK(clReleaseProgram(program));
  TELL_MADE(clCreateProgramWithSource(host.context, 0, parts, nullptr, &error));
  const char* holes[] = {"kernel", nullptr};
  TELL_MADE(clCreateProgramWithSource(host.context, 2, holes, nullptr, &error));
  TELL_MADE(clCreateProgramWithSource(nullptr, 3, parts, nullptr, &error));
}

CASE(options_reach_the_compiler) {
  Host host;
  for (const char* options : {"-DFACTOR=", "-D FACTOR=*2", "-DFACTOR=+1 -cl-fast-relaxed-math", "-DFACTOR=\"*3 * 2\"",
                              "-cl-std=CL1.2 -DFACTOR=-1", "-DFACTOR= -cl-mad-enable -cl-no-signed-zeros -w", "-DFACTOR= -cl-opt-disable",
                              "-DFACTOR= -cl-denorms-are-zero -cl-finite-math-only", "-DFACTOR= -cl-single-precision-constant -Werror"}) {
    cl_program program = source(host, kScale);
    OK(clBuildProgram(program, 1, &host.device, options, nullptr, nullptr));
    show(options, run(host, program, "scale", 3));
    OK(clReleaseProgram(program));
  }
  cl_program program = source(host, kScale);
  TELL(clBuildProgram(program, 1, &host.device, "-no-such-option", nullptr, nullptr));
  OK(clReleaseProgram(program));
}

CASE(includes_are_found_in_folders_named_by_options) {
  Host host;
  char folder[] = "/tmp/suite-XXXXXX";
  HOLDS(mkdtemp(folder) != nullptr);
  const std::string header = std::string(folder) + "/part.h", option = std::string("-I ") + folder;
  std::FILE* file = std::fopen(header.c_str(), "w");
  HOLDS(file != nullptr);
  std::fputs("#define FACTOR * 5\n", file);
  std::fclose(file);
  cl_program program = source(host, ("#include \"part.h\"\n" + std::string(kScale)).c_str());
  OK(clBuildProgram(program, 1, &host.device, option.c_str(), nullptr, nullptr));
  show("scaled", run(host, program, "scale", 3));
  OK(clReleaseProgram(program));
  std::remove(header.c_str());
  std::remove(folder);
}

CASE(a_program_is_built_again_with_other_options) {
  Host host;
  cl_program program = source(host, kScale);
  show_build(host, program);
  OK(clBuildProgram(program, 1, &host.device, "-DFACTOR=", nullptr, nullptr));
  show("first", run(host, program, "scale", 3));
  OK(built_again(host, program, "-DFACTOR=*2"));
  show("second", run(host, program, "scale", 3));
  show_build(host, program);
  cl_kernel kernel = MADE(clCreateKernel(program, "scale", &error));
  TELL(clBuildProgram(program, 1, &host.device, "-DFACTOR=", nullptr, nullptr));
  OK(clReleaseKernel(kernel));
  TELL(built_again(host, program, "-DFACTOR=syntax("));
  show_build(host, program);
  OK(built_again(host, program, "-DFACTOR="));
  show("third", run(host, program, "scale", 3));
  OK(clReleaseProgram(program));
}

CASE(errors_of_the_compiler_stand_in_the_log) {
  Host host;
  cl_program program = source(host, "kernel void wrong(global float* a) { a[0] = undeclared_name; }");
  TELL(clBuildProgram(program, 1, &host.device, "", nullptr, nullptr));
  show_build(host, program);
  HOLDS(log_of(host, program).find("undeclared_name") != std::string::npos);
  TELL_MADE(clCreateKernel(program, "wrong", &error));
  cl_kernel kernels[2];
  TELL(clCreateKernelsInProgram(program, 2, kernels, nullptr));
  OK(clReleaseProgram(program));
  program = source(host, kScale);
  OK(clBuildProgram(program, 1, &host.device, "-DFACTOR=", nullptr, nullptr));
  HOLDS(log_of(host, program).size() >= 1);
  OK(clReleaseProgram(program));
  program = source(host, kScale);
  TELL_MADE(clCreateKernel(program, "scale", &error));
  OK(clReleaseProgram(program));
}

CASE(a_build_may_call_back) {
  Host host;
  static volatile int called = 0;
  for (const char* options : {"-DFACTOR=", "-DFACTOR=syntax("}) {
    called = 0;
    cl_program program = source(host, kScale);
    const cl_int begun = clBuildProgram(
        program, 1, &host.device, options, [](cl_program, void* given) { *static_cast<volatile int*>(given) = 1; },
        const_cast<int*>(&called));
    std::printf("~ %s\n", code(begun).c_str());
    for (int at = 0; at < 1000 && !called; ++at) {
      const timespec pause = {0, 10'000'000};
      nanosleep(&pause, nullptr);
    }
    HOLDS(called == 1);
    cl_build_status status = 99;
    OK(clGetProgramBuildInfo(program, host.device, CL_PROGRAM_BUILD_STATUS, sizeof status, &status, nullptr));
    std::printf("status %d\n", status);
    OK(clReleaseProgram(program));
  }
  cl_program program = source(host, kScale);
  TELL(clBuildProgram(program, 1, &host.device, "-DFACTOR=", nullptr, &host));
  TELL(clBuildProgram(program, 0, &host.device, "-DFACTOR=", nullptr, nullptr));
  TELL(clBuildProgram(program, 1, nullptr, "-DFACTOR=", nullptr, nullptr));
  TELL(clBuildProgram(nullptr, 1, &host.device, "-DFACTOR=", nullptr, nullptr));
  OK(clReleaseProgram(program));
}

CASE(programs_are_compiled_with_headers_and_linked) {
  Host host;
  cl_program header = source(host, "#define FACTOR * offset\nfloat helper(float);\n");
  cl_program part = source(host, "#include \"inner.h\"\nkernel void scale(global float* a, float offset) { a[get_global_id(0)] = helper(a[get_global_id(0)]) FACTOR; }");
  cl_program other = source(host, "float helper(float x) { return x + ADDED; }");
  const char* name = "inner.h";
  OK(clCompileProgram(part, 1, &host.device, "", 1, &header, &name, nullptr, nullptr));
  show_build(host, part);
  OK(clCompileProgram(other, 1, &host.device, "-DADDED=10", 0, nullptr, nullptr, nullptr, nullptr));
  const cl_program parts[] = {part, other};
  cl_program linked = MADE(clLinkProgram(host.context, 1, &host.device, "", 2, parts, nullptr, nullptr, &error));
  show_build(host, linked);
  show("linked", run(host, linked, "scale", 3));
  REFUSED_MADE(clCreateKernel(part, "scale", &error));
  OK(clReleaseProgram(linked));

  cl_program library = MADE(clLinkProgram(host.context, 1, &host.device, "-create-library", 1, &other, nullptr, nullptr, &error));
  cl_program_binary_type type = 0;
  OK(clGetProgramBuildInfo(library, host.device, CL_PROGRAM_BINARY_TYPE, sizeof type, &type, nullptr));
  HOLDS(type == CL_PROGRAM_BINARY_TYPE_LIBRARY);
  const cl_program both[] = {part, library};
  linked = MADE(clLinkProgram(host.context, 1, &host.device, "", 2, both, nullptr, nullptr, &error));
  show("linked", run(host, linked, "scale", 4));
  for (cl_program program : {linked, library}) OK(clReleaseProgram(program));

  TELL(clCompileProgram(other, 1, &host.device, "", 0, nullptr, nullptr, nullptr, nullptr));  // ADDED is missing
  show_build(host, other);
  for (cl_program program : {header, part, other}) OK(clReleaseProgram(program));
  TELL_MADE(clLinkProgram(host.context, 1, &host.device, "", 0, nullptr, nullptr, nullptr, &error));
}

CASE(binaries_make_the_same_program) {
  Host host;
  cl_program program = host.build(kScale, "-DFACTOR=*2");
  const auto expected = run(host, program, "scale", 3);
  const Bytes binary = binary_of(program);
  HOLDS(binary_of(program) == binary);
  OK(clReleaseProgram(program));

  const unsigned char* bytes = binary.data();
  const std::size_t size = binary.size();
  cl_int status = 99;
  cl_program again = MADE(clCreateProgramWithBinary(host.context, 1, &host.device, &size, &bytes, &status, &error));
  std::printf("status %s\n", code(status).c_str());
  show_build(host, again);
  OK(clBuildProgram(again, 1, &host.device, "", nullptr, nullptr));
  show_build(host, again);
  HOLDS(run(host, again, "scale", 3) == expected);
  const Bytes third = binary_of(again);
  OK(clReleaseProgram(again));
  bytes = third.data();
  const std::size_t third_size = third.size();
  again = MADE(clCreateProgramWithBinary(host.context, 1, &host.device, &third_size, &bytes, nullptr, &error));
  OK(clBuildProgram(again, 1, &host.device, "", nullptr, nullptr));
  HOLDS(run(host, again, "scale", 3) == expected);
  OK(clReleaseProgram(again));

  const Bytes garbage(100, 0x42);
  bytes = garbage.data();
  const std::size_t garbage_size = garbage.size(), none = 0;
  const unsigned char* missing = nullptr;
  status = 99;
  TELL_MADE(clCreateProgramWithBinary(host.context, 1, &host.device, &garbage_size, &bytes, &status, &error));
  std::printf("status %s\n", code(status).c_str());
  TELL_MADE(clCreateProgramWithBinary(host.context, 1, &host.device, &none, &bytes, &status, &error));
  TELL_MADE(clCreateProgramWithBinary(host.context, 1, &host.device, &garbage_size, &missing, &status, &error));
  TELL_MADE(clCreateProgramWithBinary(host.context, 0, nullptr, &garbage_size, &bytes, &status, &error));
}

CASE(programs_answer_all_queries) {
  Host host;
  cl_program program = host.build("kernel void b(global int* x) { x[0] = 1; } kernel void a(global int* x) { x[0] = 2; }\n");
  const auto ask = [&](const char* name, cl_uint number) {
    return queried(name, [&](auto... rest) { return clGetProgramInfo(program, number, rest...); });
  };
  HOLDS(as<cl_context>(ask("context", CL_PROGRAM_CONTEXT)) == host.context);
  HOLDS(as<cl_device_id>(ask("devices", CL_PROGRAM_DEVICES)) == host.device);
  show_bytes("device count", ask("device count", CL_PROGRAM_NUM_DEVICES));
  show_bytes("references", ask("references", CL_PROGRAM_REFERENCE_COUNT));
  show_text("source", ask("source", CL_PROGRAM_SOURCE));
  show_bytes("kernel count", ask("kernel count", CL_PROGRAM_NUM_KERNELS));
  const Bytes names = ask("kernel names", CL_PROGRAM_KERNEL_NAMES);  // in any order
  const std::string text(names.begin(), names.end());
  HOLDS(text == std::string("b;a\0", 4) || text == std::string("a;b\0", 4));
  HOLDS(ask("sizes", CL_PROGRAM_BINARY_SIZES).size() == sizeof(std::size_t));
  show_bytes("constructors", ask("constructors", CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT));
  TELL(clGetProgramInfo(program, 0x9999, 0, nullptr, nullptr));
  TELL(clGetProgramBuildInfo(program, host.device, 0x9999, 0, nullptr, nullptr));
  TELL(clGetProgramBuildInfo(program, nullptr, CL_PROGRAM_BUILD_STATUS, 0, nullptr, nullptr));
  OK(clReleaseProgram(program));
  program = source(host, kScale);
  TELL(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, 0, nullptr, nullptr));
  TELL(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, 0, nullptr, nullptr));
  OK(clReleaseProgram(program));
  TELL(clUnloadCompiler());
  TELL(clUnloadPlatformCompiler(host.platform));
  TELL_MADE(clCreateProgramWithBuiltInKernels(host.context, 1, &host.device, "no.such.kernel", &error));
}

CASE(intermediate_language_is_refused_where_it_is_not_claimed) {
  Host host;
  const Bytes version = queried("version", [&](auto... rest) {
    return clGetDeviceInfo(host.device, CL_DEVICE_IL_VERSION, rest...);
  });
  const Bytes garbage(64, 3);
  cl_int error = 0;
  cl_program program = clCreateProgramWithIL(host.context, garbage.data(), garbage.size(), &error);
  HOLDS(program == nullptr && error != CL_SUCCESS);
  if (version.size() == 1) HOLDS(error == CL_INVALID_OPERATION || error == CL_INVALID_VALUE);
}

CASE(the_log_of_a_build_that_succeeds_has_its_warnings) {
  Host host;
  cl_program program = source(host, "#warning of a certain kind\nkernel void k(global int* a) { a[0] = 1; }");
  OK(clBuildProgram(program, 1, &host.device, "", nullptr, nullptr));
  std::printf("warned: %d\n", log_of(host, program).find("of a certain kind") != std::string::npos);
  cl_program compiled = source(host, "#warning of another kind\nkernel void k(global int* a) { a[0] = 1; }");
  OK(clCompileProgram(compiled, 1, &host.device, "", 0, nullptr, nullptr, nullptr, nullptr));
  std::printf("warned: %d\n", log_of(host, compiled).find("of another kind") != std::string::npos);
  OK(clReleaseProgram(compiled));
  OK(clReleaseProgram(program));
}

CASE(what_the_device_s_driver_does_not_offer_is_refused_alike) {
  Host host;
  cl_ulong device = 0, time = 0;
  TELL(clGetHostTimer(host.device, &time));
  TELL(clGetDeviceAndHostTimer(host.device, &device, &time));
  cl_kernel kernel = host.kernel("kernel void k(global int* a) { a[0] = 1; }", "k");
  std::size_t found = 0, local[] = {8};
  TELL(clGetKernelSubGroupInfo(kernel, host.device, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, sizeof local, local, sizeof found,
                               &found, nullptr));
  cl_program program = source(host, "kernel void k(global int* a) { a[0] = 1; }");
  TELL(clSetProgramReleaseCallback(program, [](cl_program, void*) {}, nullptr));
  OK(clReleaseProgram(program));
  OK(clReleaseKernel(kernel));
}
