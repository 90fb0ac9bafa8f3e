// Reference counts, orders of release, contexts side by side, threads.
#include <pthread.h>

#include <atomic>

#include "suite.hpp"

using namespace suite;

namespace {

const char* kAdd = "kernel void add(global int* a, int by) { a[get_global_id(0)] += by; }";

template <typename Body>
void in_threads(int count, Body body) {  // body(number), at once
  struct Given {
    Body* body;
    int number;
  };
  std::vector<pthread_t> threads(count);
  std::vector<Given> given(count);
  for (int at = 0; at < count; ++at) {
    given[at] = {&body, at};
    HOLDS(!pthread_create(&threads[at], nullptr, [](void* data) -> void* {
      auto* mine = static_cast<Given*>(data);
      (*mine->body)(mine->number);
      return nullptr;
    }, &given[at]));
  }
  for (pthread_t thread : threads) HOLDS(!pthread_join(thread, nullptr));
}

}  // namespace

CASE(objects_count_who_holds_them) {
  Host host;
  cl_program program = host.build(kAdd);
  cl_mem buffer = host.buffer(64);
  cl_sampler sampler = MADE(clCreateSampler(host.context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &error));
  cl_kernel kernel = MADE(clCreateKernel(program, "add", &error));
  const auto count = [&](const char* name) {
    std::printf("%s: buffer %u sampler %u kernel %u queue %u\n", name, number(clGetMemObjectInfo, buffer, CL_MEM_REFERENCE_COUNT),
                number(clGetSamplerInfo, sampler, CL_SAMPLER_REFERENCE_COUNT), number(clGetKernelInfo, kernel, CL_KERNEL_REFERENCE_COUNT),
                number(clGetCommandQueueInfo, host.queue, CL_QUEUE_REFERENCE_COUNT));
  };
  count("new");
  for (int round = 0; round < 3; ++round) {
    OK(clRetainMemObject(buffer));
    OK(clRetainSampler(sampler));
    OK(clRetainKernel(kernel));
    OK(clRetainProgram(program));
    OK(clRetainCommandQueue(host.queue));
    OK(clRetainContext(host.context));
  }
  count("retained");
  for (int round = 0; round < 3; ++round) {
    OK(clReleaseMemObject(buffer));
    OK(clReleaseSampler(sampler));
    OK(clReleaseKernel(kernel));
    OK(clReleaseProgram(program));
    OK(clReleaseCommandQueue(host.queue));
    OK(clReleaseContext(host.context));
  }
  count("released");
  OK(clReleaseKernel(kernel));
  OK(clReleaseSampler(sampler));
  OK(clReleaseMemObject(buffer));
  OK(clReleaseProgram(program));
}

CASE(null_handles_are_refused) {
  TELL(clRetainContext(nullptr));
  TELL(clReleaseContext(nullptr));
  TELL(clRetainCommandQueue(nullptr));
  TELL(clReleaseCommandQueue(nullptr));
  TELL(clRetainMemObject(nullptr));
  TELL(clReleaseMemObject(nullptr));
  TELL(clRetainSampler(nullptr));
  TELL(clReleaseSampler(nullptr));
  TELL(clRetainProgram(nullptr));
  TELL(clReleaseProgram(nullptr));
  TELL(clRetainKernel(nullptr));
  TELL(clReleaseKernel(nullptr));
  TELL(clRetainEvent(nullptr));
  TELL(clReleaseEvent(nullptr));
  TELL(clFlush(nullptr));
  TELL(clFinish(nullptr));
  TELL(clGetContextInfo(nullptr, CL_CONTEXT_DEVICES, 0, nullptr, nullptr));
  TELL(clGetCommandQueueInfo(nullptr, CL_QUEUE_CONTEXT, 0, nullptr, nullptr));
  TELL(clGetMemObjectInfo(nullptr, CL_MEM_SIZE, 0, nullptr, nullptr));
  TELL(clGetKernelInfo(nullptr, CL_KERNEL_CONTEXT, 0, nullptr, nullptr));
  TELL(clGetProgramInfo(nullptr, CL_PROGRAM_SOURCE, 0, nullptr, nullptr));
  TELL(clGetEventInfo(nullptr, CL_EVENT_CONTEXT, 0, nullptr, nullptr));
  TELL(clGetDeviceInfo(nullptr, CL_DEVICE_NAME, 0, nullptr, nullptr));
  TELL(clSetMemObjectDestructorCallback(nullptr, [](cl_mem, void*) {}, nullptr));
}

CASE(objects_outlive_what_they_were_made_of) {
  cl_platform_id platform;
  cl_device_id device;
  OK(clGetPlatformIDs(1, &platform, nullptr));
  OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr));
  cl_context context = MADE(clCreateContext(nullptr, 1, &device, nullptr, nullptr, &error));
  cl_command_queue queue = MADE(clCreateCommandQueueWithProperties(context, device, nullptr, &error));
  auto data = counting<cl_int>(16);
  cl_mem buffer = MADE(clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, 64, data.data(), &error));
  cl_program program = MADE(clCreateProgramWithSource(context, 1, &kAdd, nullptr, &error));
  OK(clReleaseContext(context));  // queue, buffer and program hold it
  OK(clBuildProgram(program, 0, nullptr, "", nullptr, nullptr));
  cl_kernel kernel = MADE(clCreateKernel(program, "add", &error));
  OK(clReleaseProgram(program));
  set_args(kernel, buffer, cl_int{5});
  const std::size_t size = 16;
  cl_event ran, was_read;
  OK(clEnqueueNDRangeKernel(queue, kernel, 1, nullptr, &size, nullptr, 0, nullptr, &ran));
  OK(clReleaseKernel(kernel));
  OK(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, 64, data.data(), 1, &ran, &was_read));
  OK(clReleaseMemObject(buffer));
  OK(clReleaseEvent(ran));
  OK(clReleaseCommandQueue(queue));  // an implicit flush
  OK(clWaitForEvents(1, &was_read));
  show("read", data);
  OK(clReleaseEvent(was_read));
}

CASE(a_released_buffer_serves_the_commands_that_are_queued) {
  Host host;
  cl_kernel add = host.kernel(kAdd, "add");
  cl_mem out = host.filled(std::vector<cl_int>(1024, 0));
  for (int round = 0; round < 200; ++round) {
    cl_mem scratch = host.filled(std::vector<cl_int>(1024, round));
    set_args(add, scratch, cl_int{1});
    host.launch(add, 1024);
    OK(clEnqueueCopyBuffer(host.queue, scratch, out, 0, 4 * (round % 100), 4096 - 400, 0, nullptr, nullptr));
    OK(clReleaseMemObject(scratch));
  }
  show("out", host.read<cl_int>(out, 1024));
  OK(clReleaseKernel(add));
  OK(clReleaseMemObject(out));
}

CASE(contexts_side_by_side_do_not_mix) {
  Host first, second;
  cl_mem one = first.filled(counting<cl_int>(16)), two = second.filled(counting<cl_int>(16, 100));
  cl_kernel add_one = first.kernel(kAdd, "add"), add_two = second.kernel(kAdd, "add");
  set_args(add_one, one, cl_int{1});
  set_args(add_two, two, cl_int{2});
  for (int round = 0; round < 20; ++round) {
    first.launch(add_one, 16);
    second.launch(add_two, 16);
  }
  show("one", first.read<cl_int>(one, 16));
  show("two", second.read<cl_int>(two, 16));
  Bytes data(64);
  TELL(clEnqueueReadBuffer(first.queue, two, CL_TRUE, 0, 64, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueCopyBuffer(first.queue, one, two, 0, 0, 64, 0, nullptr, nullptr));
  set_args(add_one, one, cl_int{1});
  const std::size_t size = 16;
  TELL(clEnqueueNDRangeKernel(second.queue, add_one, 1, nullptr, &size, nullptr, 0, nullptr, nullptr));
  for (cl_kernel kernel : {add_one, add_two}) OK(clReleaseKernel(kernel));
  for (cl_mem object : {one, two}) OK(clReleaseMemObject(object));
}

CASE(contexts_come_and_go) {
  for (int round = 0; round < 30; ++round) {
    Host host;
    cl_mem buffer = host.filled(counting<cl_int>(16, round));
    cl_kernel add = host.kernel(kAdd, "add");
    set_args(add, buffer, cl_int{round});
    host.launch(add, 16);
    HOLDS(host.read<cl_int>(buffer, 16) == counting<cl_int>(16, 2 * round));
    OK(clReleaseKernel(add));
    OK(clReleaseMemObject(buffer));
  }
}

CASE(a_context_calls_back_when_it_goes) {
  static std::atomic<int> called;
  {
    Host host;
    TELL(clSetContextDestructorCallback(host.context, [](cl_context, void*) { ++called; }, nullptr));
    TELL(clSetContextDestructorCallback(host.context, nullptr, nullptr));
    HOLDS(called == 0);
  }
  std::printf("called %d\n", called.load());
}

CASE(threads_share_a_queue) {
  Host host;
  cl_program program = host.build(kAdd);
  std::vector<cl_mem> buffers;
  for (int at = 0; at < 8; ++at) buffers.push_back(host.filled(counting<cl_int>(256, at)));
  in_threads(8, [&](int mine) {
    cl_kernel add = MADE(clCreateKernel(program, "add", &error));
    for (int round = 0; round < 300; ++round) {
      set_args(add, buffers[mine], cl_int{round % 7});
      host.launch(add, 256);
      if (round % 50 == 0) host.read<cl_int>(buffers[mine], 256);
    }
    OK(clReleaseKernel(add));
  });
  for (cl_mem buffer : buffers) {
    show("buffer", host.read<cl_int>(buffer, 256));
    OK(clReleaseMemObject(buffer));
  }
  OK(clReleaseProgram(program));
}

CASE(threads_have_queues_and_contexts_of_their_own) {
  Host shared;
  std::vector<std::vector<cl_int>> results(8);
  in_threads(8, [&](int mine) {
    const auto work = [&](const Host& host, cl_command_queue queue) {
      const std::string source = kAdd + std::string("// ") + std::to_string(mine % 2);
      cl_kernel add = host.kernel(source.c_str(), "add");
      cl_mem buffer = host.filled(counting<cl_int>(256, mine));
      const std::size_t size = 256;
      for (int round = 0; round < 100; ++round) {
        set_args(add, buffer, cl_int{round});
        OK(clEnqueueNDRangeKernel(queue, add, 1, nullptr, &size, nullptr, 0, nullptr, nullptr));
      }
      results[mine].resize(256);
      OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 1024, results[mine].data(), 0, nullptr, nullptr));
      OK(clReleaseKernel(add));
      OK(clReleaseMemObject(buffer));
    };
    if (mine % 2) {
      Host own;
      work(own, own.queue);
    } else {
      cl_command_queue queue = shared.new_queue();
      work(shared, queue);
      OK(clReleaseCommandQueue(queue));
    }
  });
  for (const auto& result : results) show("result", result);
}

CASE(a_program_may_end_without_releasing_anything) {
  auto* host = new Host;
  cl_mem buffer = host->filled(counting<cl_int>(1 << 20));
  cl_kernel add = host->kernel(kAdd, "add");
  set_args(add, buffer, cl_int{5});
  for (int round = 0; round < 20; ++round) host->launch(add, 1 << 20);
  cl_event gate = MADE(clCreateUserEvent(host->context, &error));
  OK(clEnqueueMarkerWithWaitList(host->queue, 1, &gate, nullptr));
  std::printf("left %d\n", gate != nullptr);
}
