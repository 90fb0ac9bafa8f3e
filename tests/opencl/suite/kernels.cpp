// Kernels: their arguments, what they answer, how they are launched.
#include "suite.hpp"

using namespace suite;

namespace {

const char* kMany = R"(
typedef struct { int a; float b[3]; } pair;
__attribute__((reqd_work_group_size(4, 2, 1)))
kernel void bound(global int* out) { out[get_global_id(0)] = get_local_size(0); }
kernel void many(global const float* restrict in, global volatile int* out, constant int* table,
                 local float* scratch, float4 vector, pair both, char small, ulong large, double real) {
  int at = get_global_id(0);
  scratch[get_local_id(0)] = in[at];
  barrier(CLK_LOCAL_MEM_FENCE);
  out[at] = (int)(scratch[get_local_size(0) - 1 - get_local_id(0)] + vector.z + both.b[2] + both.a + small + (int)large + (int)real) + table[at % 4];
}
kernel void where(global int* out) {
  size_t at = (get_global_id(2) - get_global_offset(2)) * get_global_size(1) + get_global_id(1) - get_global_offset(1);
  at = at * get_global_size(0) + get_global_id(0) - get_global_offset(0);
  int id = get_global_id(0) + 100 * get_global_id(1) + 10000 * get_global_id(2);
  int group = get_group_id(0) + 16 * get_group_id(1) + 256 * get_group_id(2);
  out[2 * at] = id;
  out[2 * at + 1] = group + 4096 * (get_local_id(0) + 16 * get_local_id(1) + 256 * get_local_id(2));
}
kernel void add(global int* out, int by) { out[get_global_id(0)] += by; }
kernel void empty(void) {}
)";

struct Pair {
  cl_int a;
  cl_float b[3];
};

}  // namespace

CASE(arguments_of_every_kind_arrive) {
  Host host;
  cl_kernel many = host.kernel(kMany, "many");
  cl_mem in = host.filled(counting<float>(64)), out = host.buffer(256), table = host.filled(std::vector<cl_int>{1, 20, 300, 4000});
  cl_float4 vector = {{1, 2, 3000, 4}};
  const Pair both = {7, {1, 2, 50000}};
  OK(clSetKernelArg(many, 0, sizeof in, &in));
  OK(clSetKernelArg(many, 1, sizeof out, &out));
  OK(clSetKernelArg(many, 2, sizeof table, &table));
  OK(clSetKernelArg(many, 3, 16 * sizeof(float), nullptr));
  OK(clSetKernelArg(many, 4, sizeof vector, &vector));
  OK(clSetKernelArg(many, 5, sizeof both, &both));
  const cl_char small = -3;
  const cl_ulong large = 1'000'000;
  const cl_double real = 2e7;
  OK(clSetKernelArg(many, 6, sizeof small, &small));
  OK(clSetKernelArg(many, 7, sizeof large, &large));
  OK(clSetKernelArg(many, 8, sizeof real, &real));
  host.launch(many, 64, 16);
  show("out", host.read<cl_int>(out, 64));
  OK(clSetKernelArg(many, 3, 64 * sizeof(float), nullptr));
  host.launch(many, 64, 64);
  show("out", host.read<cl_int>(out, 64));
  OK(clReleaseKernel(many));
  for (cl_mem object : {in, out, table}) OK(clReleaseMemObject(object));
}

CASE(wrong_arguments_are_refused_at_once) {
  Host host;
  cl_kernel many = host.kernel(kMany, "many");
  cl_mem in = host.buffer(256);
  const cl_ulong large = 1;
  const Pair both{};
  TELL(clSetKernelArg(many, 0, 4, &in));
  TELL(clSetKernelArg(many, 0, 16, &in));
  TELL(clSetKernelArg(many, 3, 0, nullptr));
  MAY_REFUSE(CL_INVALID_ARG_VALUE, clSetKernelArg(many, 3, 64, &in));
  MAY_REFUSE(CL_INVALID_ARG_SIZE, clSetKernelArg(many, 4, 12, &both));
  MAY_REFUSE(CL_INVALID_ARG_SIZE, clSetKernelArg(many, 5, sizeof both + 4, &both));
  TELL(clSetKernelArg(many, 6, 4, &large));
  TELL(clSetKernelArg(many, 7, sizeof large, nullptr));
  TELL(clSetKernelArg(many, 9, sizeof large, &large));
  TELL(clSetKernelArg(many, ~0u, sizeof large, &large));
  TELL(clSetKernelArg(nullptr, 0, sizeof in, &in));
  const std::size_t one = 1;
  TELL(clEnqueueNDRangeKernel(host.queue, many, 1, nullptr, &one, nullptr, 0, nullptr, nullptr));
  OK(clReleaseKernel(many));
  OK(clReleaseMemObject(in));
}

CASE(a_null_buffer_is_a_null_pointer) {
  Host host;
  cl_kernel test = host.kernel("kernel void test(global int* a, global int* out) { out[0] = a ? 1 : 2; }", "test");
  cl_mem out = host.buffer(64);
  for (int round = 0; round < 2; ++round) {
    const cl_mem none = nullptr;
    OK(round ? clSetKernelArg(test, 0, sizeof(cl_mem), nullptr) : clSetKernelArg(test, 0, sizeof(cl_mem), &none));
    OK(clSetKernelArg(test, 1, sizeof out, &out));
    host.launch(test, 1);
    std::printf("%d\n", host.read<cl_int>(out, 1)[0]);
  }
  OK(clReleaseKernel(test));
  OK(clReleaseMemObject(out));
}

CASE(grids_of_three_dimensions_have_offsets) {
  Host host;
  cl_kernel where = host.kernel(kMany, "where");
  struct { cl_uint dimensions; std::size_t offset[3], global[3], local[3]; } grids[] = {
      {1, {0, 0, 0}, {40, 1, 1}, {8, 1, 1}},  {1, {5, 0, 0}, {40, 1, 1}, {0, 0, 0}},
      {2, {3, 7, 0}, {12, 6, 1}, {4, 3, 1}},  {3, {1, 2, 3}, {8, 4, 6}, {2, 2, 3}},
      {3, {0, 0, 0}, {5, 7, 3}, {5, 1, 3}},   {3, {100, 0, 50}, {16, 1, 2}, {16, 1, 1}}};
  for (const auto& [dimensions, offset, global, local] : grids) {
    cl_mem out = host.filled(std::vector<cl_int>(2000, -1));
    set_args(where, out);
    OK(clEnqueueNDRangeKernel(host.queue, where, dimensions, offset, global, local[0] ? local : nullptr, 0, nullptr, nullptr));
    auto found = host.read<cl_int>(out, 2000);
    if (!local[0])  // then the groups are the device's choice
      for (std::size_t at = 1; at < found.size(); at += 2) found[at] = 0;
    show("grid", found);
    OK(clReleaseMemObject(out));
  }
  OK(clReleaseKernel(where));
}

CASE(grids_that_make_no_sense_are_refused) {
  Host host;
  cl_program program = host.build(kMany);
  cl_kernel where = MADE(clCreateKernel(program, "where", &error)), bound = MADE(clCreateKernel(program, "bound", &error));
  cl_mem out = host.buffer(4096);
  set_args(where, out);
  set_args(bound, out);
  const std::size_t eight[3] = {8, 8, 8}, three[3] = {3, 1, 1}, huge[3] = {1 << 20, 1, 1}, zero[3] = {0, 0, 0}, right[3] = {4, 2, 1}, wrong[3] = {2, 4, 1};
  const auto launch = [&](cl_kernel kernel, cl_uint dimensions, const std::size_t* global, const std::size_t* local) {
    return clEnqueueNDRangeKernel(host.queue, kernel, dimensions, nullptr, global, local, 0, nullptr, nullptr);
  };
  TELL(launch(where, 0, eight, nullptr));
  TELL(launch(where, 4, eight, nullptr));
  MAY_REFUSE(CL_INVALID_GLOBAL_WORK_SIZE, launch(where, 1, nullptr, nullptr));
  TELL(launch(where, 1, eight, three));
  TELL(launch(where, 1, huge, huge));
  MAY_REFUSE(CL_INVALID_WORK_GROUP_SIZE, launch(where, 1, eight, zero));
  TELL(launch(where, 3, zero, nullptr));
  TELL(launch(bound, 2, eight, right));
  TELL(launch(bound, 2, eight, wrong));
  MAY_REFUSE(CL_INVALID_WORK_GROUP_SIZE, launch(bound, 2, eight, nullptr));
  TELL(clEnqueueNDRangeKernel(nullptr, where, 1, nullptr, eight, nullptr, 0, nullptr, nullptr));
  OK(clFinish(host.queue));
  for (cl_kernel kernel : {where, bound}) OK(clReleaseKernel(kernel));
  OK(clReleaseProgram(program));
  OK(clReleaseMemObject(out));
}

CASE(kernels_answer_all_queries) {
  Host host;
  cl_program program = host.build(kMany, "-cl-kernel-arg-info");
  for (const char* name : {"many", "bound", "where", "empty"}) {
    cl_kernel kernel = MADE(clCreateKernel(program, name, &error));
    const auto ask = [&](const char* what, cl_uint number) {
      return queried(what, [&](auto... rest) { return clGetKernelInfo(kernel, number, rest...); });
    };
    show_text("name", ask("name", CL_KERNEL_FUNCTION_NAME));
    show_bytes("arguments", ask("arguments", CL_KERNEL_NUM_ARGS));
    show_bytes("references", ask("references", CL_KERNEL_REFERENCE_COUNT));
    show_text("attributes", ask("attributes", CL_KERNEL_ATTRIBUTES));
    HOLDS(as<cl_context>(ask("context", CL_KERNEL_CONTEXT)) == host.context);
    HOLDS(as<cl_program>(ask("program", CL_KERNEL_PROGRAM)) == program);
    TELL(clGetKernelInfo(kernel, 0x9999, 0, nullptr, nullptr));
    for (auto [number, what] : {std::pair{CL_KERNEL_WORK_GROUP_SIZE, "group"}, {CL_KERNEL_COMPILE_WORK_GROUP_SIZE, "compiled"},
                                {CL_KERNEL_LOCAL_MEM_SIZE, "local"}, {CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, "multiple"},
                                {CL_KERNEL_PRIVATE_MEM_SIZE, "private"}, {0x9999, "unknown"}}) {
      const Bytes value = queried(what, [&, number = number](auto... rest) { return clGetKernelWorkGroupInfo(kernel, host.device, number, rest...); });
      if (number != CL_KERNEL_LOCAL_MEM_SIZE || name != std::string("many")) show_bytes(what, value);
    }
    const auto arguments = as<cl_uint>(ask("arguments", CL_KERNEL_NUM_ARGS));
    for (cl_uint at = 0; at < arguments; ++at)
      for (auto [number, what] : {std::pair{CL_KERNEL_ARG_ADDRESS_QUALIFIER, "address"}, {CL_KERNEL_ARG_ACCESS_QUALIFIER, "access"},
                                  {CL_KERNEL_ARG_TYPE_NAME, "type"}, {CL_KERNEL_ARG_TYPE_QUALIFIER, "qualifiers"},
                                  {CL_KERNEL_ARG_NAME, "name"}})
        show_bytes(what, queried(what, [&, number = number](auto... rest) { return clGetKernelArgInfo(kernel, at, number, rest...); }));
    TELL(clGetKernelArgInfo(kernel, arguments, CL_KERNEL_ARG_NAME, 0, nullptr, nullptr));
    OK(clReleaseKernel(kernel));
  }
  OK(clReleaseProgram(program));
}

CASE(kernels_are_created_by_name_and_all_at_once) {
  Host host;
  cl_program program = host.build(kMany);
  TELL_MADE(clCreateKernel(program, "missing", &error));
  TELL_MADE(clCreateKernel(program, nullptr, &error));
  TELL_MADE(clCreateKernel(nullptr, "add", &error));
  cl_uint count = 0;
  OK(clCreateKernelsInProgram(program, 0, nullptr, &count));
  std::printf("%u kernels\n", count);
  std::vector<cl_kernel> kernels(count);
  TELL(clCreateKernelsInProgram(program, 1, kernels.data(), nullptr));
  OK(clCreateKernelsInProgram(program, count, kernels.data(), &count));
  cl_mem out = host.filled(counting<cl_int>(16));
  std::string names;
  for (cl_kernel kernel : kernels) {
    char name[64];
    OK(clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, nullptr));
    if (std::string("add") == name) {
      set_args(kernel, out, cl_int{5});
      host.launch(kernel, 16);
    }
    OK(clReleaseKernel(kernel));
  }
  show("out", host.read<cl_int>(out, 16));
  OK(clReleaseProgram(program));
  OK(clReleaseMemObject(out));
}

CASE(a_clone_keeps_the_arguments_of_its_moment) {
  Host host;
  cl_kernel add = host.kernel(kMany, "add");
  cl_mem first = host.filled(counting<cl_int>(16)), second = host.filled(counting<cl_int>(16));
  set_args(add, first, cl_int{5});
  cl_kernel clone = MADE(clCloneKernel(add, &error));
  set_args(add, second, cl_int{100});
  host.launch(clone, 16);
  host.launch(add, 16);
  const cl_int by = 1000;
  OK(clSetKernelArg(clone, 1, sizeof by, &by));
  OK(clReleaseKernel(add));
  host.launch(clone, 16);
  show("first", host.read<cl_int>(first, 16));
  show("second", host.read<cl_int>(second, 16));
  OK(clReleaseKernel(clone));
  TELL_MADE(clCloneKernel(nullptr, &error));
  for (cl_mem object : {first, second}) OK(clReleaseMemObject(object));
}

CASE(a_launch_takes_the_arguments_of_its_moment) {
  Host host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
  cl_kernel add = host.kernel(kMany, "add");
  std::vector<cl_mem> outs;
  for (cl_int at = 0; at < 50; ++at) {
    outs.push_back(host.filled(counting<cl_int>(16)));
    set_args(add, outs.back(), at);
    host.launch(add, 16);
  }
  OK(clFinish(host.queue));
  for (cl_int at = 0; at < 50; ++at) {
    HOLDS(host.read<cl_int>(outs[at], 16) == counting<cl_int>(16, at));
    OK(clReleaseMemObject(outs[at]));
  }
  OK(clReleaseKernel(add));
}

CASE(tasks_and_kernels_without_arguments_run) {
  Host host;
  cl_program program = host.build(kMany);
  cl_kernel empty = MADE(clCreateKernel(program, "empty", &error)), add = MADE(clCreateKernel(program, "add", &error));
  cl_mem out = host.filled(counting<cl_int>(4));
  set_args(add, out, cl_int{3});
  TELL(clEnqueueTask(host.queue, empty, 0, nullptr, nullptr));
  TELL(clEnqueueTask(host.queue, add, 0, nullptr, nullptr));
  host.launch(empty, 1000, 10);
  show("out", host.read<cl_int>(out, 4));
  for (cl_kernel kernel : {empty, add}) OK(clReleaseKernel(kernel));
  OK(clReleaseProgram(program));
  OK(clReleaseMemObject(out));
}

CASE(atomics_and_local_memory_give_exact_sums) {
  Host host;
  cl_kernel sum = host.kernel(R"(
kernel void sum(global const int* in, global int* total, local int* part) {
  int at = get_local_id(0);
  part[at] = in[get_global_id(0)];
  for (int step = get_local_size(0) / 2; step; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (at < step) part[at] += part[at + step];
  }
  if (!at) atomic_add(total, part[0]);
})", "sum");
  cl_mem in = host.filled(counting<cl_int>(1 << 16)), total = host.filled(std::vector<cl_int>{0});
  OK(clSetKernelArg(sum, 0, sizeof in, &in));
  OK(clSetKernelArg(sum, 1, sizeof total, &total));
  OK(clSetKernelArg(sum, 2, 256 * sizeof(cl_int), nullptr));
  for (int round = 0; round < 10; ++round) host.launch(sum, 1 << 16, 256);
  show("total", host.read<cl_int>(total, 1));
  OK(clReleaseKernel(sum));
  for (cl_mem object : {in, total}) OK(clReleaseMemObject(object));
}
