// A program that is moved while it runs: buffers, sub-buffers, images, samplers, a map, events
// that are pending, profiling, a second context. It prints a digest of all every ten rounds.
//
//     pipeline ROUNDS
#include <ctime>

#include "../suite/suite.hpp"

using namespace suite;

namespace {

constexpr std::size_t kSide = 64, kCount = 1 << 16;

const char* kSource = R"(
kernel void turn(global uint* a, uint by, local uint* scratch) {
  int at = get_global_id(0), here = get_local_id(0);
  scratch[here] = a[at];
  barrier(CLK_LOCAL_MEM_FENCE);
  a[at] = scratch[here] * 3 + scratch[get_local_size(0) - 1 - here] + by;
}
kernel void blur(read_only image2d_t from, sampler_t how, write_only image2d_t to, global const uint* a) {
  int2 at = (int2)(get_global_id(0), get_global_id(1));
  uint4 sum = 0;
  for (int y = -1; y <= 1; ++y)
    for (int x = -1; x <= 1; ++x) sum += read_imageui(from, how, at + (int2)(x, y));
  write_imageui(to, at, (sum + a[at.x + 64 * at.y]) & 0xFFu);
})";

struct Stage {
  Host host;
  cl_program program;
  cl_kernel turn, blur;
  cl_mem numbers, part, images[2];
  cl_sampler how;

  Stage() : host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE) {
    program = host.build(kSource, "-cl-std=CL1.2");
    turn = MADE(clCreateKernel(program, "turn", &error));
    blur = MADE(clCreateKernel(program, "blur", &error));
    numbers = host.filled(counting<cl_uint>(kCount));
    const cl_buffer_region region = {kCount, kCount};
    part = MADE(clCreateSubBuffer(numbers, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &error));
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    cl_image_desc flat{};
    flat.image_type = CL_MEM_OBJECT_IMAGE2D;
    flat.image_width = flat.image_height = kSide;
    auto pixels = counting<std::uint8_t>(kSide * kSide * 4);
    for (cl_mem& image : images)
      image = MADE(clCreateImage(host.context, CL_MEM_COPY_HOST_PTR, &format, &flat, pixels.data(), &error));
    how = MADE(clCreateSampler(host.context, CL_FALSE, CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST, &error));
  }

  cl_event launch_turn(cl_mem buffer, std::size_t count, cl_uint by, cl_event after) {
    const std::size_t local = 64;
    cl_event done;
    OK(clSetKernelArg(turn, 0, sizeof buffer, &buffer));
    OK(clSetKernelArg(turn, 1, sizeof by, &by));
    OK(clSetKernelArg(turn, 2, local * sizeof(cl_uint), nullptr));
    OK(clEnqueueNDRangeKernel(host.queue, turn, 1, nullptr, &count, &local, after ? 1 : 0, after ? &after : nullptr, &done));
    return done;
  }

  // Everything of a round waits for `gate`, which is opened while it may be on the move.
  void round(cl_uint number) {
    cl_event gate = MADE(clCreateUserEvent(host.context, &error));
    cl_event first = launch_turn(numbers, kCount, number, gate);
    cl_event second = launch_turn(part, kCount / 4, number + 1, first);
    set_args(blur, images[number % 2], how, images[1 - number % 2], numbers);
    const std::size_t all[2] = {kSide, kSide};
    cl_event third, fourth;
    OK(clEnqueueNDRangeKernel(host.queue, blur, 2, nullptr, all, nullptr, 1, &second, &third));
    std::vector<cl_uint> few(16);
    OK(clEnqueueReadBuffer(host.queue, part, CL_FALSE, 256, 64, few.data(), 1, &third, &fourth));
    const timespec pause = {0, 2'000'000};
    nanosleep(&pause, nullptr);
    OK(clSetUserEventStatus(gate, CL_COMPLETE));
    OK(clWaitForEvents(1, &fourth));
    cl_ulong begun = 0, ended = 0;
    OK(clGetEventProfilingInfo(third, CL_PROFILING_COMMAND_START, sizeof begun, &begun, nullptr));
    OK(clGetEventProfilingInfo(third, CL_PROFILING_COMMAND_END, sizeof ended, &ended, nullptr));
    HOLDS(begun <= ended);
    auto* mapped = static_cast<cl_uint*>(MADE(clEnqueueMapBuffer(
        host.queue, numbers, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 4096, 4096, 0, nullptr, nullptr, &error)));
    mapped[number % 1024] ^= few[number % 16];
    OK(clEnqueueUnmapMemObject(host.queue, numbers, mapped, 0, nullptr, nullptr));
    OK(clFinish(host.queue));
    for (cl_event event : {gate, first, second, third, fourth}) OK(clReleaseEvent(event));
  }

  void show_all(cl_uint number) {
    const std::size_t zero[3] = {}, region[3] = {kSide, kSide, 1};
    Bytes pixels(kSide * kSide * 4);
    OK(clEnqueueReadImage(host.queue, images[number % 2], CL_TRUE, zero, region, 0, 0, pixels.data(), 0, nullptr, nullptr));
    std::printf("round %u ", number);
    show("pixels", pixels);
    show("numbers", host.read<cl_uint>(numbers, kCount));
  }
};

void pipeline(cl_uint rounds) {
  Stage first, second;
  for (cl_uint number = 1; number <= rounds; ++number) {
    first.round(number);
    second.round(number + 7);
    if (number % 10 == 0) {
      first.show_all(number);
      second.show_all(number);
    }
  }
}

}  // namespace

CASE(short_run) { pipeline(90); }
CASE(long_run) { pipeline(300); }
