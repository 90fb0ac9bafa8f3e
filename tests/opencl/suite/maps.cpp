// Memory in the host's address space: maps, unmaps, and memory that the program owns.
#include "suite.hpp"

using namespace suite;

namespace {

std::uint8_t* map(const Host& host, cl_mem buffer, cl_map_flags flags, std::size_t offset,
                  std::size_t size, cl_bool wait = CL_TRUE, cl_event* event = nullptr) {
  return static_cast<std::uint8_t*>(MADE(
      clEnqueueMapBuffer(host.queue, buffer, wait, flags, offset, size, 0, nullptr, event, &error)));
}

void unmap(const Host& host, cl_mem object, void* pointer) {
  OK(clEnqueueUnmapMemObject(host.queue, object, pointer, 0, nullptr, nullptr));
}

cl_kernel adder(const Host& host) {
  return host.kernel("kernel void add(global uchar* a, uchar by) { a[get_global_id(0)] += by; }", "add");
}

unsigned maps_of(cl_mem object) {
  cl_uint count = 0;
  OK(clGetMemObjectInfo(object, CL_MEM_MAP_COUNT, sizeof count, &count, nullptr));
  return count;
}

}  // namespace

CASE(a_mapped_region_is_read_and_written_in_place) {
  Host host;
  for (cl_mem_flags flags : {cl_mem_flags{CL_MEM_READ_WRITE}, cl_mem_flags{CL_MEM_ALLOC_HOST_PTR}}) {
    cl_mem buffer = host.filled(counting(4096), flags);
    cl_kernel add = adder(host);
    set_args(add, buffer, cl_uchar{10});
    host.launch(add, 4096);
    auto* at = map(host, buffer, CL_MAP_READ | CL_MAP_WRITE, 100, 200);
    std::printf("sees %u %u, maps %u\n", at[0], at[199], maps_of(buffer));
    std::memset(at, 9, 100);
    unmap(host, buffer, at);
    host.launch(add, 4096);
    show("after", host.read(buffer, 4096));
    OK(clFinish(host.queue));  // PoCL counts a map less only after the commands behind it may have run
    std::printf("maps %u\n", maps_of(buffer));
    OK(clReleaseKernel(add));
    OK(clReleaseMemObject(buffer));
  }
}

CASE(maps_without_waiting_are_valid_when_their_event_is) {
  Host host;
  cl_mem buffer = host.filled(counting(1 << 20));
  cl_kernel add = adder(host);
  set_args(add, buffer, cl_uchar{3});
  for (int round = 0; round < 20; ++round) {
    host.launch(add, 1 << 20);
    cl_event mapped;
    auto* at = map(host, buffer, CL_MAP_READ | CL_MAP_WRITE, 0, 1 << 20, CL_FALSE, &mapped);
    OK(clWaitForEvents(1, &mapped));
    OK(clReleaseEvent(mapped));
    HOLDS(at[round] == static_cast<std::uint8_t>(round + 3 * (round + 1)));
    at[100000 + round] = 1;
    cl_event unmapped;
    OK(clEnqueueUnmapMemObject(host.queue, buffer, at, 0, nullptr, &unmapped));
    OK(clWaitForEvents(1, &unmapped));
    OK(clReleaseEvent(unmapped));
  }
  show("after", host.read(buffer, 1 << 20));
  OK(clReleaseKernel(add));
  OK(clReleaseMemObject(buffer));
}

CASE(a_map_for_reading_leaves_the_buffer_alone) {
  Host host;
  cl_mem buffer = host.filled(counting(256));
  auto* at = map(host, buffer, CL_MAP_READ, 0, 256);
  std::printf("%u\n", at[255]);
  unmap(host, buffer, at);
  show("after", host.read(buffer, 256));
  OK(clReleaseMemObject(buffer));
}

CASE(an_invalidating_map_writes_all_of_its_region) {
  Host host;
  cl_mem buffer = host.filled(counting(4096));
  auto* at = map(host, buffer, CL_MAP_WRITE_INVALIDATE_REGION, 1000, 1000);
  std::memset(at, 0x5A, 1000);
  unmap(host, buffer, at);
  show("after", host.read(buffer, 4096));
  MAY_REFUSE_MADE(CL_INVALID_VALUE, clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION | CL_MAP_READ, 0, 10, 0, nullptr, nullptr, &error));
  OK(clReleaseMemObject(buffer));
}

CASE(overlapping_maps_count_and_end_in_any_order) {
  Host host;
  cl_mem buffer = host.filled(counting(4096));
  auto* first = map(host, buffer, CL_MAP_READ, 0, 2048);
  auto* second = map(host, buffer, CL_MAP_READ, 1024, 2048);
  auto* third = map(host, buffer, CL_MAP_READ, 0, 4096);
  std::printf("%u %u %u, maps %u\n", first[1500], second[476], third[1500], maps_of(buffer));
  unmap(host, buffer, first);
  OK(clFinish(host.queue));
  std::printf("%u %u, maps %u\n", second[0], third[4095], maps_of(buffer));
  unmap(host, buffer, third);
  OK(clFinish(host.queue));
  std::printf("%u, maps %u\n", second[2047], maps_of(buffer));
  unmap(host, buffer, second);
  OK(clFinish(host.queue));
  std::printf("maps %u\n", maps_of(buffer));
  // Two that write, side by side.
  first = map(host, buffer, CL_MAP_WRITE, 0, 128);
  second = map(host, buffer, CL_MAP_WRITE, 128, 128);
  std::memset(first, 1, 128);
  std::memset(second, 2, 128);
  unmap(host, buffer, second);
  unmap(host, buffer, first);
  show("after", host.read(buffer, 512));
  OK(clReleaseMemObject(buffer));
}

CASE(memory_of_the_program_is_mapped_where_it_lies) {
  Host host;
  std::vector<std::uint8_t> own(8192 + 4096);
  auto* aligned = own.data() + (4096 - reinterpret_cast<std::uintptr_t>(own.data()) % 4096);
  for (std::uint8_t* memory : {aligned, aligned + 4}) {  // the second is aligned for a float only
    std::iota(memory, memory + 8000, std::uint8_t{0});
    cl_mem buffer = host.buffer(8000, CL_MEM_USE_HOST_PTR, memory);
    cl_kernel add = adder(host);
    set_args(add, buffer, cl_uchar{1});
    host.launch(add, 8000);
    auto* at = map(host, buffer, CL_MAP_READ | CL_MAP_WRITE, 0, 8000);
    HOLDS(at == memory);
    std::printf("sees %u, the program's own memory %u\n", at[0], memory[0]);
    memory[1] = 200;
    unmap(host, buffer, at);
    host.launch(add, 8000);
    auto* part = map(host, buffer, CL_MAP_READ, 1, 7000);
    HOLDS(part == memory + 1);
    std::printf("sees %u\n", part[0]);
    unmap(host, buffer, part);
    OK(clFinish(host.queue));
    show("after", host.read(buffer, 8000));
    OK(clReleaseKernel(add));
    OK(clReleaseMemObject(buffer));
  }
}

CASE(a_sub_buffer_of_the_programs_memory_is_mapped_inside_it) {
  Host host;
  alignas(128) static std::uint8_t memory[4096];
  cl_mem whole = host.buffer(4096, CL_MEM_USE_HOST_PTR, memory);
  const cl_buffer_region region = {1024, 1024};
  cl_mem part = MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &error));
  auto* at = map(host, part, CL_MAP_WRITE, 10, 20);
  HOLDS(at == memory + 1034);
  std::memset(at, 7, 20);
  unmap(host, part, at);
  show("whole", host.read(whole, 4096));
  OK(clReleaseMemObject(part));
  OK(clReleaseMemObject(whole));
}

CASE(maps_that_make_no_sense_are_refused) {
  Host host;
  cl_mem buffer = host.filled(counting(64)), other = host.buffer(64);
  TELL_MADE(clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, CL_MAP_READ, 0, 65, 0, nullptr, nullptr, &error));
  TELL_MADE(clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, CL_MAP_READ, 64, 1, 0, nullptr, nullptr, &error));
  TELL_MADE(clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, CL_MAP_READ, 0, 0, 0, nullptr, nullptr, &error));
  MAY_REFUSE_MADE(CL_INVALID_VALUE, clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, 1 << 10, 0, 8, 0, nullptr, nullptr, &error));
  TELL_MADE(clEnqueueMapBuffer(host.queue, nullptr, CL_TRUE, CL_MAP_READ, 0, 8, 0, nullptr, nullptr, &error));
  TELL_MADE(clEnqueueMapBuffer(nullptr, buffer, CL_TRUE, CL_MAP_READ, 0, 8, 0, nullptr, nullptr, &error));
  auto* at = map(host, buffer, CL_MAP_READ, 0, 64);
  TELL(clEnqueueUnmapMemObject(host.queue, other, at, 0, nullptr, nullptr));
  TELL(clEnqueueUnmapMemObject(host.queue, buffer, nullptr, 0, nullptr, nullptr));
  TELL(clEnqueueUnmapMemObject(host.queue, nullptr, at, 0, nullptr, nullptr));
  unmap(host, buffer, at);
  OK(clFinish(host.queue));
  MAY_REFUSE(CL_INVALID_VALUE, clEnqueueUnmapMemObject(host.queue, buffer, at, 0, nullptr, nullptr));
  for (cl_mem object : {buffer, other}) OK(clReleaseMemObject(object));
}

CASE(maps_of_many_buffers_live_at_once) {
  Host host;
  std::vector<cl_mem> buffers;
  std::vector<std::uint8_t*> mapped;
  for (int at = 0; at < 300; ++at) {
    buffers.push_back(host.filled(Bytes(10000, static_cast<std::uint8_t>(at))));
    mapped.push_back(map(host, buffers.back(), CL_MAP_READ | CL_MAP_WRITE, 0, 10000));
  }
  for (int at = 0; at < 300; ++at) {
    HOLDS(mapped[at][0] == static_cast<std::uint8_t>(at) && mapped[at][9999] == mapped[at][0]);
    mapped[at][at] = 1;
  }
  for (int at = 299; at >= 0; --at) unmap(host, buffers[at], mapped[at]);
  for (int at = 0; at < 300; ++at) {
    Bytes expected(10000, static_cast<std::uint8_t>(at));
    expected[at] = 1;
    HOLDS(host.read(buffers[at], 10000) == expected);
    OK(clReleaseMemObject(buffers[at]));
  }
}

CASE(destructor_callbacks_run_last_added_first) {
  Host host;
  static int order[3], count = 0;
  cl_mem buffer = host.buffer(64);
  static int names[] = {1, 2, 3};
  for (int& name : names)
    OK(clSetMemObjectDestructorCallback(
        buffer, [](cl_mem, void* given) { order[count++] = *static_cast<int*>(given); }, &name));
  TELL(clSetMemObjectDestructorCallback(buffer, nullptr, nullptr));
  OK(clRetainMemObject(buffer));
  OK(clReleaseMemObject(buffer));
  std::printf("%d ran\n", count);
  OK(clReleaseMemObject(buffer));
  OK(clFinish(host.queue));
  std::printf("%d ran: %d %d %d\n", count, order[0], order[1], order[2]);
}
