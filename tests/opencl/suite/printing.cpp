// What kernels print, and what the program prints itself, in one stream. A case that is done has
// flushed its own output before each launch, and waits before it goes on.
#include <ctime>

#include "suite.hpp"

using namespace suite;

namespace {

void say(const char* line) {
  std::printf("%s\n", line);
  std::fflush(stdout);
}

// One work-item: its lines come in order.
struct Printer : Host {
  cl_mem out = buffer(64);
  cl_kernel count = kernel("kernel void count(global int* out, int from, int to) {"
                           "  for (int at = from; at < to; ++at) printf(\"kernel %d\\n\", at);"
                           "  out[0] = to; }",
                           "count");
  void print(int from, int to, bool blocking = true) {
    set_args(count, out, from, to);
    launch(count, 1);
    if (blocking) OK(clFinish(queue));
  }
};

}  // namespace

CASE(kernels_print_between_what_the_program_prints) {
  Printer host;
  for (int step = 0; step < 5; ++step) {
    say("before");
    host.print(step * 10, step * 10 + step);
    say("after");
  }
}

CASE(kernels_that_follow_each_other_print_in_order) {
  Printer host;
  for (int step = 0; step < 50; ++step) host.print(step * 3, step * 3 + 3, false);
  OK(clFinish(host.queue));
  say("after");
}

CASE(whatever_waits_for_a_kernel_waits_for_what_it_prints) {
  Printer host;
  host.print(0, 2, false);
  host.read<int>(host.out, 1);
  say("after a read");
  cl_event event = nullptr;
  const int from = 2, to = 4;
  set_args(host.count, host.out, from, to);
  const std::size_t one = 1;
  OK(clEnqueueNDRangeKernel(host.queue, host.count, 1, nullptr, &one, nullptr, 0, nullptr, &event));
  OK(clWaitForEvents(1, &event));
  say("after an event");
  OK(clReleaseEvent(event));
  const int end = 6;
  set_args(host.count, host.out, to, end);
  OK(clEnqueueNDRangeKernel(host.queue, host.count, 1, nullptr, &one, nullptr, 0, nullptr, &event));
  OK(clFlush(host.queue));
  cl_int status = CL_QUEUED;
  for (int at = 0; at < 5000 && status != CL_COMPLETE; ++at) {
    OK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, nullptr));
    const timespec pause = {0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
  HOLDS(status == CL_COMPLETE);
  say("after it was seen complete");
  OK(clReleaseEvent(event));
}

CASE(kernels_print_much) {
  Printer host;
  for (int step = 0; step < 8; ++step) host.print(step * 4000, step * 4000 + 4000, false);
  OK(clFinish(host.queue));
  say("after");
}

CASE(a_header_may_print) {
  char folder[] = "/tmp/suite-XXXXXX";
  HOLDS(mkdtemp(folder) != nullptr);
  const std::string header = std::string(folder) + "/part.h", option = std::string("-I ") + folder;
  const auto run = [&](const char* text) {
    std::FILE* file = std::fopen(header.c_str(), "w");
    HOLDS(file != nullptr);
    std::fputs(text, file);
    std::fclose(file);
    Host host;
    const char* source = "#include \"part.h\"\nkernel void k(global int* a) { a[0] = 1; SAY }";
    cl_program program = host.build(source, option.c_str());
    cl_kernel kernel = MADE(clCreateKernel(program, "k", &error));
    cl_mem buffer = host.buffer(64);
    set_args(kernel, buffer);
    host.launch(kernel, 1);
    OK(clFinish(host.queue));
    say("after");
  };
  run("#define SAY printf(\"from a header\\n\");");
  run("#define SAY a[1] = 2;");
  std::remove(header.c_str());
  std::remove(folder);
}
