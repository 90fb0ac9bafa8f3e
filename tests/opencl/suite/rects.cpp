// Rectangles of buffers, with pitches and without.
#include "suite.hpp"

using namespace suite;

namespace {

struct Rect {
  std::size_t buffer_origin[3], host_origin[3], region[3];
  std::size_t row, slice, host_row, host_slice;
};

const Rect kRects[] = {
    {{0, 0, 0}, {0, 0, 0}, {16, 4, 1}, 0, 0, 0, 0},
    {{4, 2, 0}, {0, 0, 0}, {10, 5, 1}, 64, 0, 0, 0},
    {{4, 2, 0}, {3, 1, 0}, {10, 5, 1}, 64, 0, 32, 0},
    {{1, 1, 1}, {5, 2, 3}, {7, 3, 2}, 40, 400, 30, 210},
    {{0, 0, 2}, {0, 0, 0}, {40, 10, 3}, 40, 400, 40, 400},
    {{7, 0, 0}, {0, 0, 0}, {1, 1, 1}, 0, 0, 0, 0},
    {{3, 3, 3}, {1, 1, 1}, {5, 5, 5}, 16, 160, 11, 99},
};
constexpr std::size_t kSize = 4000;

}  // namespace

CASE(rectangles_are_read_with_pitches) {
  Host host;
  cl_mem buffer = host.filled(counting(kSize));
  for (const Rect& r : kRects)
    for (cl_bool wait : {CL_TRUE, CL_FALSE}) {
      Bytes found(kSize, 0xCC);
      OK(clEnqueueReadBufferRect(host.queue, buffer, wait, r.buffer_origin, r.host_origin, r.region, r.row,
                                 r.slice, r.host_row, r.host_slice, found.data(), 0, nullptr, nullptr));
      OK(clFinish(host.queue));
      show("read", found);
    }
  OK(clReleaseMemObject(buffer));
}

CASE(rectangles_are_written_with_pitches) {
  Host host;
  auto data = counting<std::uint8_t>(kSize, 100);
  for (const Rect& r : kRects)
    for (cl_bool wait : {CL_TRUE, CL_FALSE}) {
      cl_mem buffer = host.filled(Bytes(kSize, 0xCC));
      OK(clEnqueueWriteBufferRect(host.queue, buffer, wait, r.buffer_origin, r.host_origin, r.region, r.row,
                                  r.slice, r.host_row, r.host_slice, data.data(), 0, nullptr, nullptr));
      show("written", host.read(buffer, kSize));
      OK(clReleaseMemObject(buffer));
    }
}

CASE(rectangles_are_copied_with_pitches) {
  Host host;
  cl_mem source = host.filled(counting<std::uint8_t>(kSize, 50));
  for (const Rect& r : kRects) {
    cl_mem target = host.filled(Bytes(kSize, 0xCC));
    OK(clEnqueueCopyBufferRect(host.queue, source, target, r.buffer_origin, r.host_origin, r.region, r.row,
                               r.slice, r.host_row, r.host_slice, 0, nullptr, nullptr));
    show("copied", host.read(target, kSize));
    OK(clReleaseMemObject(target));
  }
  const std::size_t low[3] = {0, 0, 0}, high[3] = {0, 8, 0}, right[3] = {16, 0, 0}, region[3] = {16, 8, 1};
  OK(clEnqueueCopyBufferRect(host.queue, source, source, low, high, region, 32, 0, 32, 0, 0, nullptr, nullptr));
  OK(clEnqueueCopyBufferRect(host.queue, source, source, low, right, region, 32, 0, 32, 0, 0, nullptr, nullptr));
  show("within", host.read(source, kSize));
  const std::size_t near[3] = {8, 4, 0};
  TELL(clEnqueueCopyBufferRect(host.queue, source, source, low, near, region, 32, 0, 32, 0, 0, nullptr, nullptr));
  OK(clReleaseMemObject(source));
}

CASE(a_large_rectangle_goes_and_comes_back) {
  Host host;
  constexpr std::size_t side = 3000, row = 3100;
  cl_mem buffer = host.filled(Bytes(side * row, 1));
  auto data = counting(side * side);
  const std::size_t origin[3] = {50, 0, 0}, zero[3] = {}, region[3] = {side, side, 1};
  OK(clEnqueueWriteBufferRect(host.queue, buffer, CL_FALSE, origin, zero, region, row, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  Bytes found(side * side);
  OK(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, origin, zero, region, row, 0, 0, 0, found.data(), 0, nullptr, nullptr));
  HOLDS(found == data);
  show("whole", host.read(buffer, side * row));
  OK(clReleaseMemObject(buffer));
}

CASE(rectangles_that_make_no_sense_are_refused) {
  Host host;
  cl_mem buffer = host.filled(counting(kSize));
  Bytes data(kSize);
  const std::size_t zero[3] = {}, region[3] = {16, 4, 2}, flat[3] = {16, 0, 1}, far[3] = {0, 0, 100};
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, region, 15, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, region, 16, 63, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, region, 0, 0, 15, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, region, 0, 0, 16, 63, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, flat, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, far, zero, region, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, zero, zero, region, 0, 0, 0, 0, nullptr, 0, nullptr, nullptr));
  TELL(clEnqueueReadBufferRect(host.queue, nullptr, CL_TRUE, zero, zero, region, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueWriteBufferRect(host.queue, buffer, CL_TRUE, far, zero, region, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueCopyBufferRect(host.queue, buffer, buffer, far, zero, region, 0, 0, 0, 0, 0, nullptr, nullptr));
  show("buffer", host.read(buffer, kSize));
  OK(clReleaseMemObject(buffer));
}
