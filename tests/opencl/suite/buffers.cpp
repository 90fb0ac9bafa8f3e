// Buffers: flags, sub-buffers, transfers, fills, sizes.
#include "suite.hpp"

using namespace suite;

CASE(buffers_of_every_flag_hold_what_they_were_given) {
  Host host;
  const cl_mem_flags access[] = {0, CL_MEM_READ_WRITE, CL_MEM_READ_ONLY, CL_MEM_WRITE_ONLY};
  const cl_mem_flags sources[] = {0,
                                  CL_MEM_ALLOC_HOST_PTR,
                                  CL_MEM_COPY_HOST_PTR,
                                  CL_MEM_USE_HOST_PTR,
                                  CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR};
  for (cl_mem_flags first : access)
    for (cl_mem_flags second : sources) {
      auto data = counting<std::uint8_t>(1000, 7);
      const bool given = second & (CL_MEM_COPY_HOST_PTR | CL_MEM_USE_HOST_PTR);
      cl_mem buffer = host.buffer(data.size(), first | second, given ? data.data() : nullptr);
      cl_mem_flags flags = 0;
      OK(clGetMemObjectInfo(buffer, CL_MEM_FLAGS, sizeof flags, &flags, nullptr));
      std::printf("flags %llx: ", static_cast<unsigned long long>(flags));
      if (!given)
        OK(clEnqueueWriteBuffer(host.queue, buffer, CL_TRUE, 0, data.size(), data.data(), 0, nullptr,
                                nullptr));
      show("content", host.read(buffer, data.size()));
      OK(clReleaseMemObject(buffer));
    }
}

CASE(flags_that_contradict_are_refused) {
  Host host;
  auto data = counting(64);
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR, 64, data.data(), &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, 64, data.data(), &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_USE_HOST_PTR, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_COPY_HOST_PTR, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_READ_WRITE, 64, data.data(), &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_READ_WRITE, 0, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_READ_WRITE, std::size_t{1} << 50, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, cl_mem_flags{1} << 40, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(host.context, CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS, 64, nullptr, &error));
  TELL_MADE(clCreateBuffer(nullptr, CL_MEM_READ_WRITE, 64, nullptr, &error));
}

CASE(host_access_flags_bind_the_host) {
  Host host;
  auto data = counting(64);
  for (cl_mem_flags flag : {CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY, CL_MEM_HOST_NO_ACCESS}) {
    cl_mem buffer = host.filled(data, flag);
    const std::size_t origin[3] = {}, region[3] = {8, 2, 1};
    TELL(clEnqueueReadBuffer(host.queue, buffer, CL_TRUE, 0, 64, data.data(), 0, nullptr, nullptr));
    TELL(clEnqueueWriteBuffer(host.queue, buffer, CL_TRUE, 0, 64, data.data(), 0, nullptr, nullptr));
    TELL(clEnqueueReadBufferRect(host.queue, buffer, CL_TRUE, origin, origin, region, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
    TELL(clEnqueueWriteBufferRect(host.queue, buffer, CL_TRUE, origin, origin, region, 0, 0, 0, 0, data.data(), 0, nullptr, nullptr));
    for (cl_map_flags map : {CL_MAP_READ, CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION}) {
      cl_int error = 0;
      void* mapped = clEnqueueMapBuffer(host.queue, buffer, CL_TRUE, map, 0, 64, 0, nullptr, nullptr, &error);
      std::printf("map %u -> %s\n", static_cast<unsigned>(map), code(error).c_str());
      if (mapped) OK(clEnqueueUnmapMemObject(host.queue, buffer, mapped, 0, nullptr, nullptr));
    }
    OK(clFinish(host.queue));
    OK(clReleaseMemObject(buffer));
  }
}

CASE(memory_objects_answer_all_queries) {
  Host host;
  auto data = counting(4096);
  cl_mem plain = host.buffer(1000), own = host.buffer(4096, CL_MEM_USE_HOST_PTR, data.data());
  const cl_buffer_region region = {1024, 512};
  cl_mem part = MADE(clCreateSubBuffer(own, CL_MEM_READ_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &region, &error));
  for (cl_mem object : {plain, own, part}) {
    const auto ask = [&](const char* name, cl_uint number) {
      return queried(name, [&](auto... rest) { return clGetMemObjectInfo(object, number, rest...); });
    };
    show_bytes("type", ask("type", CL_MEM_TYPE));
    show_bytes("flags", ask("flags", CL_MEM_FLAGS));
    show_bytes("size", ask("size", CL_MEM_SIZE));
    show_bytes("maps", ask("maps", CL_MEM_MAP_COUNT));
    if (object != own)  // how many its window holds is the driver's affair
      show_bytes("references", ask("references", CL_MEM_REFERENCE_COUNT));
    show_bytes("offset", ask("offset", CL_MEM_OFFSET));
    show_bytes("svm", ask("svm", CL_MEM_USES_SVM_POINTER));
    HOLDS(as<cl_context>(ask("context", CL_MEM_CONTEXT)) == host.context);
    HOLDS(as<cl_mem>(ask("parent", CL_MEM_ASSOCIATED_MEMOBJECT)) == (object == part ? own : nullptr));
    const auto* pointer = as<std::uint8_t*>(ask("pointer", CL_MEM_HOST_PTR));
    HOLDS(pointer == (object == plain ? nullptr : object == own ? data.data() : data.data() + 1024));
    TELL(clGetMemObjectInfo(object, 0x4321, 0, nullptr, nullptr));
  }
  const cl_mem_properties none[] = {0};
  cl_mem modern = MADE(clCreateBufferWithProperties(host.context, none, CL_MEM_READ_WRITE, 64, nullptr, &error));
  OK(clReleaseMemObject(modern));
  modern = MADE(clCreateBufferWithProperties(host.context, nullptr, CL_MEM_READ_WRITE, 64, nullptr, &error));
  OK(clReleaseMemObject(modern));
  const cl_mem_properties unknown[] = {0x7777, 1, 0};
  TELL_MADE(clCreateBufferWithProperties(host.context, unknown, CL_MEM_READ_WRITE, 64, nullptr, &error));
  for (cl_mem object : {part, own, plain}) OK(clReleaseMemObject(object));
}

CASE(sub_buffers_are_windows_on_their_parent) {
  Host host;
  cl_mem whole = host.filled(counting(4096));
  const cl_buffer_region low = {0, 1024}, high = {1024, 2048};
  cl_mem first = MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &low, &error));
  cl_mem second = MADE(clCreateSubBuffer(whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &high, &error));
  show("second", host.read(second, 2048));
  OK(clEnqueueCopyBuffer(host.queue, second, first, 100, 200, 300, 0, nullptr, nullptr));
  auto ones = Bytes(50, 1);
  OK(clEnqueueWriteBuffer(host.queue, second, CL_FALSE, 1998, 50, ones.data(), 0, nullptr, nullptr));
  const cl_uint pattern = 0xA5A55A5A;
  OK(clEnqueueFillBuffer(host.queue, second, &pattern, 4, 64, 128, 0, nullptr, nullptr));
  cl_kernel twice = host.kernel("kernel void twice(global uint* a) { a[get_global_id(0)] *= 2; }", "twice");
  set_args(twice, second);
  host.launch(twice, 20);
  show("whole", host.read(whole, 4096));
  set_args(twice, first);
  host.launch(twice, 256);
  show("whole", host.read(whole, 4096));
  TELL(clEnqueueReadBuffer(host.queue, second, CL_TRUE, 2000, 49, ones.data(), 0, nullptr, nullptr));
  TELL(clEnqueueCopyBuffer(host.queue, whole, first, 100, 0, 1024, 0, nullptr, nullptr));
  show("first", host.read(first, 1024));

  const cl_buffer_region odd = {1, 10}, outside = {4000, 97}, empty = {128, 0}, beyond = {4096, 128};
  TELL_MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &odd, &error));
  TELL_MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &outside, &error));
  TELL_MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &empty, &error));
  TELL_MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &beyond, &error));
  TELL_MADE(clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, nullptr, &error));
  TELL_MADE(clCreateSubBuffer(whole, 0, 0x999, &low, &error));
  TELL_MADE(clCreateSubBuffer(first, 0, CL_BUFFER_CREATE_TYPE_REGION, &low, &error));
  TELL_MADE(clCreateSubBuffer(nullptr, 0, CL_BUFFER_CREATE_TYPE_REGION, &low, &error));
  cl_mem narrow = host.buffer(4096, CL_MEM_READ_ONLY);
  TELL_MADE(clCreateSubBuffer(narrow, CL_MEM_WRITE_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &low, &error));
  TELL_MADE(clCreateSubBuffer(narrow, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &low, &error));
  OK(clReleaseKernel(twice));
  OK(clReleaseMemObject(whole));  // the windows keep it
  show("second", host.read(second, 2048));
  for (cl_mem object : {first, second, narrow}) OK(clReleaseMemObject(object));
}

CASE(reads_writes_and_copies_move_bytes_at_offsets) {
  Host host;
  cl_mem source = host.filled(counting(10000)), target = host.buffer(10000);
  const std::uint8_t zero = 0;
  OK(clEnqueueFillBuffer(host.queue, target, &zero, 1, 0, 10000, 0, nullptr, nullptr));
  for (std::size_t size : {1, 3, 16, 255, 3000}) {
    OK(clEnqueueCopyBuffer(host.queue, source, target, size, 2 * size + 1, size, 0, nullptr, nullptr));
    auto data = counting<std::uint8_t>(size, 77);
    OK(clEnqueueWriteBuffer(host.queue, target, CL_FALSE, 9999 - size, size, data.data(), 0, nullptr, nullptr));
    OK(clFinish(host.queue));
    show("target", host.read(target, 10000));
    show("part", host.read(target, size, size));
  }
  OK(clEnqueueCopyBuffer(host.queue, target, target, 0, 5000, 5000, 0, nullptr, nullptr));
  show("copied within", host.read(target, 10000));
  TELL(clEnqueueCopyBuffer(host.queue, target, target, 0, 4999, 5000, 0, nullptr, nullptr));
  TELL(clEnqueueCopyBuffer(host.queue, source, target, 0, 1, 10000, 0, nullptr, nullptr));
  TELL(clEnqueueCopyBuffer(host.queue, source, target, 0, 0, 0, 0, nullptr, nullptr));
  TELL(clEnqueueCopyBuffer(host.queue, nullptr, target, 0, 0, 1, 0, nullptr, nullptr));
  std::uint8_t byte = 5;
  TELL(clEnqueueReadBuffer(host.queue, source, CL_TRUE, 10000, 1, &byte, 0, nullptr, nullptr));
  TELL(clEnqueueReadBuffer(host.queue, source, CL_TRUE, 0, 1, nullptr, 0, nullptr, nullptr));
  TELL(clEnqueueReadBuffer(host.queue, source, CL_TRUE, ~std::size_t{0}, 2, &byte, 0, nullptr, nullptr));
  TELL(clEnqueueReadBuffer(nullptr, source, CL_TRUE, 0, 1, &byte, 0, nullptr, nullptr));
  TELL(clEnqueueWriteBuffer(host.queue, source, CL_TRUE, 9999, 2, &byte, 0, nullptr, nullptr));
  TELL(clEnqueueWriteBuffer(host.queue, nullptr, CL_TRUE, 0, 1, &byte, 0, nullptr, nullptr));
  show("source", host.read(source, 10000));
  for (cl_mem object : {source, target}) OK(clReleaseMemObject(object));
}

CASE(fills_repeat_patterns_of_every_size) {
  Host host;
  cl_mem buffer = host.buffer(4096);
  const std::uint8_t zero = 0;
  auto pattern = counting<std::uint8_t>(256, 1);
  for (std::size_t size : {1, 2, 4, 8, 16, 32, 64, 128}) {
    OK(clEnqueueFillBuffer(host.queue, buffer, &zero, 1, 0, 4096, 0, nullptr, nullptr));
    OK(clEnqueueFillBuffer(host.queue, buffer, pattern.data(), size, 3 * size, 5 * size, 0, nullptr, nullptr));
    show("filled", host.read(buffer, 4096));
  }
  for (std::size_t size : {0, 3, 7, 12, 256})
    std::printf("pattern of %zu -> %s\n", size,
                code(clEnqueueFillBuffer(host.queue, buffer, pattern.data(), size, 0, size * 2, 0, nullptr, nullptr)).c_str());
  TELL(clEnqueueFillBuffer(host.queue, buffer, pattern.data(), 4, 2, 8, 0, nullptr, nullptr));
  TELL(clEnqueueFillBuffer(host.queue, buffer, pattern.data(), 4, 4, 6, 0, nullptr, nullptr));
  TELL(clEnqueueFillBuffer(host.queue, buffer, pattern.data(), 4, 4092, 8, 0, nullptr, nullptr));
  TELL(clEnqueueFillBuffer(host.queue, buffer, nullptr, 4, 0, 8, 0, nullptr, nullptr));
  TELL(clEnqueueFillBuffer(host.queue, nullptr, pattern.data(), 4, 0, 8, 0, nullptr, nullptr));
  show("filled", host.read(buffer, 4096));
  OK(clReleaseMemObject(buffer));
}

CASE(writes_that_do_not_wait_may_come_from_memory_that_lasts) {
  Host host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
  constexpr std::size_t count = 64, size = 100000;
  std::vector<Bytes> sent, found(count, Bytes(size));
  std::vector<cl_mem> buffers;
  std::vector<cl_event> written(count);
  for (std::size_t at = 0; at < count; ++at) {
    sent.push_back(counting<std::uint8_t>(size, static_cast<std::uint8_t>(at)));
    buffers.push_back(host.buffer(size));
    OK(clEnqueueWriteBuffer(host.queue, buffers[at], CL_FALSE, 0, size, sent[at].data(), 0, nullptr, &written[at]));
    OK(clEnqueueReadBuffer(host.queue, buffers[at], CL_FALSE, 0, size, found[at].data(), 1, &written[at], nullptr));
  }
  OK(clFinish(host.queue));
  HOLDS(sent == found);
  for (cl_event event : written) OK(clReleaseEvent(event));
  for (cl_mem buffer : buffers) OK(clReleaseMemObject(buffer));
}

CASE(sixty_four_mebibytes_go_and_come_back) {
  Host host;
  constexpr std::size_t size = 64 << 20;
  std::vector<std::uint32_t> data(size / 4);
  std::uint32_t state = 1;
  for (auto& word : data) word = state = state * 1664525u + 1013904223u;
  cl_mem first = host.filled(data), second = host.buffer(size);
  OK(clEnqueueCopyBuffer(host.queue, first, second, 0, 0, size, 0, nullptr, nullptr));
  HOLDS(host.read<std::uint32_t>(second, size / 4) == data);
  for (auto& word : data) word = ~word;
  OK(clEnqueueWriteBuffer(host.queue, first, CL_FALSE, 0, size, data.data(), 0, nullptr, nullptr));
  std::vector<std::uint32_t> found(size / 4);
  OK(clEnqueueReadBuffer(host.queue, first, CL_FALSE, 0, size, found.data(), 0, nullptr, nullptr));
  OK(clFinish(host.queue));
  HOLDS(found == data);
  for (cl_mem object : {first, second}) OK(clReleaseMemObject(object));
}

CASE(thousands_of_buffers_live_at_once) {
  Host host;
  std::vector<cl_mem> buffers;
  for (int at = 0; at < 5000; ++at) {
    buffers.push_back(host.buffer(64));
    OK(clEnqueueFillBuffer(host.queue, buffers.back(), &at, 4, 0, 64, 0, nullptr, nullptr));
  }
  for (int at = 0; at < 5000; at += 499) HOLDS(host.read<int>(buffers[at], 16) == std::vector<int>(16, at));
  for (int at = 0; at < 5000; at += 2) OK(clReleaseMemObject(buffers[at]));
  for (int at = 1; at < 5000; at += 500) HOLDS(host.read<int>(buffers[at], 16) == std::vector<int>(16, at));
  for (int at = 1; at < 5000; at += 2) OK(clReleaseMemObject(buffers[at]));
  for (int round = 0; round < 300; ++round) {  // 19 GB if they were not given back
    cl_mem large = host.buffer(64 << 20);
    OK(clEnqueueFillBuffer(host.queue, large, &round, 4, 0, 64, 0, nullptr, nullptr));
    OK(clReleaseMemObject(large));
  }
  OK(clFinish(host.queue));
}
